//! The map under the cache: readers share nothing that any of them writes.
//!
//! It is cut into shards of about sixty entries. A shard is never changed: who inserts makes a new one, with the entry in
//! it, and puts it in place. So a reader takes no lock, not even for reading, and what it costs doesn't depend on how many
//! others read; an insertion copies a few dozen pointers, next to the read of a row or a password check that led to it.
//!
//! Beyond the capacity an insertion evicts an entry of its shard that wasn't used since it was last passed over.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::Verified;
use crate::domain::Canonical;

const PER_SHARD: u64 = 64;
const MOST_SHARDS: u64 = 4096;

/// Verified principals by their canonical names.
pub struct Table {
    shards: Box<[Shard]>,
    hasher: RandomState,
    capacity: u64,
    len: AtomicU64,
}

#[derive(Default)]
struct Shard {
    entries: ArcSwap<Entries>,
    /// Held while the entries are replaced.
    writer: Mutex<()>,
}

/// By the hash of the name. Two names with one hash displace each other, which costs them a row read.
type Entries = HashMap<u64, Arc<Verified>, BuildHasherDefault<AsItIs>>;

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Table {
    /// An empty table for `capacity` entries, at least one; under load it may hold one more in each shard.
    pub fn new(capacity: u64) -> Table {
        let capacity = capacity.max(1);
        let shards = (capacity / PER_SHARD).next_power_of_two().min(MOST_SHARDS);
        Table {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            hasher: RandomState::default(),
            capacity,
            len: AtomicU64::new(0),
        }
    }

    /// The entry of that name.
    #[inline]
    pub fn get(&self, name: &Canonical) -> Option<Arc<Verified>> {
        let hash = self.hasher.hash_one(name);
        let entries = self.shard(hash).entries.load();
        let verified = entries.get(&hash).filter(|verified| verified.name == *name)?;
        verified.mark_used();
        Some(Arc::clone(verified))
    }

    /// Puts an entry in the place of the one of that name, if there is one.
    pub fn insert(&self, verified: Arc<Verified>) {
        let hash = self.hasher.hash_one(verified.name);
        let shard = self.shard(hash);
        let _writer = shard.writer.lock();
        let mut entries = Entries::clone(&shard.entries.load());
        let added = entries.insert(hash, verified).is_none();
        let full = added && self.len.fetch_add(1, Ordering::Relaxed) >= self.capacity;
        if full && let Some(evicted) = unused(&entries, hash) {
            entries.remove(&evicted);
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        shard.entries.store(Arc::new(entries));
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    fn shard(&self, hash: u64) -> &Shard {
        // The upper half: the map within the shard places by the lower bits.
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)]
    }
}

/// An entry to be evicted, other than `but`: one that wasn't used since this passed it last, or else any.
fn unused(entries: &Entries, but: u64) -> Option<u64> {
    let mut others = entries.iter().filter(|(hash, _)| **hash != but).peekable();
    let any = others.peek().map(|(hash, _)| **hash);
    others.find(|(_, verified)| !verified.take_used()).map(|(hash, _)| *hash).or(any)
}

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not called: a u64 writes itself as one.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
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
