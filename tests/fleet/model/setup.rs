//! Setups: what may happen in a run of the model, and the rule that it breaks.

/// Something that may happen, or a rule that is broken. A rule is broken in the environment (the driver, the database, or
/// another program), never in the machines: they are the real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    // What may happen.
    /// Two processes delete rows, with clocks of their own. Otherwise a row is deleted as soon as any process may do so.
    TwoDeleters,
    RowsStay,
    BeatUpserts,
    BeatInOneTransaction,
    Leave,
    SecondProcess,
    Failover,
    FailoverLoses,
    /// A node, and the looks of a revoker, may stay with the old primary.
    OldPrimary,
    PlainSql,
    Settle,
    Lease,
    Restarts,
    Trimming,
    SilentBell,
    SlowLooks,
    /// The first node has a cache that is filled by reads, instead of one that has everything at any time.
    ColdReads,
    /// The effects of a read of the log come at once, and not with the steps of a check in between.
    EffectsAtOnce,
    /// Rows may come from a replica that lags.
    Replica,
    /// The node neither crashes nor loses its connection: enough for some counterexamples, and fewer states.
    CalmNode,
    // Broken rules.
    RegistrationAndReadInOneTransaction,
    ReadBeforeRegistration,
    TrustFromReply,
    AcknowledgedBeforeApplied,
    LeftBeforeStopping,
    TwoProcessesOneRow,
    PausedClock,
    SilentNodeIgnored,
    ShortWait,
    WaitFromBeforeCommit,
    LookFromBeforeCommit,
    DeletedAtWaitEnd,
    DeletedWhateverBeat,
    DeletedFromSending,
    DeletedInTwoStatements,
    IdComesBack,
    NoGrace,
    NoGraceOfShortLived,
    SettledInAnyEra,
    SettledEarly,
    WaitsInAnyEra,
    BellExtendsTrust,
    OldPrimaryCommits,
    NoTokens,
    AcknowledgedByNumber,
    RegisteredAsApplied,
    CommittedAsynchronously,
    SettleOnlyReads,
    LeaseRaisedAtOnce,
    LeaseLoweredAtOnce,
    EraForgetsLongest,
    LeaseWithoutVersion,
    LongestReadBeforeCommit,
    SettledAfterPresentLease,
    TrimmedUnnoticed,
    RowsOfAnyNumber,
    RowsOfAnyEra,
    CheckedWithoutTrust,
    LowestAfterRaise,
    TrustBeforeRaise,
}

/// A setup of the model: what may happen, the nodes, the revokers, and the leases in ticks.
#[derive(Clone, Debug)]
pub struct Setup {
    pub features: Vec<Feature>,
    pub nodes: usize,
    /// The processes that revoke. The second is short-lived, unless it only deletes rows.
    pub revokers: usize,
    /// The leases that commands set; the first is that of the beginning.
    pub leases: Vec<u8>,
}

impl Setup {
    /// One node and two revokers, and a lease of two ticks; where the lease changes, one revoker.
    pub fn new(features: &[Feature]) -> Setup {
        let (revokers, leases) = match features.contains(&Feature::Lease) {
            true => (1, vec![2, 1]),
            false => (2, vec![2]),
        };
        Setup { features: features.to_vec(), nodes: 1, revokers, leases }
    }

    /// One node and one revoker.
    pub fn of_one(features: &[Feature]) -> Setup {
        Setup { revokers: 1, ..Setup::new(features) }
    }

    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// The longest lease in ticks; ages above it are all the same.
    pub fn longest(&self) -> u8 {
        self.leases.iter().copied().max().unwrap_or(0)
    }
}
