//! Committed mutations, as others that remember the state before them need to know them.

use crate::domain::fleet::{ChangeToken, Era};
use crate::domain::{Canonical, Permissions};

/// A committed mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The place among all changes.
    pub position: ChangePosition,
    /// The name whose epoch must be raised: that of a credential, or that of an account for it and all its credentials.
    pub name: Canonical,
    /// Nothing that was verified under that name is of any more use: it was removed, or has another password.
    pub ends_login: bool,
    /// True if it may have taken something away: a removal, another password, a permission, a right, a suspension. False for an
    /// addition, and for an edit that only grants.
    pub revokes: bool,
}

/// The place of a mutation among all changes of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangePosition {
    /// SQLite counts changes. The mutation made those from `after + 1` to `upto`.
    Counted {
        /// The number of changes before it.
        after: i64,
        /// The number of changes including it.
        upto: i64,
    },
    /// PostgreSQL logs changes. All of this was read in the transaction of the mutation, right before its commit.
    Logged {
        /// The number of the transaction in the log.
        number: u64,
        /// The token of that number, which tells it from the same number given out again after a failover.
        token: ChangeToken,
        /// The server that committed it.
        era: Era,
    },
}

/// The effect of a mutation on what was allowed before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeEffect {
    /// Nothing is taken away.
    Grants,
    /// Something may be taken away.
    Revokes,
    /// The username is gone, or has another password.
    EndsLogin,
}

impl ChangeEffect {
    /// The committed mutation of that effect.
    pub(super) fn change(self, name: Canonical, position: ChangePosition) -> Change {
        Change {
            position,
            name,
            ends_login: self == ChangeEffect::EndsLogin,
            revokes: self != ChangeEffect::Grants,
        }
    }

    /// The effect of a change of permissions, if `taken` are those that it takes away.
    pub(super) fn of_taken(taken: Permissions) -> ChangeEffect {
        if taken == Permissions::NONE { ChangeEffect::Grants } else { ChangeEffect::Revokes }
    }
}
