//! A worker's part of the SMTP entry.

use std::sync::Arc;

use tokio::sync::watch;

use super::service::SmtpService;
use crate::edge::net::in_flight::InFlight;

/// The state that all sessions of one worker share.
#[derive(Clone)]
pub struct SmtpWorker {
    /// The entry.
    pub entry: Arc<SmtpService>,
    /// The worker's index.
    pub index: usize,
    /// Transactions in progress, so that a stop can wait for them.
    pub under_way: Arc<InFlight>,
    /// Becomes true when the gateway stops.
    pub stop: watch::Receiver<bool>,
}

impl SmtpWorker {
    /// Returns the output of `future`, or `None` if the gateway stops first. For work that can be cancelled without a loss.
    pub async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            output = future => Some(output),
            _ = stop.wait_for(|stopped| *stopped) => None,
        }
    }
}
