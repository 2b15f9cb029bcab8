//! The backends that were tried for one transaction.

use std::time::{Duration, Instant};

use crate::wire::smtp::Capabilities;

/// The needs of one transaction, and the attempts to find a backend for it.
#[derive(Default)]
pub struct BackendAttempts {
    /// The capabilities that its envelope needs, as far as it is known.
    pub needs: Capabilities,
    /// True after a pooled connection failed: others that were idle for as long may be broken as well.
    pub fresh: bool,
    /// The last failure, for the log.
    pub detail: Option<String>,
    excluded: Vec<usize>,
    /// The end of the wait for a connection, from its beginning on.
    waits_until: Option<Instant>,
}

impl BackendAttempts {
    /// Notes a connection that failed. A failure of a pooled connection does not exclude its backend.
    pub fn note(&mut self, index: usize, reused: bool, detail: String) {
        if reused {
            self.fresh = true;
            self.detail = Some(detail);
        } else {
            self.exclude(index, detail);
        }
    }

    /// Excludes a backend from further attempts.
    pub fn exclude(&mut self, index: usize, detail: String) {
        self.excluded.push(index);
        self.detail = Some(detail);
    }

    /// Returns true if the backend was excluded.
    pub fn excludes(&self, index: usize) -> bool {
        self.excluded.contains(&index)
    }

    /// The time that is left to wait for a connection: `all`, less what earlier waits of this transaction took.
    pub fn patience(&mut self, all: Duration) -> Duration {
        let until = *self.waits_until.get_or_insert_with(|| Instant::now() + all);
        until.saturating_duration_since(Instant::now())
    }
}
