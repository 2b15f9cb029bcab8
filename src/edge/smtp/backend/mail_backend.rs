//! One mail backend: its addresses and connections, whether it is up, and what it can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::BackendClient;
use super::connect::{DialError, Dialer};
use super::pool::{ConnectionPermit, Pool, PooledConnection};
use crate::config::SmtpUpstream;
use crate::edge::net::happy_eyeballs::{self, Failure, Unreachable};
use crate::edge::net::resolver::Addresses;
use crate::wire::smtp::client::ServiceExtensions;

/// For how long no more connections are made than a backend had when it wanted no more.
const FULL: Duration = Duration::from_secs(10);

/// Why there is no new connection.
#[derive(Debug, PartialEq, Eq)]
pub enum NoConnection {
    /// It takes no more than there are.
    Full,
    /// It can't be reached, or doesn't get ready; what it did, for the log.
    Down(String),
}

/// One backend.
pub struct MailBackend {
    name: String,
    /// How to get it ready.
    pub dialer: Dialer,
    /// The connections to it.
    pub pool: Arc<Pool<BackendClient>>,
    connect_timeout: Duration,
    addresses: Addresses,
    up: AtomicBool,
    seen: Mutex<LastContact>,
    /// PooledConnection while addresses are asked again.
    retrying: tokio::sync::Mutex<()>,
}

/// What was seen of it last.
#[derive(Clone, Copy, Default)]
struct LastContact {
    extensions: Option<ServiceExtensions>,
    at: Option<Instant>,
}

impl MailBackend {
    /// A backend that counts as up until something else is known.
    pub fn new(
        upstream: &SmtpUpstream,
        dialer: Dialer,
        pool: Arc<Pool<BackendClient>>,
        connect_timeout: Duration,
    ) -> MailBackend {
        MailBackend {
            name: upstream.to_string(),
            addresses: Addresses::new(&upstream.host, upstream.port),
            dialer,
            pool,
            connect_timeout,
            up: AtomicBool::new(true),
            seen: Mutex::new(LastContact::default()),
            retrying: tokio::sync::Mutex::new(()),
        }
    }

    /// Its URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it counts as up.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// What it said last that it can do; `None` where it never said anything.
    pub fn extensions(&self) -> Option<ServiceExtensions> {
        self.seen.lock().extensions
    }

    /// Whether it got ready, or answered to a message, within that time.
    pub fn was_seen_within(&self, time: Duration) -> bool {
        self.is_up() && self.seen.lock().at.is_some_and(|at| at.elapsed() < time)
    }

    /// Notes that it answers.
    pub fn note_alive(&self) {
        self.seen.lock().at = Some(Instant::now());
    }

    /// Makes a connection, and notes how that went. A backend that wants no more while there are others to it isn't down:
    /// no more are made for a while.
    ///
    /// # Errors
    /// What each of its addresses did.
    pub async fn connect(
        &self,
        room: ConnectionPermit<BackendClient>,
    ) -> Result<PooledConnection<BackendClient>, NoConnection> {
        let error = match Box::pin(self.dial()).await {
            Ok(client) => {
                self.note_ready(&client);
                return Ok(room.hold(client));
            }
            Err(error) => error,
        };
        if is_full(&error) && room.refused(FULL) {
            tracing::info!(upstream = self.name, %error, "the mail backend takes no more connections for now");
            return Err(NoConnection::Full);
        }
        self.set_up(Some(&error.to_string()));
        Err(NoConnection::Down(format!("{}: {error}", self.name)))
    }

    /// Makes a connection outside of the pool, and ends it: all that matters of it is noted.
    pub async fn probe(&self) {
        match self.dial().await {
            Ok(client) => {
                self.note_ready(&client);
                client.close();
            }
            Err(error) if is_full(&error) && self.pool.is_open() => {}
            Err(error) => self.set_up(Some(&error.to_string())),
        }
    }

