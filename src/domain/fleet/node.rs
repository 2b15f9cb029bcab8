//! The rows by which the nodes of a fleet know each other.

use std::fmt;

use super::era::Era;

/// The ID of a row in table `node`: random, and a new one for each join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i64);

/// The beat of a row in table `node`: starts at a random number, and each write of the node increments it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Beat(pub i64);

/// A row of table `node`, as far as a revocation depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRow {
    /// The ID of the row.
    pub id: NodeId,
    /// The era in which the node wrote the row. `None` if the text in the column is not an era.
    pub era: Option<Era>,
    /// The beat.
    pub beat: Beat,
    /// The number of the last change that the node acknowledged; 0 for none.
    pub applied: u64,
    /// True once the node knew this era for the longest lease.
    pub settled: bool,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
