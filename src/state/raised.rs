//! The numbers at which shards were raised, and the end of trust: the loads and stores behind epochs and trust, and their order.
//!
//! `tests/fleet/orderings.rs` compiles this file with the atomics of loom, and looks at every order that they allow.

use super::atomic::{AtomicU64, Ordering};

/// A sequence of numbers, and the number at which each shard, and all of them, was raised last.
pub(super) struct Raised {
    sequence: AtomicU64,
    all: AtomicU64,
    shards: Box<[AtomicU64]>,
}

impl Raised {
    /// A sequence that starts at zero, of this many shards, at least one.
    pub(super) fn new(shards: usize) -> Raised {
        Raised {
            sequence: AtomicU64::new(0),
            all: AtomicU64::new(0),
            shards: (0..shards).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The present number of the sequence.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Raises a shard to the next number, and returns that.
    pub(super) fn raise(&self, shard: usize) -> u64 {
        let number = self.next();
        self.shards[shard].fetch_max(number, Ordering::AcqRel);
        number
    }

    /// Raises all shards to the next number, and returns that.
    pub(super) fn raise_all(&self) -> u64 {
        let number = self.next();
        self.all.fetch_max(number, Ordering::AcqRel);
        number
    }

    /// Returns true if neither of two shards was raised above `seen`.
    #[inline]
    pub(super) fn is_fresh(&self, seen: u64, user: usize, account: usize) -> bool {
        let is_fresh = |raised: &AtomicU64| raised.load(Ordering::Acquire) <= seen;
        let shard = |shard: usize| self.shards.get(shard).is_some_and(is_fresh);
        shard(user) && shard(account) && is_fresh(&self.all)
    }

    fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// The end of trust, in nanoseconds of a moment.
pub(super) struct TrustEnd(AtomicU64);

impl TrustEnd {
    /// Trust until this time.
    pub(super) fn new(nanos: u64) -> TrustEnd {
        TrustEnd(AtomicU64::new(nanos))
    }

    /// The time until which there is trust.
    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Extends trust to this time, if it is later.
    pub(super) fn extend(&self, nanos: u64) {
        self.0.fetch_max(nanos, Ordering::AcqRel);
    }

    /// Ends trust at once.
    pub(super) fn end(&self) {
        self.0.store(0, Ordering::Release);
    }
}
