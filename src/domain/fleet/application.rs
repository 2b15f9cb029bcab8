//! The effect of one read of the log on a process.

use crate::domain::{Canonical, Moment};

use super::era::Era;

/// The cached data that a read of the log made stale.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Staleness {
    /// The data of these names; none, if nothing changed.
    Names(Vec<Canonical>),
    /// All data.
    Everything,
}

/// A database that has fewer changes than a node applied: an answered revocation may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WentBack {
    /// The number that the node had applied.
    pub from: u64,
    /// The number that was read afterwards. The same number, if it now stands for another change.
    pub to: u64,
}

/// The effect of one read of the log, to be carried out in the order of the fields. A check that takes the epoch, then the
/// lowest number, and then reads a row depends on this order, and so does the acknowledgement that follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Application {
    /// 1. The era and the lowest number of cold reads: a row that was read with a lower number, or in another era, is not
    ///    used.
    pub lowest: (Era, u64),
    /// 2. The data whose epochs are raised.
    pub stale: Staleness,
    /// 3. The number that is applied afterwards.
    pub applied: u64,
    /// 4. The moment up to which trust is extended; `None` if it is left as it is. Trust never shrinks by this.
    pub trust_until: Option<Moment>,
    /// True if nothing of this database was applied before: its log is about what was done before this process began.
    pub is_first: bool,
    /// The loss of changes that was noticed, for the log and its counter.
    pub went_back: Option<WentBack>,
}