    fn note_ready(&self, client: &BackendClient) {
        *self.seen.lock() = LastContact { extensions: Some(client.extensions), at: Some(Instant::now()) };
        self.set_up(None);
    }

    /// Looks its name up again, where it is a name.
    pub async fn resolve(&self) {
        self.addresses.resolve(&self.name).await;
    }

    /// Asks those of its addresses that failed, so that they have their turn again when they are good, and those in doubt. A
    /// backend with one address, or with failed ones only, is asked by [`MailBackend::probe`].
    pub async fn retry_failed(&self) {
        let Ok(_retrying) = self.retrying.try_lock() else { return };
        let failed = self.addresses.failed();
        if failed.len() == self.addresses.known().len() {
            return;
        }
        for address in failed.into_iter().chain(self.addresses.unsure()) {
            let dialled = timeout(self.connect_timeout, async {
                self.dialer.dial(TcpStream::connect(address).await?).await
            });
            match dialled.await {
                Ok(Ok(client)) => {
                    client.close();
                    self.addresses.note(address, true);
                }
                Ok(Err(error)) if error.is_full() => {}
                Ok(Err(_)) | Err(_) => self.addresses.note(address, false),
            }
        }
    }

    /// Tries its addresses in turn, the next one beside an attempt that is slow.
    async fn dial(&self) -> Result<BackendClient, Unreachable<DialError>> {
        let began = Instant::now();
        if self.addresses.is_empty() && timeout(self.connect_timeout, self.resolve()).await.is_err() {
            return Err(Unreachable::unresolved());
        }
        let left = self.connect_timeout.saturating_sub(began.elapsed());
        let dial = |_, stream| self.dialer.dial(stream);
        happy_eyeballs::connect(&self.addresses, left, dial, |error| !error.is_full()).await
    }

    /// Notes whether it is up, and logs a change; down with a reason.
    fn set_up(&self, failure: Option<&str>) {
        let was_up = self.up.swap(failure.is_none(), Ordering::Relaxed);
        match failure {
            Some(error) if was_up => tracing::warn!(upstream = self.name, error, "the mail backend is down"),
            None if !was_up => tracing::info!(upstream = self.name, "the mail backend is up"),
            _ => {}
        }
    }
}

/// Tells whether one of its addresses at least takes no more connections for now.
fn is_full(error: &Unreachable<DialError>) -> bool {
    let full = |failure: &Failure<DialError>| matches!(failure, Failure::Prepare(error) if error.is_full());
    error.failures.iter().any(|(_, failure)| full(failure))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use prometheus::IntGauge;

    use super::*;
    use crate::config::{SmtpScheme, SmtpTimeouts};
    use crate::edge::smtp::backend::pool::{Checkout, ConnectionFit};
    use crate::edge::smtp::backend::tests::sink::Sink;

    #[tokio::test]
    async fn a_silent_address_leaves_time_for_the_next_and_comes_last_once_it_was_asked() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Sink::good();
        let dialer = Dialer {
            scheme: SmtpScheme::Clear,
            tls: None,
            login: None,
            hostname: "gate.test".into(),
            timeouts: SmtpTimeouts::default(),
        };
        let upstream = SmtpUpstream { scheme: SmtpScheme::Clear, host: "mail.test".into(), port: 25 };
        let gauge = || IntGauge::new("g", "g").unwrap();
        let pool = Pool::new(1, 2, gauge(), gauge());
        let backend = MailBackend::new(&upstream, dialer, pool.clone(), Duration::from_secs(3));
        backend.addresses.set(vec![silent.local_addr().unwrap(), sink.address]);
        let Some(Checkout::Permit(room)) = pool.try_take(0, 0, |_| ConnectionFit::Never) else {
            panic!("no room")
        };
        assert!(backend.connect(room).await.is_ok());
        assert_eq!((sink.connections(), backend.addresses.failed()), (1, vec![]));
        backend.retry_failed().await;
        assert_eq!(backend.addresses.failed(), [silent.local_addr().unwrap()]);
    }
}
