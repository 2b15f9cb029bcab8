//! One backend: its addresses, its connections, whether it is up and what it can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::conversation::Conversation;
use super::dial::{DialError, Dialer};
use super::pool::{Held, Pool, Room};
use crate::config::SmtpUpstream;
use crate::edge::addresses::Addresses;
use crate::wire::smtp::client::Offer;

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

    /// Makes a connection, and notes how that went.
    ///
    /// # Errors
    /// What the last of its addresses did, for the log.
    pub async fn connect(&self, room: Room<Conversation>) -> Result<Held<Conversation>, String> {
        let connected = match tokio::time::timeout(self.connect_timeout, Box::pin(self.dial())).await {
            Ok(dialed) => dialed.map_err(|error| error.to_string()),
            Err(_) => Err(format!("not ready within {:?}", self.connect_timeout)),
        };
        match connected {
            Ok(conversation) => {
                *self.seen.lock() = Seen { offer: Some(conversation.offer), at: Some(Instant::now()) };
                self.set_up(None);
                Ok(room.hold(conversation))
            }
            Err(detail) => {
                self.set_up(Some(&detail));
                Err(format!("{}: {detail}", self.name))
            }
        }
    }

    /// Makes a connection outside of the pool, and ends it: all that matters of it is noted.
    pub async fn probe(&self) {
        match tokio::time::timeout(self.connect_timeout, self.dial()).await {
            Ok(Ok(conversation)) => {
                *self.seen.lock() = Seen { offer: Some(conversation.offer), at: Some(Instant::now()) };
                conversation.close();
                self.set_up(None);
            }
            Ok(Err(error)) => self.set_up(Some(&error.to_string())),
            Err(_) => self.set_up(Some(&format!("not ready within {:?}", self.connect_timeout))),
        }
    }

    /// Looks its name up again, where it is a name.
    pub async fn resolve(&self) {
        self.addresses.resolve(&self.name).await;
    }

    /// Tries its addresses in turn.
    async fn dial(&self) -> Result<Conversation, DialError> {
        if self.addresses.is_empty() {
            self.resolve().await;
        }
        let mut failure = std::io::Error::other("its name has no address").into();
        for address in self.addresses.all() {
            match self.dialer.dial(address).await {
                Ok(conversation) => return Ok(conversation),
                Err(error) => failure = error,
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
