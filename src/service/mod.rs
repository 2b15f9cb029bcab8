//! Floor 3: what Gatepost does: the decision.

pub mod access;

pub use access::{Access, Decision, Granted, HolderDecision};
