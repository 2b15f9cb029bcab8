//! The processes that share a store. A change of one of them is in effect in all others when it is answered.
//!
//! Processes on one SQLite file find each other through unix sockets beside it ([`sockets`]).

mod sockets;
mod unconfirmed;

use std::sync::Arc;

use super::Epochs;
use super::audit::News;
use super::store::{Change, Store, StoreError};
use crate::config::{StoreSettings, StoreUrl};

pub use self::sockets::check_folder;
pub use self::unconfirmed::Unconfirmed;

use self::sockets::{SocketCluster, notice};

/// The membership among the processes on the same store. It ends when dropped, so it must be kept as long as cached data of the store
/// is in use.
#[derive(Debug)]
pub enum Cluster {
    /// Processes on one machine, on one SQLite file.
    Sockets(SocketCluster),
}

impl Cluster {
    /// Joins as a process that caches what it reads. Must be called before the first read that is cached.
    ///
    /// # Errors
    /// The other processes cannot be reached, or the store is unavailable.
    pub async fn join(store: &Store, epochs: Arc<Epochs>) -> Result<Cluster, StoreError> {
        SocketCluster::join(store, epochs).await.map(Cluster::Sockets)
    }

    /// Joins as a process that changes the store and caches nothing, such as the command line.
    ///
    /// # Errors
    /// The other processes cannot be reached.
    pub fn visit(store: &Store) -> Result<Cluster, StoreError> {
        SocketCluster::visit(store).map(Cluster::Sockets)
    }

    /// Returns when a committed change is in effect in every other process. `news` is for their audit trails.
    ///
    /// # Errors
    /// [`Unconfirmed`], if a process has not confirmed it in time.
    pub async fn announce(&self, change: &Change, news: Option<News>) -> Result<(), Unconfirmed> {
        match self {
            Cluster::Sockets(sockets) => sockets.announce(change, news).await,
        }
    }

    /// Returns when everything that the store holds by now is in effect in every process, also the change of a process that has died
    /// before it announced it. To be called before the answer "it is so already".
    ///
    /// # Errors
    /// [`Unconfirmed`], if a process has not confirmed it in time, or the store is unavailable.
    pub async fn settle(&self) -> Result<(), Unconfirmed> {
        match self {
            Cluster::Sockets(sockets) => sockets.settle().await,
        }
    }

    /// Leaves, as dropping does. May be called once no cached data of the store is in use any more.
    pub fn leave(&self) {
        match self {
            Cluster::Sockets(sockets) => sockets.leave(),
        }
    }
}

/// Waits if running processes cannot be found yet, before the store is opened.
///
/// # Errors
/// The directory `DATABASE.nodes` cannot be used.
pub async fn await_running(settings: &StoreSettings) -> Result<(), StoreError> {
    let StoreUrl::Sqlite(path) = &settings.url else { return Ok(()) };
    notice::await_running(path).await
}

/// Checks that each running process uses the same store, before it is opened.
///
/// # Errors
/// [`StoreError::Replaced`] if a gateway has another file open. It decides nothing from then on.
pub async fn ask_running(settings: &StoreSettings) -> Result<(), StoreError> {
    let StoreUrl::Sqlite(path) = &settings.url else { return Ok(()) };
    notice::ask_running(path).await
}
