//! The lease of a fleet: the time for which a node may trust its cache.

use std::time::Duration;

/// The lease until the first read of table `lease`.
const DEFAULT_LEASE: Duration = Duration::from_secs(3);

/// The row of table `lease`: one value for all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseTerms {
    /// The lease for which nodes register and beat from now on.
    pub lease: Duration,
    /// The longest lease that a node may still have. Every wait is this long, in any era.
    pub longest: Duration,
    /// The number of the last command that changed the lease.
    pub version: i64,
}

impl LeaseTerms {
    /// The time for which a node trusts its cache, counted from the sending of its beat: 0.9 of the lease. Also the
    /// client's time limit for each step on the connection of the node.
    pub fn trust(&self) -> Duration {
        self.lease * 9 / 10
    }

    /// The interval of beats: a sixth of the lease.
    pub fn beat_interval(&self) -> Duration {
        self.lease / 6
    }
}

impl Default for LeaseTerms {
    /// The terms of a new database.
    fn default() -> LeaseTerms {
        LeaseTerms { lease: DEFAULT_LEASE, longest: DEFAULT_LEASE, version: 0 }
    }
}
