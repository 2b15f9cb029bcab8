//! The change of the lease, by a command.

use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;

use super::connection::late;
use super::member_loop::sleep_until;
use super::{FleetCluster, rows, statements};
use crate::domain::fleet::{LeaseAction, LeaseChange, LeaseOutcome, LeaseTerms};
use crate::state::clock;
use crate::state::store::StoreError;
use crate::state::store::postgres::Servers;

/// The reason for which the lease was not changed. Nodes keep to the shorter, and waits to the longer one of both leases.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LeaseError {
    /// The database was lost on the way.
    #[error("the change was interrupted, and nothing is unsafe: run the command again: {0}")]
    Interrupted(StoreError),
    /// The store is a SQLite file.
    #[error("a SQLite database needs no lease: a change is in effect in all gateways when it is answered")]
    NotNeeded,
    /// Another command has begun later.
    #[error("another command changes the lease at this moment, and its lease counts")]
    Overtaken,
}

impl FleetCluster {
    /// Sets the lease, in whole milliseconds. Returns once all nodes keep to it, which takes the longest lease. `waits` is called with that
    /// time at its beginning.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub(in crate::state::cluster) async fn change_lease(
        &self,
        lease: Duration,
        waits: impl Fn(Duration),
    ) -> Result<(), LeaseError> {
        let limit = LeaseTerms::default().trust();
        // All steps use one connection.
        let connected = async { Servers::pooled(&self.settings)?.connect(limit).await }.await;
        let mut connection = connected.map_err(LeaseError::Interrupted)?;
        let mut change = LeaseChange::new(lease);
        loop {
            match change.next(clock::now()) {
                LeaseAction::Begin { lease } => {
                    let sql = statements::begin_lease(lease.as_millis());
                    let begun = timeout(limit, rows::run(&mut connection, sql, limit)).await;
                    let begun = begun.unwrap_or_else(|_| Err(late(limit)));
                    let terms = begun.and_then(|rows| rows::terms(rows::only(&rows, "lease_ms")?));
                    let terms = terms.map_err(LeaseError::Interrupted)?;
                    change.begun(clock::now(), terms);
                    waits(terms.longest);
                }
                LeaseAction::WaitUntil(until) => sleep_until(until).await,
                LeaseAction::Finish { lease, version } => {
                    let sql = statements::finish_lease(lease.as_millis(), version);
                    let finished = timeout(limit, rows::run(&mut connection, sql, limit)).await;
                    let rows =
                        finished.unwrap_or_else(|_| Err(late(limit))).map_err(LeaseError::Interrupted)?;
                    change.finished(u64::from(rows::with_column(&rows, "version").is_some()));
                }
                LeaseAction::Done(LeaseOutcome::Changed) => return Ok(()),
                LeaseAction::Done(LeaseOutcome::Overtaken) => return Err(LeaseError::Overtaken),
                LeaseAction::Done(LeaseOutcome::Interrupted) => {
                    return Err(LeaseError::Interrupted(late(limit)));
                }
            }
        }
    }
}
