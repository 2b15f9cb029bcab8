//! The maker of the IDs of requests and mail sessions.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::RequestId;

/// Makes IDs that differ from those of other processes and that nobody can predict: a keyed hash (SipHash) of a counter, 80 bits.
pub struct RequestIds {
    keys: [RandomState; 2],
    next: AtomicU64,
}

impl RequestIds {
    /// Chooses the keys.
    pub fn new() -> RequestIds {
        RequestIds { keys: [RandomState::new(), RandomState::new()], next: AtomicU64::new(0) }
    }

    /// Returns the next ID.
    pub fn next(&self) -> RequestId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let [high, low] = &self.keys;
        RequestId::from_bits(
            u128::from(high.hash_one(count)) << 16 | u128::from(low.hash_one(count) & 0xffff),
        )
    }
}

impl Default for RequestIds {
    fn default() -> RequestIds {
        RequestIds::new()
    }
}

impl fmt::Debug for RequestIds {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestIds").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_between_makers_too() {
        let makers = [RequestIds::new(), RequestIds::new()];
        let ids: HashSet<String> =
            makers.iter().flat_map(|ids| (0..1000).map(|_| ids.next().to_string())).collect();
        assert_eq!(ids.len(), 2000);
    }
}
