//! The gateways on a SQLite file, as an operator sees them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::SocketCluster;
use super::nodes_folder::seat_of;
use super::notice::{Notice, exchange};
use crate::state::store::StoreError;

/// The longest wait for a gateway's answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A gateway, by its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketNode {
    /// The ID, a new one for each start.
    pub id: String,
    /// The process ID, within its own container if it has one.
    pub pid: Option<u32>,
    /// True if it answers, and has the same file open.
    pub answers: bool,
}

impl SocketCluster {
    /// The gateways that have a socket beside the file, also those that have died lately.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the directory of sockets cannot be read.
    pub(in crate::state::cluster) async fn nodes(&self) -> Result<Vec<SocketNode>, StoreError> {
        let folder = Arc::new(self.place.open().map_err(StoreError::Unavailable)?);
        let names = folder.names().map_err(|error| {
            StoreError::Unavailable(format!("{} cannot be read: {error}", self.place.path().display()))
        })?;
        let question = Notice { database: Some(self.database), asks: true, ..Notice::default() };
        let mut text = serde_json::to_vec(&question).map_err(|e| StoreError::Unavailable(e.to_string()))?;
        text.push(b'\n');
        let text: Arc<[u8]> = text.into();
        let mut askings = JoinSet::new();
        for name in names {
            let (folder, text) = (folder.clone(), text.clone());
            askings.spawn(async move {
                let answers = matches!(timeout(PATIENCE, exchange(&folder, &name, &text)).await, Ok(Ok(())));
                let id = seat_of(&name).map_or_else(|| name.clone(), |seat| seat.text());
                let pid = name.split('-').next().and_then(|pid| pid.parse().ok());
                SocketNode { id, pid, answers }
            });
        }
        let mut nodes = askings.join_all().await;
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(nodes)
    }
}
