//! The nodes, as an operator sees them.

use std::time::Duration;

use super::{FleetCluster, rows, statements};
use crate::domain::fleet::NodeId;
use crate::state::store::StoreError;

/// A row of table `node`.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetNode {
    /// The ID, a new one for each time that a process joins.
    pub id: NodeId,
    /// The version of Gatepost.
    pub version: String,
    /// The era in which it has joined.
    pub era: String,
    /// The time since the last beat.
    pub beat_age: Duration,
    /// The number of the last change that it has applied.
    pub applied: u64,
    /// The number of changes that it has not applied.
    pub lag: u64,
    /// True if it has known its era for the longest lease.
    pub settled: bool,
}

impl FleetCluster {
    /// All nodes, also those of processes that have died lately.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(in crate::state::cluster) async fn nodes(&self) -> Result<Vec<FleetNode>, StoreError> {
        let rows = self.requests.run(statements::NODES.to_owned()).await?;
        let node = |row| {
            let age: f64 = rows::value(row, "age")?;
            Ok(FleetNode {
                id: NodeId(rows::value(row, "id")?),
                version: rows::value(row, "version")?,
                era: rows::value(row, "era")?,
                beat_age: Duration::try_from_secs_f64(age).unwrap_or_default(),
                applied: rows::number(row, "applied")?,
                lag: rows::number(row, "lag")?,
                settled: rows::value::<i64>(row, "settled")? != 0,
            })
        };
        rows.iter().filter(|row| rows::has(row, "id")).map(node).collect()
    }
}
