//! The processes that share a store. A change of one of them is in effect in all others when it is answered.
//!
//! Processes on one SQLite file find each other through unix sockets beside it (`sockets`). Processes on one PostgreSQL are nodes of a
//! fleet (`fleet`).

mod fleet;
mod sockets;
mod unconfirmed;

use std::sync::Arc;
use std::time::Duration;

use super::audit::News;
use super::store::{Change, Store, StoreError};
use crate::config::{StoreSettings, StoreUrl};
use crate::domain::fleet::Era;

pub use self::fleet::{FleetNode, LeaseError};
pub use self::sockets::{SocketNode, check_folder};
pub use self::unconfirmed::Unconfirmed;

use self::fleet::FleetCluster;
use self::sockets::{SocketCluster, notice};
use super::{Epochs, Metrics};

/// The membership among the processes on the same store. It ends when dropped, so it must be kept as long as cached data of the store
/// is in use.
#[derive(Debug)]
pub enum Cluster {
    /// Processes on one machine, on one SQLite file.
    Sockets(SocketCluster),
    /// Processes on any machines, on one PostgreSQL.
    Fleet(FleetCluster),
}

/// The gateways on a store.
#[derive(Clone, Debug, PartialEq)]
pub enum ClusterNodes {
    /// Gateways on a SQLite file.
    Sockets(Vec<SocketNode>),
    /// Gateways on a PostgreSQL.
    Fleet(Vec<FleetNode>),
}

impl Cluster {
    /// Joins as a process that caches what it reads. Must be called before the first read that is cached.
    ///
    /// # Errors
    /// The other processes cannot be reached, or the store is unavailable. A PostgreSQL that cannot be reached is no error: the process
    /// has no trust until it can.
    pub async fn join(
        store: &Store,
        settings: &StoreSettings,
        epochs: Arc<Epochs>,
        metrics: Arc<Metrics>,
    ) -> Result<Cluster, StoreError> {
        match settings.url {
            StoreUrl::Sqlite(_) => SocketCluster::join(store, epochs).await.map(Cluster::Sockets),
            StoreUrl::Postgres(_) => {
                FleetCluster::join(store, settings, epochs, metrics).await.map(Cluster::Fleet)
            }
        }
    }

    /// Joins as a process that changes the store and caches nothing, such as the command line. Needs a tokio runtime that lives as long.
    ///
    /// # Errors
    /// The other processes cannot be reached.
    pub fn visit(store: &Store, settings: &StoreSettings) -> Result<Cluster, StoreError> {
        match settings.url {
            StoreUrl::Sqlite(_) => SocketCluster::visit(store).map(Cluster::Sockets),
            StoreUrl::Postgres(_) => FleetCluster::visit(settings).map(Cluster::Fleet),
        }
    }

    /// Returns when a committed change is in effect in every other process. On PostgreSQL, only revocations are waited for. `news` is for
    /// the audit trails of the others. Returns the number of gateways in which it is known to be in effect, this one included.
    ///
    /// # Errors
    /// [`Unconfirmed`], if that is not known to be so.
    pub async fn announce(&self, change: &Change, news: Option<News>) -> Result<usize, Unconfirmed> {
        match self {
            Cluster::Sockets(sockets) => sockets.announce(change, news).await,
            // The line is in the log already.
            Cluster::Fleet(fleet) => fleet.announce(change).await,
        }
    }

    /// Returns when everything that the store holds by now is in effect in every process, also the change of a process that has died
    /// before it announced it. To be called before the answer "it is so already". `seen` is the server on which it was so.
    ///
    /// # Errors
    /// [`Unconfirmed`], if that is not known to be so, or the store is unavailable.
    pub async fn settle(&self, seen: Option<Era>) -> Result<(), Unconfirmed> {
        match self {
            Cluster::Sockets(sockets) => sockets.settle().await,
            Cluster::Fleet(fleet) => fleet.settle(seen).await,
        }
    }

    /// The error of a change that was perhaps committed.
    pub fn unknown(&self, reason: String) -> Unconfirmed {
        match self {
            Cluster::Sockets(_) => Unconfirmed::Silent(reason),
            Cluster::Fleet(fleet) => fleet.unknown(reason),
        }
    }

    /// Leaves. Must be called once no cached data of the store is in use any more, and before the store is closed.
    pub async fn leave(&self) {
        match self {
            Cluster::Sockets(sockets) => sockets.leave(),
            Cluster::Fleet(fleet) => fleet.leave().await,
        }
    }

    /// Lists the gateways on the store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn nodes(&self) -> Result<ClusterNodes, StoreError> {
        match self {
            Cluster::Sockets(sockets) => sockets.nodes().await.map(ClusterNodes::Sockets),
            Cluster::Fleet(fleet) => fleet.nodes().await.map(ClusterNodes::Fleet),
        }
    }

    /// Sets the time for which a gateway that is cut off from PostgreSQL still decides. Returns once all gateways keep to it. `waits` is
    /// called with the time that this takes.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn change_lease(&self, lease: Duration, waits: impl Fn(Duration)) -> Result<(), LeaseError> {
        match self {
            Cluster::Sockets(_) => Err(LeaseError::NotNeeded),
            Cluster::Fleet(fleet) => fleet.change_lease(lease, waits).await,
        }
    }
}

/// Waits if running processes cannot be found yet, before the store is opened.
///
/// # Errors
/// The directory `DATABASE.nodes` cannot be used.
pub async fn await_running(settings: &StoreSettings) -> Result<(), StoreError> {
    match &settings.url {
        StoreUrl::Sqlite(path) => notice::await_running(path).await,
        StoreUrl::Postgres(_) => Ok(()),
    }
}

/// Checks that each running process uses the same store, before it is opened.
///
/// # Errors
/// [`StoreError::Replaced`] if a gateway has another file open. It decides nothing from then on.
pub async fn ask_running(settings: &StoreSettings) -> Result<(), StoreError> {
    match &settings.url {
        StoreUrl::Sqlite(path) => notice::ask_running(path).await,
        StoreUrl::Postgres(_) => Ok(()),
    }
}
