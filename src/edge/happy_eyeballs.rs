//! Connections to a host with several addresses. Attempts are staggered as RFC 8305 (section 5) says, so that an address that
//! refuses costs nothing, and one that swallows all that is sent to it costs a moment.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::addresses::Addresses;

/// The time after which the next address is tried beside the one that has not answered (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// The reason why one address could not be used.
#[derive(Debug, Error)]
pub enum Failure<E> {
    /// The network, or the host, took no connection.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection could not be made ready.
    #[error("{0}")]
    Prepare(E),
    /// There was no connection that is ready in this time.
    #[error("no connection within {0:?}")]
    Slow(Duration),
}

/// The reasons why no address could be used: each address that was tried, and what happened there.
#[derive(Debug, Error)]
pub struct Unreachable<E> {
    /// In the order in which they failed; none if the name has no address.
    pub failures: Vec<(SocketAddr, Failure<E>)>,
}

impl<E> Unreachable<E> {
    /// The error for a name without an address.
    pub const fn unresolved() -> Unreachable<E> {
        Unreachable { failures: Vec::new() }
    }

    /// Tells whether time ran out, at one address at least.
    pub fn is_timeout(&self) -> bool {
        self.failures.iter().any(|(_, failure)| matches!(failure, Failure::Slow(_)))
    }
}

impl<E: fmt::Display> fmt::Display for Unreachable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return f.write_str("the name has no address yet");
        }
        for (number, (address, failure)) in self.failures.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {failure}")?;
        }
        Ok(())
    }
}

/// Connects to one of the addresses within `limit`, and has `prepare` make the connection ready: TLS, or a greeting. The addresses
/// are tried in their order, connections beside each other, and `prepare` for one at a time, with a share of the time that is left.
///
/// Notes which addresses can be used. `blames` tells whether an error of `prepare` speaks against the address.
///
/// # Errors
/// No address could be used.
pub async fn connect<T, E, F: Future<Output = Result<T, E>>>(
    addresses: &Addresses,
    limit: Duration,
    prepare: impl Fn(SocketAddr, TcpStream) -> F,
    blames: impl Fn(&E) -> bool,
) -> Result<T, Unreachable<E>> {
    let until = Instant::now() + limit;
    let mut race = Race::new(addresses.all());
    let mut failures = Vec::new();
    let attempts = async {
        while let Some((address, connected)) = race.next().await {
            let failure = match connected {
                Ok(stream) => match ready(prepare(address, stream), until, race.left()).await {
                    Ok(ready) => return Some((address, ready)),
                    Err(failure) => failure,
                },
                Err(error) => Failure::Connect(error),
            };
            failures.push((address, failure));
            race.begin_next();
        }
        None
    };
    let connected = timeout_at(until.into(), attempts).await.unwrap_or(None);
    let tried: Vec<SocketAddr> = failures.iter().map(|(address, _)| *address).collect();
    let winner = connected.as_ref().map(|(address, _)| *address);
    // Those that were still to answer when another one was ready, or when the time was over.
    let unanswered =
        race.begun.into_iter().filter(|address| Some(*address) != winner && !tried.contains(address));
    failures.extend(unanswered.map(|address| (address, Failure::Slow(limit))));
    for (address, failure) in &failures {
        if !matches!(failure, Failure::Prepare(error) if !blames(error)) {
            addresses.note(*address, false);
        }
    }
    match connected {
        Some((address, ready)) => {
            addresses.note_reached(address);
            Ok(ready)
        }
        None => Err(Unreachable { failures }),
    }
}

/// Has a connection made ready in its share of the time: the last one has all of it, which the caller bounds.
async fn ready<T, E>(
    prepared: impl Future<Output = Result<T, E>>,
    until: Instant,
    others: usize,
) -> Result<T, Failure<E>> {
    let share = until.saturating_duration_since(Instant::now()) / (1 + others as u32);
    let prepared = match others {
        0 => prepared.await,
        _ => timeout(share, prepared).await.map_err(|_| Failure::Slow(share))?,
    };
    prepared.map_err(Failure::Prepare)
}

/// Attempts to connect, of which several may be under way.
struct Race {
    waiting: VecDeque<SocketAddr>,
    begun: Vec<SocketAddr>,
    running: JoinSet<(SocketAddr, io::Result<TcpStream>)>,
}

impl Race {
    fn new(addresses: Vec<SocketAddr>) -> Race {
        Race {
            begun: Vec::with_capacity(addresses.len()),
            waiting: addresses.into(),
            running: JoinSet::new(),
        }
    }

