//! Processes on one PostgreSQL: nodes that register in a table, beat, and read a log of changes.
//!
//! The rules are in [`crate::domain::fleet`]. Here are the loops that carry them out. A gateway has a thread of its own for them, since a
//! beat that waits behind requests or password hashing would end its trust:
//!
//! - [`member_loop`] owns the direct connection of the node. It extends the trust of this process.
//! - [`revoker_loop`] waits for all revocations of this process, over another connection.
//!
//! A process that caches nothing, such as the command line, has the second loop only.

mod connection;
mod lease;
mod member_loop;
mod node_view;
mod nodes;
mod requests;
mod restart;
mod revoker_loop;
mod rows;
mod statements;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use super::unconfirmed::Unconfirmed;
use crate::config::StoreSettings;
use crate::domain::fleet::{Era, RevocationVerdict};
use crate::state::store::postgres::Servers;
use crate::state::store::{Change, ChangePosition, Store, StoreError};
use crate::state::{Epochs, Metrics, clock};

pub use self::lease::LeaseError;
pub use self::nodes::FleetNode;

use self::member_loop::MemberLoop;
use self::node_view::NodeView;
use self::requests::{CommittedChange, FleetRequests};
use self::restart::keep_running;
use self::revoker_loop::RevokerLoop;

/// The longest wait at the start for the first contact. Without it, the process begins without trust.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// The longest wait for the removal of the own row at the end, in addition to the time limit of a step.
const LEAVING: Duration = Duration::from_millis(500);

/// The membership of this process among the nodes on one PostgreSQL.
#[derive(Debug)]
pub struct FleetCluster {
    settings: StoreSettings,
    metrics: Option<Arc<Metrics>>,
    view: Arc<NodeView>,
    requests: FleetRequests,
    node: Option<NodeThread>,
    /// The loop of a process that is no node. Dropped with the cluster, which ends it.
    _revoker: JoinSet<()>,
}

/// The thread of a node, and the signals that end it.
#[derive(Debug)]
struct NodeThread {
    leave: watch::Sender<bool>,
    left: Mutex<Option<oneshot::Receiver<()>>>,
    /// Connections of the pool that the thread has opened live as long as it does.
    _end: oneshot::Sender<()>,
}

