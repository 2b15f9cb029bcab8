//! The requests of one HTTP/2 connection that its client resets before they are answered. Each may have had a backend begin in vain.

use std::sync::atomic::{AtomicU32, Ordering};

/// The requests in a row that a client may give up.
const MOST: u32 = 100;

/// A count of requests that were given up, one after another.
#[derive(Debug, Default)]
pub struct GivenUp {
    in_a_row: AtomicU32,
}

impl GivenUp {
    /// Counts a request that has ended. Once there were too many that were given up, no other makes up for them.
    pub fn note(&self, was_given_up: bool) {
        let next = |count: u32| match was_given_up {
            true => Some(count.saturating_add(1)),
            false => (1..=MOST).contains(&count).then_some(0),
        };
        let _ = self.in_a_row.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Returns true once there were too many.
    pub fn is_too_many(&self) -> bool {
        self.in_a_row.load(Ordering::Relaxed) > MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_hundred_in_a_row_are_too_many_for_good() {
        let given_up = GivenUp::default();
        for _ in 0..3 {
            (0..MOST).for_each(|_| given_up.note(true));
            assert!(!given_up.is_too_many());
            given_up.note(false);
        }
        (0..=MOST).for_each(|_| given_up.note(true));
        assert!(given_up.is_too_many());
        given_up.note(false);
        assert!(given_up.is_too_many());
    }
}
