//! The last use of a principal, and what it says about a credential.

use std::net::IpAddr;

use super::Entry;

/// The time after which a credential counts as unused, in seconds: 90 days.
pub const UNUSED_AFTER: i64 = 90 * 24 * 60 * 60;

/// The last use of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestUse {
    /// The time, in seconds since 1970 UTC.
    pub used_at: i64,
    /// The entry; `None` for one of a newer version.
    pub entry: Option<Entry>,
    /// The client's address; `None` if the text in the store is no address.
    pub address: Option<IpAddr>,
}

/// The state of a credential by its last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UseState {
    /// Used within the last 90 days.
    Active,
    /// Not used for 90 days.
    Unused,
    /// Never used, as far as is known.
    NeverUsed,
}

impl UseState {
    /// All states.
    pub const ALL: [UseState; 3] = [UseState::Active, UseState::Unused, UseState::NeverUsed];

    /// The state at `now`, in seconds since 1970 UTC, after that last use.
    pub fn of(last_use: Option<&LatestUse>, now: i64) -> UseState {
        match last_use {
            None => UseState::NeverUsed,
            Some(last) if last.used_at >= now - UNUSED_AFTER => UseState::Active,
            Some(_) => UseState::Unused,
        }
    }

    /// The word in queries.
    pub const fn as_str(self) -> &'static str {
        match self {
            UseState::Active => "active",
            UseState::Unused => "unused",
            UseState::NeverUsed => "never-used",
        }
    }

    /// The state of that word.
    pub fn of_word(word: &str) -> Option<UseState> {
        UseState::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_counts_for_ninety_days() {
        let at = |used_at| LatestUse { used_at, entry: None, address: None };
        let now = 2 * UNUSED_AFTER;
        assert_eq!(UseState::of(None, now), UseState::NeverUsed);
        assert_eq!(UseState::of(Some(&at(now - UNUSED_AFTER)), now), UseState::Active);
        assert_eq!(UseState::of(Some(&at(now - UNUSED_AFTER - 1)), now), UseState::Unused);
        assert_eq!(UseState::of(Some(&at(now + 5)), now), UseState::Active, "by another clock");
        for state in UseState::ALL {
            assert_eq!(UseState::of_word(state.as_str()), Some(state));
        }
        assert_eq!(UseState::of_word("Active"), None);
    }
}
