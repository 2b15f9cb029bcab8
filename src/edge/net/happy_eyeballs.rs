//! Connections to a host with several addresses. Attempts are staggered as in RFC 8305, section 5: an address that refuses a
//! connection costs no time, and one that does not answer costs a short pause.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::descriptors;
use super::resolver::Addresses;

/// The pauses of the gateway.
const PAUSES: Pauses = Pauses { connect: Duration::from_millis(250), prepare: Duration::from_secs(1) };

/// The times after which the next address is tried beside the current one. Neither is longer than an equal share of the time
/// that is left.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    /// For an address that has not accepted the connection (RFC 8305, section 5).
    connect: Duration,
    /// For a connection that is not ready. Longer, because each attempt may count as a session at the host.
    prepare: Duration,
}

/// The reason for which one address could not be used.
#[derive(Debug, Error)]
pub enum AddressFailure<E> {
    /// The network or the host refused the connection.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection could not be made ready.
    #[error("{0}")]
    Prepare(E),
    /// Time ran out before a connection was ready.
    #[error("no connection within {0:?}")]
    Slow(Duration),
}

/// The failure of all addresses: each one that was tried, with the reason.
#[derive(Debug, Error)]
pub struct Unreachable<E> {
    /// In the order in which they failed; none if the name has no address.
    pub failures: Vec<(SocketAddr, AddressFailure<E>)>,
}

impl<E> Unreachable<E> {
    /// The error for a name without an address.
    pub const fn unresolved() -> Unreachable<E> {
        Unreachable { failures: Vec::new() }
    }

    /// Returns true if no address was asked, for lack of descriptors in this process.
    pub fn is_shortage(&self) -> bool {
        let is_short = |failure: &AddressFailure<E>| match failure {
            AddressFailure::Connect(error) => descriptors::is_shortage(error),
            AddressFailure::Prepare(_) | AddressFailure::Slow(_) => false,
        };
        !self.failures.is_empty() && self.failures.iter().all(|(_, failure)| is_short(failure))
    }

