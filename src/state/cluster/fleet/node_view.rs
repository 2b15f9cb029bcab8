//! The state of this process as a node, for the other parts of the cluster.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::domain::Moment;
use crate::domain::fleet::{Era, LeaseTerms, Member, NodeId};
use crate::state::store::StoreError;

/// The state, which the loop of the node keeps up to date.
#[derive(Debug, Default)]
pub(super) struct NodeView {
    state: watch::Sender<NodeState>,
    /// The number of nodes at the last look at all of them.
    nodes: AtomicUsize,
}

/// The state at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeState {
    /// The row of the node, if it has one.
    pub(super) id: Option<NodeId>,
    /// The present era, and the moment at which it was first received.
    pub(super) era: Option<(Era, Moment)>,
    /// The lease, as of the last read.
    pub(super) terms: LeaseTerms,
    /// True once the log was read for the first time.
    pub(super) has_read: bool,
    /// The last failure, if nothing was read since.
    pub(super) failure: Option<StoreError>,
}

impl NodeView {
    /// The state of now.
    pub(super) fn now(&self) -> NodeState {
        self.state.borrow().clone()
    }

    /// The number of nodes at the last look at all of them.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Notes the number of nodes.
    pub(super) fn set_nodes(&self, nodes: usize) {
        self.nodes.store(nodes, Ordering::Relaxed);
    }

    /// Takes over the state of the node.
    pub(super) fn update(&self, member: &Member) {
        let (id, era) = (member.id(), member.era());
        self.state.send_if_modified(|state| {
            let is_other = (state.id, state.era) != (id, era);
            (state.id, state.era) = (id, era);
            is_other
        });
    }

    /// Notes a read of the log.
    pub(super) fn set_terms(&self, terms: LeaseTerms) {
        self.state.send_if_modified(|state| {
            let is_other = !state.has_read || state.failure.is_some() || state.terms != terms;
            (state.terms, state.has_read, state.failure) = (terms, true, None);
            is_other
        });
    }

    /// Notes a failure.
    pub(super) fn fail(&self, error: &StoreError) {
        self.state.send_modify(|state| state.failure = Some(error.clone()));
    }

    /// Waits for the first read, or for a failure before it.
    pub(super) async fn begun(&self) -> Result<(), StoreError> {
        let mut states = self.state.subscribe();
        // The sender lives as long as this view.
        let Ok(state) = states.wait_for(|state| state.has_read || state.failure.is_some()).await else {
            return Ok(());
        };
        match &state.failure {
            Some(failure) if !state.has_read => Err(failure.clone()),
            _ => Ok(()),
        }
    }
}
