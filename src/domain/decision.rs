//! Entries, and the outcomes of a decision other than allowed.

use std::time::Duration;

use thiserror::Error;

use super::Permission;

/// The entry on which a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Mail submission.
    Smtp,
    /// API requests.
    Api,
    /// Dashboard requests.
    Web,
    /// Requests to the console, where credentials are managed in a browser.
    Console,
}

impl Entry {
    /// All entries.
    pub const ALL: [Entry; 4] = [Entry::Smtp, Entry::Api, Entry::Web, Entry::Console];

    /// The word in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Entry::Smtp => "smtp",
            Entry::Api => "api",
            Entry::Web => "web",
            Entry::Console => "console",
        }
    }

    /// The entry of that word.
    pub fn of_word(word: &str) -> Option<Entry> {
        Entry::ALL.into_iter().find(|entry| entry.as_str() == word)
    }
}

/// The reason for which a check was denied. The client gets the same answer for the first three; only log and metrics
/// distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    /// The username does not exist.
    #[error("unknown username")]
    Unknown,
    /// The secret is not that of the principal.
    #[error("wrong password")]
    Wrong,
    /// The secret is right, but the account is suspended.
    #[error("account suspended")]
    Suspended,
    /// The secret is right, but the credential lacks the permission.
    #[error("lacks the permission {0}")]
    Lacks(Permission),
    /// Too many failures from this source or for this username. The secret was not checked.
    #[error("throttled for {} ms", .0.as_millis())]
    Throttled(Duration),
}

impl Denial {
    /// The word in metrics and log.
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

/// The reason for which a check could not be made. Never a denial: the client is told to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// The store is unavailable.
    #[error("the store is unavailable")]
    Store,
    /// The queue of password checks is full.
    #[error("too many password checks are waiting")]
    Busy,
    /// Too long without contact to the database: this process may have missed a revocation.
    #[error("cut off from the database")]
    CutOff,
}