impl FleetCluster {
    /// Joins as a node. Returns after the first contact with the database, or without one after five seconds: this process has no trust
    /// then, until the contact is made.
    ///
    /// # Errors
    /// [`StoreError::Open`] if the database refuses the process, and no thread can be started.
    pub(super) async fn join(
        store: &Store,
        settings: &StoreSettings,
        epochs: Arc<Epochs>,
        metrics: Arc<Metrics>,
    ) -> Result<FleetCluster, StoreError> {
        let view = Arc::<NodeView>::default();
        let (requests, received) = FleetRequests::new();
        let (leave, leaves) = watch::channel(false);
        let (has_left, left) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (direct, pooled) = (Servers::direct(settings)?, Servers::pooled(settings)?);
        let member = {
            let (store, epochs, metrics, view) =
                (store.clone(), epochs.clone(), metrics.clone(), view.clone());
            move || {
                let parts = (direct.clone(), store.clone(), epochs.clone(), metrics.clone(), view.clone());
                let (direct, store, epochs, metrics, view) = parts;
                MemberLoop::new(direct, store, epochs, metrics, view).run(leaves.clone())
            }
        };
        let revoker = {
            let (view, minimum, received) =
                (view.clone(), store.read_minimum(), Arc::new(tokio::sync::Mutex::new(received)));
            move || RevokerLoop::new(pooled.clone(), view.clone(), minimum.clone()).run(received.clone())
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let run = move || {
            runtime.block_on(async {
                tokio::spawn(keep_running("revoker", revoker));
                tokio::spawn(async move { epochs.watch_trust().await });
                keep_running("member", member).await;
                let _ = has_left.send(());
                let _ = ended.await;
            });
        };
        thread::Builder::new().name("cluster".to_owned()).spawn(run).map_err(no_thread)?;
        let node = NodeThread { leave, left: Mutex::new(Some(left)), _end: end };
        let cluster = FleetCluster {
            settings: settings.clone(),
            metrics: Some(metrics),
            view,
            requests,
            node: Some(node),
            _revoker: JoinSet::new(),
        };
        match timeout(FIRST_CONTACT, cluster.view.begun()).await {
            Ok(Err(refused @ StoreError::Open { .. })) => return Err(refused),
            Ok(Ok(())) => {
                let state = cluster.view.now();
                let (node, era) =
                    (state.id.map(|id| id.to_string()), state.era.map(|(era, _)| era.to_string()));
                info!(node, era, lease = ?state.terms.lease, "joined the cluster");
            }
            Ok(Err(_)) | Err(_) => warn!("nothing is decided until the database can be reached"),
        }
        Ok(cluster)
    }

    /// Joins as a process that changes the store and caches nothing. Needs a tokio runtime that lives as long.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the store is not in PostgreSQL.
    pub(super) fn visit(settings: &StoreSettings) -> Result<FleetCluster, StoreError> {
        let view = Arc::<NodeView>::default();
        let (requests, received) = FleetRequests::new();
        let mut revoker = JoinSet::new();
        let received = Arc::new(tokio::sync::Mutex::new(received));
        revoker
            .spawn(RevokerLoop::new(Servers::pooled(settings)?, view.clone(), Arc::default()).run(received));
        let settings = settings.clone();
        Ok(FleetCluster { settings, metrics: None, view, requests, node: None, _revoker: revoker })
    }

    /// Waits until a committed revocation is in effect on all nodes. All other changes are applied by the log, and are not waited for.
    /// Returns the number of nodes in which it is in effect for sure.
    ///
    /// # Errors
    /// [`Unconfirmed`] if the database is lost meanwhile, or is another one.
    pub(super) async fn announce(&self, change: &Change) -> Result<usize, Unconfirmed> {
        let since = clock::now();
        let own = usize::from(self.node.is_some());
        let ChangePosition::Logged { number, era, .. } = change.position else { return Ok(own) };
        match change.revokes {
            true => {
                self.judge(self.requests.wait(CommittedChange { number, era, since }).await)?;
                Ok(self.view.nodes().max(own))
            }
            false => Ok(own),
        }
    }

    /// Waits until everything that the database holds by now is on its disk, and in effect on all nodes.
    ///
    /// The caller has looked at the server `seen` in another transaction, on another connection. That is among what is waited for: a
    /// later transaction of the same era sees at least as much, and its commit is on disk, and on the standby, after all that it sees. In
    /// another era that is not so. A primary that was left, or that has lost its memory, can show a change that the next one never got.
    /// So the outcome is unknown then, and the next call sees what is there.
    ///
    /// # Errors
    /// As [`FleetCluster::announce`], and if the database is unavailable.
    pub(super) async fn settle(&self, seen: Option<Era>) -> Result<(), Unconfirmed> {
        match self.requests.settle(seen).await {
            Ok(verdict) => self.judge(verdict),
            Err(error) => Err(self.unknown(error.reason().to_owned())),
        }
    }

    /// Ends the trust of this process, and removes its row. To be called once nothing is decided any more.
    pub(super) async fn leave(&self) {
        let Some(node) = &self.node else { return };
        let left = node.left.lock().take();
        node.leave.send_replace(true);
        let patience = self.view.now().terms.trust() + LEAVING;
        if let Some(left) = left
            && timeout(patience, left).await.is_err()
        {
            warn!("the database does not answer: the row of this node stays until others remove it");
        }
    }

    fn judge(&self, verdict: RevocationVerdict) -> Result<(), Unconfirmed> {
        if let Some(metrics) = &self.metrics {
            metrics.revocation_wait(verdict.reason());
        }
        match verdict {
            RevocationVerdict::InForce(_) => Ok(()),
            RevocationVerdict::Unknown => {
                Err(self.unknown("the connection to the database was lost, or it was restarted".to_owned()))
            }
        }
    }

    /// The error of a change that is in effect after the longest lease at the latest, if it is stored.
    pub(super) fn unknown(&self, reason: String) -> Unconfirmed {
        Unconfirmed::Unknown { reason, within: self.view.now().terms.longest }
    }
}

fn no_thread(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("no thread can be started: {error}"))
}
