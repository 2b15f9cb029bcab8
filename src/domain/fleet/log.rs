//! The log of changes, and all that one read of it returns.

use crate::domain::Canonical;

use super::era::Era;
use super::lease_terms::LeaseTerms;

/// The random number of a change. Two changes that got the same number, because a crash undid the first, differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeToken(pub i64);

/// A place in the log of changes: the number of a change and its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The number of the change: the first has 1. 0 stands for the state before all changes.
    pub number: u64,
    /// The token of the change. That of number 0 is never compared.
    pub token: ChangeToken,
}

/// A row of the log: a change, and the names that it touched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogRow {
    /// The number of the change.
    pub seq: u64,
    /// The token of the change.
    pub token: ChangeToken,
    /// The names of the principals; `None` if they were too many, or one of them is not a valid username: then
    /// everything is meant.
    pub names: Option<Vec<Canonical>>,
}

/// All that one read of the log returns. It has to be one statement, and a new one after the commit of the beat before it:
/// its snapshot must be later than that commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogRead {
    /// The era of the connection.
    pub era: Era,
    /// Number and token of the last change (table `counter`).
    pub last: LogPosition,
    /// The token of the log row with the number from which was read; `None` if there is no such row.
    pub token_at_applied: Option<ChangeToken>,
    /// The rows above the number from which was read, by ascending number. They may be cut off after any number of them:
    /// then everything is raised.
    pub rows: Vec<LogRow>,
    /// The lowest number that is not trimmed (table `log_trimmed_below`); rows below it are missing.
    pub trimmed_below: u64,
    /// The lease.
    pub terms: LeaseTerms,
}
