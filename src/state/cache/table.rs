//! The map under the cache: readers share nothing that any of them writes.
//!
//! It is cut into shards of a few entries. A shard is never changed: who inserts makes a new one, with the entry in it, and
//! puts it in place. So a reader takes no lock, not even for reading, and what it costs doesn't depend on how many others
//! read; an insertion copies a few pointers, next to the read of a row or a password check that led to it. (A cache that
//! notes each read in a queue of its own, as moka does, costs twice as much, and two threads get in each other's way.)
//!
//! What a reader waits for is memory. So the first entries of a shard stand in the shard itself.
//!
//! Beyond the capacity an insertion evicts an entry of its shard that wasn't used since it was last passed over.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::Verified;
use crate::domain::Canonical;

/// What a shard holds on average at most, when the table is full.
const PER_SHARD: u64 = 4;
const MOST_SHARDS: u64 = 1 << 20;
/// Entries in the shard itself; the few that have no room stand apart.
const INSIDE: usize = 7;
const WRITERS: usize = 64;

/// Verified principals by their canonical names.
pub struct Table {
    shards: Box<[ArcSwapOption<Shard>]>,
    /// One of them is held while a shard is replaced.
    writers: [Mutex<()>; WRITERS],
    hasher: RandomState,
    capacity: u64,
    len: AtomicU64,
}

/// An entry under the hash of its name. Two names with one hash displace each other, which costs a password check.
type Slot = (u64, Arc<Verified>);

#[derive(Default)]
struct Shard {
    inside: [Option<Slot>; INSIDE],
    outside: Vec<Slot>,
}

impl Table {
    /// An empty table for `capacity` entries, at least one; under load it may hold one more in each shard.
    pub fn new(capacity: u64) -> Table {
        let capacity = capacity.max(1);
        let shards = (capacity / PER_SHARD).next_power_of_two().min(MOST_SHARDS);
        Table {
            shards: (0..shards).map(|_| ArcSwapOption::empty()).collect(),
            writers: [const { Mutex::new(()) }; WRITERS],
            hasher: RandomState::default(),
            capacity,
            len: AtomicU64::new(0),
        }
    }

    /// The entry of that name.
    #[inline]
    pub fn get(&self, name: &Canonical) -> Option<Arc<Verified>> {
        let hash = self.hasher.hash_one(name);
        let shard = self.shards[self.index(hash)].load();
        let verified = shard.as_ref()?.find(hash).filter(|verified| verified.name == *name)?;
        verified.mark_used();
        Some(Arc::clone(verified))
    }

    /// Puts an entry in the place of the one of that name, if there is one.
    pub fn insert(&self, verified: Arc<Verified>) {
        let hash = self.hasher.hash_one(verified.name);
        let index = self.index(hash);
        let _writer = self.writers[index % WRITERS].lock();
        let old = self.shards[index].load();
        let mut slots: Vec<Slot> = old.iter().flat_map(|shard| shard.slots().cloned()).collect();
        match slots.iter_mut().find(|(other, _)| *other == hash) {
            Some(slot) => slot.1 = verified,
            None => {
                let full = self.len.fetch_add(1, Ordering::Relaxed) >= self.capacity;
                if full && let Some(evicted) = unused(&slots) {
                    slots.swap_remove(evicted);
                    self.len.fetch_sub(1, Ordering::Relaxed);
                }
                slots.push((hash, verified));
            }
        }
        self.shards[index].store(Some(Arc::new(Shard::of(slots))));
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    fn index(&self, hash: u64) -> usize {
        hash as usize & (self.shards.len() - 1)
    }
}

impl Shard {
    fn of(slots: Vec<Slot>) -> Shard {
        let mut slots = slots.into_iter();
        Shard { inside: std::array::from_fn(|_| slots.next()), outside: slots.collect() }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.inside.iter().flatten().chain(&self.outside)
    }

    #[inline]
    fn find(&self, hash: u64) -> Option<&Arc<Verified>> {
        self.slots().find(|(other, _)| *other == hash).map(|(_, verified)| verified)
    }
}

/// Where an entry is that may go: one that wasn't used since this passed it last, or else any.
fn unused(slots: &[Slot]) -> Option<usize> {
    let unused = slots.iter().position(|(_, verified)| !verified.take_used());
    unused.or_else(|| slots.len().checked_sub(1))
}

#[cfg(test)]
mod tests {
    use super::super::tests::verified;
    use super::*;

    fn name(n: u64) -> String {
        format!("user{n}")
    }

    fn holds(table: &Table, name: &str) -> bool {
        table.get(&Canonical::of(name.as_bytes()).unwrap()).is_some_and(|entry| entry.name.as_str() == name)
    }

    #[test]
    fn what_is_inserted_is_found_and_replaced() {
        let table = Table::new(10_000);
        for n in 0..10_000 {
            table.insert(verified(&name(n)));
        }
        assert!((0..10_000).all(|n| holds(&table, &name(n))));
        assert!(!holds(&table, "someone.else"));
        let newer = verified(&name(7));
        table.insert(Arc::clone(&newer));
        assert!(Arc::ptr_eq(&newer, &table.get(&newer.name).unwrap()));
        assert_eq!(table.len(), 10_000);
    }

    #[test]
    fn beyond_the_capacity_the_unused_go() {
        let table = Table::new(3);
        for n in 0..3 {
            table.insert(verified(&name(n)));
        }
        assert!(holds(&table, "user0") && holds(&table, "user2"));
        table.insert(verified("user3"));
        assert_eq!(table.len(), 3);
        assert!(holds(&table, "user0") && !holds(&table, "user1") && holds(&table, "user2"));
        assert!(holds(&table, "user3"));
    }

    #[test]
    fn the_capacity_holds_under_load() {
        let table = Table::new(1_000);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for n in 0..2_500 {
                        table.insert(verified(&name(thread * 2_500 + n)));
                    }
                });
            }
        });
        let found = (0..10_000).filter(|n| holds(&table, &name(*n))).count() as u64;
        assert_eq!(found, table.len());
        assert!((1_000..=1_000 + table.shards.len() as u64).contains(&found), "{found}");
    }
}