    /// The number of addresses that may still give a connection.
    fn left(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    fn begin_next(&mut self) {
        if let Some(address) = self.waiting.pop_front() {
            self.begun.push(address);
            self.running.spawn(async move { (address, TcpStream::connect(address).await) });
        }
    }

    /// The next attempt that ends; `None` if there is none any more.
    async fn next(&mut self) -> Option<(SocketAddr, io::Result<TcpStream>)> {
        if self.running.is_empty() && self.waiting.len() == 1 {
            // Nothing to race with.
            let address = self.waiting.pop_front()?;
            self.begun.push(address);
            return Some((address, TcpStream::connect(address).await));
        }
        loop {
            if self.running.is_empty() {
                self.begin_next();
            }
            let ended = match self.waiting.is_empty() {
                true => Ok(self.running.join_next().await),
                false => timeout(STAGGER, self.running.join_next()).await,
            };
            match ended {
                Ok(Some(Ok(ended))) => return Some(ended),
                // An attempt neither panics nor is it cancelled.
                Ok(Some(Err(_))) => {}
                Ok(None) => return None,
                Err(_) => self.begin_next(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;
    use std::net::{IpAddr, TcpListener};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A loopback address on which somebody listens, and maybe others of that port on which nobody does.
    fn host(others: &[[u8; 4]]) -> (TcpListener, Addresses, Vec<SocketAddr>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut all: Vec<SocketAddr> = others.iter().map(|ip| (IpAddr::from(*ip), port).into()).collect();
        all.push(listener.local_addr().unwrap());
        let addresses = Addresses::new("backend.test", port);
        addresses.set(all.clone());
        (listener, addresses, all)
    }

    async fn any(address: SocketAddr, _: TcpStream) -> Result<SocketAddr, String> {
        Ok(address)
    }

    #[tokio::test]
    async fn one_that_refuses_costs_nothing_and_is_passed_by_then() {
        let (_listener, addresses, all) = host(&[[127, 0, 0, 2], [127, 0, 0, 3]]);
        let began = Instant::now();
        assert_eq!(connect(&addresses, LONG, any, |_| true).await.unwrap(), all[2]);
        assert!(began.elapsed() < STAGGER);
        for _ in 0..5 {
            assert_eq!(addresses.all()[0], all[2]);
        }
        assert_eq!(addresses.failed(), all[..2]);
    }

    #[tokio::test]
    async fn one_that_is_not_what_it_should_be_is_passed_by_for_the_next() {
        for blames in [false, true] {
            let (listener, addresses, all) = host(&[[127, 0, 0, 2]]);
            let _other = TcpListener::bind(all[0]).unwrap();
            let tried = RefCell::new(Vec::new());
            let prepare = |address, _| {
                tried.borrow_mut().push(address);
                let known = address != all[0];
                async move { known.then_some(()).ok_or("somebody else") }
            };
            assert!(connect(&addresses, LONG, prepare, |_| blames).await.is_ok());
            assert_eq!(*tried.borrow(), all);
            assert_eq!(addresses.failed(), if blames { &all[..1] } else { &[] });
            drop(listener);
        }
    }

    #[tokio::test]
    async fn one_that_says_nothing_leaves_time_for_the_next() {
        let (_listener, addresses, all) = host(&[[127, 0, 0, 2]]);
        let _other = TcpListener::bind(all[0]).unwrap();
        let limit = Duration::from_millis(600);
        let prepare = |address, _| {
            let silent = address == all[0];
            async move { if silent { pending().await } else { Ok::<_, String>(address) } }
        };
        assert_eq!(connect(&addresses, limit, prepare, |_| true).await.unwrap(), all[1]);
        assert_eq!(addresses.failed(), all[..1]);
    }

    #[tokio::test]
    async fn an_error_names_each_address_that_was_tried_and_why() {
        let (listener, addresses, all) = host(&[[127, 0, 0, 2]]);
        let refuses = |_, _| async { Err::<(), _>("it speaks no TLS") };
        let error = connect(&addresses, LONG, refuses, |_| true).await.unwrap_err();
        let refused = |address| format!("{address}: Connection refused (os error 111)");
        assert_eq!(error.to_string(), format!("{}; {}: it speaks no TLS", refused(all[0]), all[1]));
        assert!(!error.is_timeout());
        drop(listener);
        // Both have failed now, and are tried all the same, in turn.
        let error = connect(&addresses, LONG, any, |_| true).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{}; {}", refused(all[1]), refused(all[0])));
        addresses.set(Vec::new());
        let error = connect(&addresses, LONG, any, |_| true).await.unwrap_err();
        assert_eq!(error.to_string(), "the name has no address yet");
    }

    #[tokio::test]
    async fn the_time_is_for_all_of_them() {
        let (_listener, addresses, all) = host(&[[127, 0, 0, 2]]);
        let _other = TcpListener::bind(all[0]).unwrap();
        let limit = Duration::from_millis(200);
        let began = Instant::now();
        let silent = |_, _| pending::<Result<(), String>>();
        let error = connect(&addresses, limit, silent, |_| true).await.unwrap_err();
        assert!(began.elapsed() >= limit && began.elapsed() < 10 * limit, "{:?}", began.elapsed());
        assert!(error.is_timeout() && error.failures.len() == 2, "{error}");
    }
}
