//! What a decision can turn out to be, besides allowed.

use std::time::Duration;

use thiserror::Error;

use super::Permission;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A mail submission.
    Smtp,
    /// An API request.
    Api,
    /// A dashboard request.
    Web,
}

impl Entry {
    /// All entries.
    pub const ALL: [Entry; 3] = [Entry::Smtp, Entry::Api, Entry::Web];

    /// The word for it in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Entry::Smtp => "smtp",
            Entry::Api => "api",
            Entry::Web => "web",
        }
    }
}

/// Why a check was denied. The first three are one answer to the peer; only log and metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    /// Nobody has that username.
    #[error("unknown username")]
    Unknown,
    /// The secret is not that principal's.
    #[error("wrong password")]
    Wrong,
    /// The secret is right, but the account is suspended.
    #[error("account suspended")]
    Suspended,
    /// The credential is right and lacks the permission.
    #[error("lacks the permission {0}")]
    Lacks(Permission),
    /// Too many failures from this source or for this username; not checked at all.
    #[error("throttled for {} ms", .0.as_millis())]
    Throttled(Duration),
}

impl Denial {
    /// The word for it in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Denial::Unknown => "unknown",
            Denial::Wrong => "wrong",
            Denial::Suspended => "suspended",
            Denial::Lacks(_) => "forbidden",
            Denial::Throttled(_) => "throttled",
        }
    }
}

/// Why a check could not be made. Never a denial: the peer is told to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// The store could not be asked.
    #[error("the store can't be asked")]
    Store,
    /// The queue of password checks is full.
    #[error("too many password checks are waiting")]
    Busy,
}
