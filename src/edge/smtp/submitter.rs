//! The submitter of a message, and the backends that were tried for it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::domain::Username;
use crate::wire::smtp::Capabilities;

/// Who submits a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitter {
    /// Who logged in.
    pub user: Username,
    /// The account that it belongs to.
    pub account: Username,
    /// Where from.
    pub address: IpAddr,
    /// What the client said in EHLO or HELO.
    pub helo: String,
    /// Whether it was EHLO.
    pub esmtp: bool,
}

/// What one transaction needs of a backend, and what was tried for it and failed.
#[derive(Default)]
pub(super) struct BackendAttempts {
    /// What its envelope asks for, as far as it is known.
    pub(super) needs: Capabilities,
    /// A kept connection failed: others that were kept as long may be as bad.
    pub(super) fresh: bool,
    /// What failed last, for the log.
    pub(super) detail: Option<String>,
    backends: Vec<usize>,
    /// Until when it waits in turn, once it has to.
    waits_until: Option<Instant>,
}

impl BackendAttempts {
    /// Notes a connection that failed. One that was kept says nothing against its backend.
    pub(super) fn note(&mut self, index: usize, reused: bool, detail: String) {
        if reused {
            self.fresh = true;
            self.detail = Some(detail);
        } else {
            self.exclude(index, detail);
        }
    }

    /// Notes a backend that won't do.
    pub(super) fn exclude(&mut self, index: usize, detail: String) {
        self.backends.push(index);
        self.detail = Some(detail);
    }

    /// Whether that backend won't do.
    pub(super) fn excludes(&self, index: usize) -> bool {
        self.backends.contains(&index)
    }

    /// How long it still waits in turn, out of `all` however often it has to.
    pub(super) fn patience(&mut self, all: Duration) -> Duration {
        let until = *self.waits_until.get_or_insert_with(|| Instant::now() + all);
        until.saturating_duration_since(Instant::now())
    }
}
