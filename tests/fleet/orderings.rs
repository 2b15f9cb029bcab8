//! Every order of the loads and stores of a node's threads that the memory model allows: what a read of the log does, and
//! checks beside it. The code under test is that of epochs and trust, compiled with the atomics of loom. The lowest number
//! of cold reads stands behind a lock, as in the store.
//!
//! Each test has the right order of steps, and the wrong ones, which must be found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::sync::{Arc, Mutex};
use loom::thread;

mod atomic {
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}

#[allow(dead_code)]
#[path = "../../src/state/raised.rs"]
mod raised;

use atomic::{AtomicU64, Ordering};
use raised::{Raised, TrustEnd};

/// The only shard of the tests.
const SHARD: usize = 0;
/// The time of all checks.
const NOW: u64 = 5;

/// A node, and the revocation of change 1.
struct Node {
    raised: Raised,
    trust: TrustEnd,
    lowest: Mutex<u64>,
    /// 1 once the node acknowledged the change, which is answered then.
    acknowledged: AtomicU64,
}

/// A step of applying change 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Lowest,
    Raise,
    Trust,
    Acknowledge,
}

use Effect::*;

impl Node {
    fn new(trust: u64) -> Node {
        Node {
            raised: Raised::new(1),
            trust: TrustEnd::new(trust),
            lowest: Mutex::new(0),
            acknowledged: AtomicU64::new(0),
        }
    }

    fn take(&self, effect: Effect) {
        match effect {
            Lowest => *self.lowest.lock().unwrap() = 1,
            Raise => drop(self.raised.raise(SHARD)),
            Trust => self.trust.extend(NOW + 1),
            Acknowledge => self.acknowledged.store(1, Ordering::Release),
        }
    }

    /// A check on a cached row that was read after `seen`. Returns true if it passes.
    fn passes(&self, seen: u64) -> bool {
        NOW < self.trust.get() && self.raised.is_fresh(seen, SHARD, SHARD)
    }

    /// A read of a row by a replica that lags: it lacks change 1, and so has number 0.
    fn reads_old_row(&self, loads_epoch_first: bool) -> Option<u64> {
        let before = self.raised.now();
        let lowest = *self.lowest.lock().unwrap();
        let seen = if loads_epoch_first { before } else { self.raised.now() };
        (lowest == 0).then_some(seen)
    }
}

/// Runs `check` beside a thread that takes these steps, in every order.
fn explore(trust: u64, effects: &'static [Effect], check: fn(&Node)) {
    loom::model(move || {
        let node = Arc::new(Node::new(trust));
        let applying = Arc::clone(&node);
        let thread = thread::spawn(move || effects.iter().for_each(|effect| applying.take(*effect)));
        check(&node);
        thread.join().unwrap();
    });
}

/// Returns true if some order makes `check` fail.
fn is_broken(trust: u64, effects: &'static [Effect], check: fn(&Node)) -> bool {
    catch_unwind(AssertUnwindSafe(|| explore(trust, effects, check))).is_err()
}

/// A node with trust acknowledges: a check that begins after the answer does not pass on the old row.
fn begins_after_answer(node: &Node) {
    if node.acknowledged.load(Ordering::Acquire) == 1 {
        assert!(!node.passes(0));
    }
}

#[test]
fn an_epoch_is_raised_before_the_acknowledgement() {
    explore(NOW + 1, &[Lowest, Raise, Trust, Acknowledge], begins_after_answer);
    assert!(is_broken(NOW + 1, &[Lowest, Acknowledge, Raise], begins_after_answer));
}

#[test]
fn an_epoch_is_raised_before_trust_returns() {
    // The change was answered while the node had no trust.
    let check: fn(&Node) = |node| assert!(!node.passes(0));
    explore(0, &[Lowest, Raise, Trust], check);
    assert!(is_broken(0, &[Lowest, Trust, Raise], check));
}

#[test]
fn trust_is_loaded_before_the_epochs() {
    let wrong: fn(&Node) = |node| {
        let is_fresh = node.raised.is_fresh(0, SHARD, SHARD);
        assert!(!(is_fresh && NOW < node.trust.get()));
    };
    assert!(is_broken(0, &[Lowest, Raise, Trust], wrong));
}

#[test]
fn an_epoch_is_taken_before_the_row_is_read() {
    // The row is in memory here, and is written before the epoch is raised.
    let found = |loads_epoch_first: bool| {
        move || {
            let shared = Arc::new((Raised::new(1), AtomicU64::new(0)));
            let changing = Arc::clone(&shared);
            let thread = thread::spawn(move || {
                let (raised, row) = &*changing;
                row.store(1, Ordering::Relaxed);
                raised.raise(SHARD);
            });
            let (raised, row) = &*shared;
            let before = raised.now();
            let read = row.load(Ordering::Relaxed);
            let seen = if loads_epoch_first { before } else { raised.now() };
            thread.join().unwrap();
            assert!(read == 1 || !raised.is_fresh(seen, SHARD, SHARD));
        }
    };
    loom::model(found(true));
    assert!(catch_unwind(AssertUnwindSafe(|| loom::model(found(false)))).is_err());
}

#[test]
fn the_lowest_number_is_published_before_the_raise_and_loaded_after_the_epoch() {
    // What is cached by a read of an old row is stale once the change is answered.
    let right: fn(&Node) = |node| {
        let seen = node.reads_old_row(true);
        if node.acknowledged.load(Ordering::Acquire) == 1 {
            assert!(seen.is_none_or(|seen| !node.passes(seen)));
        }
    };
    explore(NOW + 1, &[Lowest, Raise, Acknowledge], right);
    assert!(is_broken(NOW + 1, &[Raise, Lowest, Acknowledge], right));
    let wrong: fn(&Node) = |node| {
        let seen = node.reads_old_row(false);
        if node.acknowledged.load(Ordering::Acquire) == 1 {
            assert!(seen.is_none_or(|seen| !node.passes(seen)));
        }
    };
    assert!(is_broken(NOW + 1, &[Lowest, Raise, Acknowledge], wrong));
}
