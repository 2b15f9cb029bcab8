//! The backends of the SMTP entry: what they can do, which one is asked next, and a connection to it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::lease::Lease;
use crate::config;
use crate::domain::Username;
use crate::edge::roots::RootsError;
use crate::state::metrics::Metrics;
use crate::wire::smtp::Capabilities;

/// Why the backends can't be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    /// There is nothing to verify TLS against.
    #[error("smtp.{0}")]
    Roots(#[from] RootsError),
    /// The gateway's own password isn't there.
    #[error("smtp.upstream_password_file: {0}: {1}")]
    Password(PathBuf, String),
}

/// Why there is no connection to a backend.
#[derive(Debug, Error)]
pub enum NoBackend {
    /// None can be reached, or none takes us; what the last one that was tried did.
    #[error("{0}")]
    Down(String),
    /// All connections stayed in use.
    #[error("all connections to the backends are in use")]
    Busy,
}

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
    /// Whether its connection is encrypted.
    pub tls: bool,
}

/// All backends, with the connections to them.
pub struct Backends {}

impl Backends {
    /// Sets them up for so many workers; connects to none yet.
    ///
    /// # Errors
    /// Where the file with the roots or the one with the password can't be used.
    pub fn new(
        _settings: &config::SmtpEntry,
        _workers: usize,
        _metrics: &Metrics,
    ) -> Result<Arc<Backends>, SetupError> {
        Ok(Arc::new(Backends {}))
    }

    /// What every backend that may get the next message can do; nothing before the first health check.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// A connection for one transaction of `who`. Waits, in turn, where all are in use.
    ///
    /// # Errors
    /// Where no backend can be reached, or none was free in time.
    pub async fn lease(self: &Arc<Self>, _worker: usize, _who: &Submitter) -> Result<Lease, NoBackend> {
        Err(NoBackend::Busy)
    }

    /// Asks the backends how they are, for as long as the gateway runs.
    pub async fn watch_health(self: Arc<Self>) {}
}
