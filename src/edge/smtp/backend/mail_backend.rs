//! A mail backend: its addresses and connections, its health, and the extensions that it offers.

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
use crate::edge::net::happy_eyeballs::{self, AddressFailure, Unreachable};
use crate::edge::net::resolver::Addresses;
use crate::wire::smtp::extensions::ServiceExtensions;

/// The time for which a backend that refused a connection gets no more of them than it had.
const FULL: Duration = Duration::from_secs(10);

/// The reason why there is no new connection.
#[derive(Debug, PartialEq, Eq)]
pub enum NoConnection {
    /// The backend takes no more connections than there are.
    Full,
    /// The backend can't be reached or is not ready; the cause, for the log.
    Down(String),
}

/// A mail backend.
pub struct MailBackend {
    name: String,
    /// Prepares new connections.
    pub dialer: Dialer,
    /// The connections to it.
    pub pool: Arc<Pool<BackendClient>>,
    connect_timeout: Duration,
    addresses: Addresses,
    up: AtomicBool,
    seen: Mutex<LastContact>,
    /// Locked while failed addresses are tried again.
    retrying: tokio::sync::Mutex<()>,
}

/// The last successful contact with a backend.
#[derive(Clone, Copy, Default)]
struct LastContact {
    extensions: Option<ServiceExtensions>,
    at: Option<Instant>,
}

impl MailBackend {
    /// A backend that counts as up until a connection to it fails.
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

    /// The URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if the backend counts as up.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// The extensions in its last EHLO reply; `None` before the first one.
    pub fn extensions(&self) -> Option<ServiceExtensions> {
        self.seen.lock().extensions
    }

    /// Returns true if the backend is up and a connection or a transaction succeeded within `time`.
    pub fn was_seen_within(&self, time: Duration) -> bool {
        self.is_up() && self.seen.lock().at.is_some_and(|at| at.elapsed() < time)
    }

    /// Notes that the backend replied.
    pub fn note_alive(&self) {
        self.seen.lock().at = Some(Instant::now());
    }

    /// Makes a connection, and notes the health of the backend. A backend that refuses one while it has others isn't down: no
    /// more connections are made for a while.
    ///
    /// # Errors
    /// The failure of each address.
    pub async fn connect(
        &self,
        permit: ConnectionPermit<BackendClient>,
    ) -> Result<PooledConnection<BackendClient>, NoConnection> {
        let error = match Box::pin(self.dial()).await {
            Ok(client) => {
                self.note_ready(&client);
                return Ok(permit.fill(client));
            }
            Err(error) => error,
        };
        if is_full(&error) && permit.give_back_refused(FULL) {
            tracing::info!(upstream = self.name, %error, "mail backend takes no more connections for now");
            return Err(NoConnection::Full);
        }
        if !error.is_shortage() {
            self.set_up(Some(&error.to_string()));
        }
        Err(NoConnection::Down(format!("{}: {error}", self.name)))
    }

    /// Checks the health: makes a connection outside of the pool, and closes it.
    pub async fn probe(&self) {
        match self.dial().await {
            Ok(client) => {
                self.note_ready(&client);
                client.close();
            }
            Err(error) if is_full(&error) && self.pool.is_open() || error.is_shortage() => {}
            Err(error) => self.set_up(Some(&error.to_string())),
        }
    }

    fn note_ready(&self, client: &BackendClient) {
        *self.seen.lock() = LastContact { extensions: Some(client.extensions), at: Some(Instant::now()) };
        self.set_up(None);
    }

    /// Looks up the addresses of its host name again.
    pub async fn resolve(&self) {
        self.addresses.resolve(&self.name).await;
    }

    /// Connects to addresses that failed or are in doubt, so that they are used again once they work. A backend with one
    /// address, or with failed ones only, is checked by [`MailBackend::probe`].
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

    /// Connects to its addresses in turn, and to the next one in parallel if an attempt is slow.
    async fn dial(&self) -> Result<BackendClient, Unreachable<DialError>> {
        let began = Instant::now();
        if self.addresses.is_empty() && timeout(self.connect_timeout, self.resolve()).await.is_err() {
            return Err(Unreachable::unresolved());
        }
        let left = self.connect_timeout.saturating_sub(began.elapsed());
        let dial = |_, stream| self.dialer.dial(stream);
        happy_eyeballs::connect(&self.addresses, left, dial, |error| !error.is_full()).await
    }

    /// Notes the health, and logs a change of it. `failure` is the reason of a backend that is down.
    fn set_up(&self, failure: Option<&str>) {
        let was_up = self.up.swap(failure.is_none(), Ordering::Relaxed);
        match failure {
            Some(error) if was_up => {
                tracing::warn!(upstream = self.name, entry = "smtp", error, "mail backend is down");
            }
            None if !was_up => tracing::info!(upstream = self.name, entry = "smtp", "mail backend is up"),
            _ => {}
        }
    }
}

/// Returns true if at least one address takes no more connections for now.
fn is_full(error: &Unreachable<DialError>) -> bool {
    let full = |failure: &AddressFailure<DialError>| matches!(failure, AddressFailure::Prepare(error) if error.is_full());
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
        let Some(Checkout::Permit(permit)) = pool.try_take(0, 0, |_| ConnectionFit::Never) else {
            panic!("no permit")
        };
        assert!(backend.connect(permit).await.is_ok());
        assert_eq!((sink.connections(), backend.addresses.failed()), (1, vec![]));
        backend.retry_failed().await;
        assert_eq!(backend.addresses.failed(), [silent.local_addr().unwrap()]);
    }
}
