//! One backend: its addresses, its connections, whether it is up and what it can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;

use super::conversation::Conversation;
use super::dial::{DialError, Dialer};
use super::pool::{Held, Pool, Room};
use crate::config::SmtpUpstream;
use crate::edge::addresses::Addresses;
use crate::wire::smtp::client::Offer;

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
pub struct Backend {
    name: String,
    /// How to get it ready.
    pub dialer: Dialer,
    /// The connections to it.
    pub pool: Arc<Pool<Conversation>>,
    connect_timeout: Duration,
    addresses: Addresses,
    up: AtomicBool,
    seen: Mutex<Seen>,
}

/// What was seen of it last.
#[derive(Clone, Copy, Default)]
struct Seen {
    offer: Option<Offer>,
    at: Option<Instant>,
}

impl Backend {
    /// A backend that counts as up until something else is known.
    pub fn new(
        upstream: &SmtpUpstream,
        dialer: Dialer,
        pool: Arc<Pool<Conversation>>,
        connect_timeout: Duration,
    ) -> Backend {
        Backend {
            name: upstream.to_string(),
            addresses: Addresses::new(&upstream.host, upstream.port),
            dialer,
            pool,
            connect_timeout,
            up: AtomicBool::new(true),
            seen: Mutex::new(Seen::default()),
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
    pub fn offer(&self) -> Option<Offer> {
        self.seen.lock().offer
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
    /// What the last of its addresses did.
    pub async fn connect(&self, room: Room<Conversation>) -> Result<Held<Conversation>, NoConnection> {
        let error = match Box::pin(self.dial()).await {
            Ok(conversation) => {
                self.note_ready(&conversation);
                return Ok(room.hold(conversation));
            }
            Err(error) => error,
        };
        if error.is_full() && room.refused(FULL) {
            tracing::info!(upstream = self.name, %error, "the mail backend takes no more connections for now");
            return Err(NoConnection::Full);
        }
        self.set_up(Some(&error.to_string()));
        Err(NoConnection::Down(format!("{}: {error}", self.name)))
    }

    /// Makes a connection outside of the pool, and ends it: all that matters of it is noted.
    pub async fn probe(&self) {
        match self.dial().await {
            Ok(conversation) => {
                self.note_ready(&conversation);
                conversation.close();
            }
            Err(error) if error.is_full() && self.pool.is_open() => {}
            Err(error) => self.set_up(Some(&error.to_string())),
        }
    }

    fn note_ready(&self, conversation: &Conversation) {
        *self.seen.lock() = Seen { offer: Some(conversation.offer), at: Some(Instant::now()) };
        self.set_up(None);
    }

    /// Looks its name up again, where it is a name.
    pub async fn resolve(&self) {
        self.addresses.resolve(&self.name).await;
    }

    /// Tries its addresses in turn, each for its share of the time that is left, so that one that swallows all that is sent
    /// to it leaves time for the others.
    async fn dial(&self) -> Result<Conversation, DialError> {
        let until = Instant::now() + self.connect_timeout;
        if self.addresses.is_empty() && timeout(self.connect_timeout, self.resolve()).await.is_err() {
            return Err(DialError::Slow(self.connect_timeout));
        }
        let mut failure = std::io::Error::other("its name has no address").into();
        let addresses = self.addresses.all();
        for (number, address) in addresses.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let share = left / (addresses.len() - number) as u32;
            match timeout(share, self.dialer.dial(*address)).await {
                Ok(Ok(conversation)) => return Ok(conversation),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = DialError::Slow(share),
            }
        }
        Err(failure)
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use prometheus::IntGauge;

    use super::*;
    use crate::config::{SmtpScheme, SmtpTimeouts};
    use crate::edge::smtp::pool::{Fit, Taken};
    use crate::edge::smtp::tests::sink::Sink;

    #[tokio::test]
    async fn an_address_that_swallows_everything_leaves_time_for_the_next() {
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
        let backend = Backend::new(&upstream, dialer, pool.clone(), Duration::from_secs(2));
        backend.addresses.set(vec![silent.local_addr().unwrap(), sink.address]);
        // Each of them comes first once.
        for connection in 1..=2 {
            let Some(Taken::Room(room)) = pool.try_take(0, 0, |_| Fit::Never) else { panic!("no room") };
            assert!(backend.connect(room).await.is_ok());
            assert_eq!(sink.connections(), connection);
        }
    }
}
