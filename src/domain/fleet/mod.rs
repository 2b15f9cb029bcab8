//! The protocol between the nodes of a fleet: state machines without sockets and clocks.
//!
//! The promise: if a check on any node begins after a revocation was answered with success, it does not pass on the old
//! state. When revocation *n* is answered, every node either has no trust or has applied *n*.
//!
//! - A node ([`Member`]) trusts its cache until *t0* + 0.9 of the lease, where *t0* is the moment before a beat was sent that
//!   was committed, and after which the log of changes was read and applied. If that read missed *n*, its snapshot was
//!   earlier than the commit of *n*, and so was *t0*.
//! - Waiting for the longest lease after the commit ([`Revoker`]) is therefore always sufficient. Acknowledgements of all
//!   nodes only shorten the wait.
//! - [`LeaseChange`] changes the lease so that no wait is shorter than the trust of any node.
//!
//! A driver asks a machine for its next action with the time of now, carries it out, and returns its result with the
//! time at which it was received. The time that is passed to `next` must be read before the action is sent.

pub mod application;
pub mod era;
pub mod lease_change;
pub mod lease_terms;
pub mod log;
pub mod member;
pub mod member_action;
pub mod node;
pub mod revoker;

pub use application::{Application, Staleness, WentBack};
pub use era::{Era, EraError};
pub use lease_change::{LeaseAction, LeaseChange, LeaseOutcome};
pub use lease_terms::LeaseTerms;
pub use log::{ChangeToken, LogPosition, LogRead, LogRow};
pub use member::Member;
pub use member_action::{BeatReply, Bell, MemberAction};
pub use node::{Beat, NodeId, NodeRow};
pub use revoker::{NodesRead, RevocationVerdict, Revoker, RevokerAction, WaitId, WaitReason};