    /// Returns true if time ran out at one address at least.
    pub fn is_timeout(&self) -> bool {
        self.failures.iter().any(|(_, failure)| matches!(failure, AddressFailure::Slow(_)))
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

/// Connects to one of the addresses within `limit`. `prepare` makes a connection ready, for example with TLS or by a greeting.
/// The addresses are tried in their order. A slow attempt continues while the next one runs, and the first that is ready wins.
///
/// Notes the addresses that failed. `blames` is false for an error of `prepare` that is no failure of the address.
///
/// # Errors
/// No address could be used.
pub async fn connect<T, E, F: Future<Output = Result<T, E>>>(
    addresses: &Addresses,
    limit: Duration,
    prepare: impl Fn(SocketAddr, TcpStream) -> F,
    blames: impl Fn(&E) -> bool,
) -> Result<T, Unreachable<E>> {
    connect_with(PAUSES, addresses, limit, prepare, blames).await
}

async fn connect_with<T, E, F: Future<Output = Result<T, E>>>(
    pauses: Pauses,
    addresses: &Addresses,
    limit: Duration,
    prepare: impl Fn(SocketAddr, TcpStream) -> F,
    blames: impl Fn(&E) -> bool,
) -> Result<T, Unreachable<E>> {
    let mut race = Race::new(addresses.all(), pauses, limit, prepare);
    let mut failures = Vec::new();
    let attempts = async {
        while let Some((attempt, result)) = race.next().await {
            match result {
                Ok(ready) => return Some((attempt, ready)),
                Err(failure) => failures.push((attempt.address, failure)),
            }
        }
        None
    };
    let winner = timeout(limit, attempts).await.unwrap_or(None);
    for (address, failure) in &failures {
        let is_to_blame = match failure {
            AddressFailure::Connect(error) => !descriptors::is_shortage(error),
            AddressFailure::Prepare(error) => blames(error),
            AddressFailure::Slow(_) => true,
        };
        if is_to_blame {
            addresses.note(*address, false);
        }
    }
    if let Some((winner, ready)) = winner {
        // Slower than another address is no failure. The next health check finds out about those that had more time.
        for slower in race.running.iter().filter(|attempt| attempt.begun < winner.begun) {
            addresses.doubt(slower.address);
        }
        addresses.note_reached(winner.address);
        return Ok(ready);
    }
    for attempt in race.running {
        if attempt.begun.elapsed() >= limit / 2 {
            addresses.note(attempt.address, false);
        } else {
            addresses.doubt(attempt.address);
        }
        failures.push((attempt.address, AddressFailure::Slow(limit)));
    }
    Err(Unreachable { failures })
}

/// Attempts at several addresses, side by side.
struct Race<F, P> {
    prepare: P,
    pauses: Pauses,
    /// The end of the time for all attempts.
    until: Instant,
    waiting: VecDeque<SocketAddr>,
    running: Vec<ConnectAttempt<F>>,
    /// The moment at which the next address is tried, even if no attempt has failed.
    next_at: Instant,
}

/// An attempt to get a connection to one address ready.
struct ConnectAttempt<F> {
    address: SocketAddr,
    begun: Instant,
    stage: AttemptStage<F>,
}

enum AttemptStage<F> {
    Connecting(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>),
    Preparing(Pin<Box<F>>),
}

/// An attempt that ended, and its result.
type FinishedAttempt<F, T, E> = (ConnectAttempt<F>, Result<T, AddressFailure<E>>);

impl<T, E, F, P> Race<F, P>
where
    F: Future<Output = Result<T, E>>,
    P: Fn(SocketAddr, TcpStream) -> F,
{
    fn new(addresses: Vec<SocketAddr>, pauses: Pauses, limit: Duration, prepare: P) -> Race<F, P> {
        let now = Instant::now();
        Race {
            prepare,
            pauses,
            until: now + limit,
            running: Vec::with_capacity(addresses.len()),
            waiting: addresses.into(),
            next_at: now,
        }
    }

    /// Waits for the next attempt to end, and begins others at their time; `None` if all have ended.
    async fn next(&mut self) -> Option<FinishedAttempt<F, T, E>> {
        loop {
            if self.running.is_empty() && !self.begin_next() {
                return None;
            }
            let (next_at, is_last) = (self.next_at.into(), self.waiting.is_empty());
            let advance = poll_fn(|cx| self.poll_advance(cx));
            let advanced = if is_last { Ok(advance.await) } else { timeout_at(next_at, advance).await };
            match advanced {
                Ok(Some(ended)) => {
                    if ended.1.is_err() {
                        self.begin_next();
                    }
                    return Some(ended);
                }
                // One is connected now, and `next_at` has changed.
                Ok(None) => {}
                Err(_) => _ = self.begin_next(),
            }
        }
    }

    /// Begins the attempt at the next address; returns false if there is none.
    fn begin_next(&mut self) -> bool {
        let Some(address) = self.waiting.pop_front() else { return false };
        let stage = AttemptStage::Connecting(Box::pin(descriptors::connect(address)));
        self.running.push(ConnectAttempt { address, begun: Instant::now(), stage });
        self.pause(self.pauses.connect);
        true
    }

    /// Lets the next address wait for so long, or for its share of the time that is left.
    fn pause(&mut self, pause: Duration) {
        let now = Instant::now();
        let share = self.until.saturating_duration_since(now) / (1 + self.waiting.len() as u32);
        self.next_at = now + pause.min(share);
    }

    /// Ready with an attempt that ended, or with `None` if one of them is connected.
    fn poll_advance(&mut self, cx: &mut Context<'_>) -> Poll<Option<FinishedAttempt<F, T, E>>> {
        for index in 0..self.running.len() {
            let attempt = &mut self.running[index];
            let result = match &mut attempt.stage {
                AttemptStage::Connecting(connecting) => match connecting.as_mut().poll(cx) {
                    Poll::Pending => continue,
                    Poll::Ready(Ok(stream)) => {
                        attempt.stage =
                            AttemptStage::Preparing(Box::pin((self.prepare)(attempt.address, stream)));
                        self.pause(self.pauses.prepare);
                        return Poll::Ready(None);
                    }
                    Poll::Ready(Err(error)) => Err(AddressFailure::Connect(error)),
                },
                AttemptStage::Preparing(preparing) => match preparing.as_mut().poll(cx) {
                    Poll::Pending => continue,
                    Poll::Ready(result) => result.map_err(AddressFailure::Prepare),
                },
            };
            return Poll::Ready(Some((self.running.swap_remove(index), result)));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;
    use std::net::{IpAddr, TcpListener};

    use tokio::sync::Notify;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    /// An attempt that is slow delays the next one for longer than a test runs.
    const STRICT: Pauses = Pauses { connect: LONG, prepare: LONG };
    /// The attempts run side by side.
    const NONE: Pauses = Pauses { connect: Duration::ZERO, prepare: Duration::ZERO };

    /// A loopback address with a listener, and others of the same port without one, which come first.
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
    async fn an_address_that_refuses_costs_no_pause_and_comes_last_from_then_on() {
        let (_listener, addresses, all) = host(&[[127, 0, 0, 2], [127, 0, 0, 3]]);
        assert_eq!(connect_with(STRICT, &addresses, LONG, any, |_| true).await.unwrap(), all[2]);
        for _ in 0..5 {
            assert_eq!(addresses.all()[0], all[2]);
        }
        assert_eq!(addresses.failed(), all[..2]);
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_made_ready_costs_no_pause() {
        for blames in [false, true] {
            let (_listener, addresses, all) = host(&[[127, 0, 0, 2]]);
            let _other = TcpListener::bind(all[0]).unwrap();
            let tried = RefCell::new(Vec::new());
            let prepare = |address, _| {
                tried.borrow_mut().push(address);
                let known = address != all[0];
                async move { known.then_some(()).ok_or("somebody else") }
            };
            assert!(connect_with(STRICT, &addresses, LONG, prepare, |_| blames).await.is_ok());
            assert_eq!(*tried.borrow(), all);
            assert_eq!(addresses.failed(), if blames { &all[..1] } else { &[] });
        }
    }

    #[tokio::test]
    async fn a_silent_address_delays_the_next_one_by_a_pause_and_is_in_doubt() {
        let (_listener, addresses, all) = host(&[[127, 0, 0, 2]]);
        let _other = TcpListener::bind(all[0]).unwrap();
        let prepare = |address, _| {
            let silent = address == all[0];
            async move { if silent { pending().await } else { Ok::<_, String>(address) } }
        };
        let pauses = Pauses { prepare: Duration::from_millis(20), ..STRICT };
        assert_eq!(connect_with(pauses, &addresses, LONG, prepare, |_| true).await.unwrap(), all[1]);
        assert_eq!((addresses.failed(), addresses.unsure()), (vec![], vec![all[0]]));
    }

    #[tokio::test]
    async fn a_slow_attempt_continues_beside_the_next_one_which_is_not_blamed_for_losing() {
        let (_listener, addresses, all) = host(&[[127, 0, 0, 2]]);
        let _other = TcpListener::bind(all[0]).unwrap();
        let other_runs = Notify::new();
        // The first address is ready only after the second one has begun.
        let prepare = |address, _| {
            let (first, other_runs) = (address == all[0], &other_runs);
            async move {
                if !first {
                    other_runs.notify_one();
                    pending::<()>().await;
                }
                other_runs.notified().await;
                Ok::<_, String>(address)
            }
        };
        assert_eq!(connect_with(NONE, &addresses, LONG, prepare, |_| true).await.unwrap(), all[0]);
        assert_eq!((addresses.failed(), addresses.unsure()), (vec![], vec![]));
    }

    #[tokio::test]
    async fn an_error_names_each_address_that_was_tried_and_the_reason() {
        let (listener, addresses, all) = host(&[[127, 0, 0, 2]]);
        let refuses = |_, _| async { Err::<(), _>("it speaks no TLS") };
        let error = connect(&addresses, LONG, refuses, |_| true).await.unwrap_err();
        let refused = |address| format!("{address}: Connection refused (os error 111)");
        assert_eq!(error.to_string(), format!("{}; {}: it speaks no TLS", refused(all[0]), all[1]));
        assert!(!error.is_timeout());
        drop(listener);
        // Both have failed now, and are tried nevertheless, in turn.
        let error = connect(&addresses, LONG, any, |_| true).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{}; {}", refused(all[1]), refused(all[0])));
        addresses.set(Vec::new());
        let error = connect(&addresses, LONG, any, |_| true).await.unwrap_err();
        assert_eq!(error.to_string(), "the name has no address yet");
    }

    #[tokio::test]
    async fn the_limit_is_for_all_addresses_together_and_each_is_tried_within_it() {
        let (_listener, addresses, all) = host(&[[127, 0, 0, 2]]);
        let _other = TcpListener::bind(all[0]).unwrap();
        let limit = Duration::from_millis(500);
        let began = Instant::now();
        let silent = |_, _| pending::<Result<(), String>>();
        let error = connect_with(STRICT, &addresses, limit, silent, |_| true).await.unwrap_err();
        assert!(began.elapsed() >= limit);
        assert!(error.is_timeout() && error.failures.len() == 2, "{error}");
        // The second one had less than half of the time.
        assert_eq!(addresses.failed()[0], all[0]);
    }
}
