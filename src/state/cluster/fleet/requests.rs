//! Requests to the loop that waits for revocations, from any thread.

use sqlx::postgres::PgRow;
use tokio::sync::{mpsc, oneshot};

use crate::domain::Moment;
use crate::domain::fleet::{Era, RevocationVerdict};
use crate::state::store::StoreError;

/// A request to the loop.
#[derive(Debug)]
pub(super) enum FleetRequest {
    /// Wait for a committed change.
    Wait(CommittedChange, oneshot::Sender<RevocationVerdict>),
    /// Write something, and wait for all changes so far, if they are those of this server.
    Settle(Option<Era>, oneshot::Sender<Result<RevocationVerdict, StoreError>>),
    /// Run a text of statements.
    Run(String, oneshot::Sender<Result<Vec<PgRow>, StoreError>>),
}

/// A change that is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommittedChange {
    /// The number of the change.
    pub(super) number: u64,
    /// The era in its transaction.
    pub(super) era: Era,
    /// A moment after its commit.
    pub(super) since: Moment,
}

/// The sending side. The loop ends once it is dropped.
#[derive(Clone, Debug)]
pub(super) struct FleetRequests(mpsc::UnboundedSender<FleetRequest>);

impl FleetRequests {
    /// Both sides.
    pub(super) fn new() -> (FleetRequests, mpsc::UnboundedReceiver<FleetRequest>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (FleetRequests(sender), receiver)
    }

    /// Waits until a change is in effect on all nodes.
    pub(super) async fn wait(&self, change: CommittedChange) -> RevocationVerdict {
        let (ended, end) = oneshot::channel();
        // If the loop has ended, so has the sender in the request.
        let _ = self.0.send(FleetRequest::Wait(change, ended));
        end.await.unwrap_or(RevocationVerdict::Unknown)
    }

    /// Waits until all changes so far are in effect on all nodes. Unknown if it is another server that was `seen`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the write fails.
    pub(super) async fn settle(&self, seen: Option<Era>) -> Result<RevocationVerdict, StoreError> {
        let (ended, end) = oneshot::channel();
        let _ = self.0.send(FleetRequest::Settle(seen, ended));
        end.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Runs a text of statements.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(super) async fn run(&self, sql: String) -> Result<Vec<PgRow>, StoreError> {
        let (ended, end) = oneshot::channel();
        let _ = self.0.send(FleetRequest::Run(sql, ended));
        end.await.unwrap_or_else(|_| Err(stopping()))
    }
}

fn stopping() -> StoreError {
    StoreError::Unavailable("this process is stopping".to_owned())
}
