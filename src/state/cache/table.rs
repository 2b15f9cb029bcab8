//! The map under the cache: readers share nothing that any of them writes.
//!
//! It is cut into buckets of seven slots. A bucket is one line of memory: a tag of eight bits for each slot, cut from the
//! hash of the name, and the slots themselves, each of which is replaced as a whole. So a reader takes no lock, not even for
//! reading, and waits for memory twice, for the bucket and for the entry; what it costs doesn't depend on how many others
//! read. (A cache that notes each read in a queue of its own, as moka does, costs twice as much, and two threads get in each
//! other's way.)
//!
//! Buckets go in pairs: what has no room in its own goes to the other one. Where neither has room, and beyond the capacity,
//! an insertion takes the place of an entry of the pair that wasn't used since it was last passed over.
//!
//! A tag is a hint: a reader who meets it while it is changed finds an entry of another name, which it knows by the name or
//! the digest, or overlooks one that is just being put there, which costs a password check.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::verified::Verified;
use crate::domain::Canonical;

/// What a bucket holds on average at most, when the table is full. With two, one pair in 50,000 has no room before that.
const PER_BUCKET: u64 = 2;
const MOST_BUCKETS: u64 = 1 << 21;
const SLOTS: usize = 7;
const WRITERS: usize = 64;

/// Verified principals by their canonical names.
pub struct Table {
    buckets: Box<[Bucket]>,
    /// One of them is held while a pair of buckets is changed.
    writers: [Mutex<()>; WRITERS],
    hasher: RandomState,
    capacity: u64,
    len: AtomicU64,
}

#[derive(Default)]
#[repr(C, align(64))]
struct Bucket {
    /// One byte for each slot, nought where it is empty; the eighth isn't used.
    tags: AtomicU64,
    slots: [ArcSwapOption<Verified>; SLOTS],
}

/// A slot of a bucket.
#[derive(Clone, Copy)]
struct Slot<'a> {
    bucket: &'a Bucket,
    slot: usize,
}

impl Table {
    /// An empty table for `capacity` entries, at least one; it may come to hold one more in each pair of buckets.
    pub fn new(capacity: u64) -> Table {
        let capacity = capacity.max(1);
        let buckets = (capacity / PER_BUCKET).next_power_of_two().clamp(2, MOST_BUCKETS);
        Table {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            writers: [const { Mutex::new(()) }; WRITERS],
            hasher: RandomState::default(),
            capacity,
            len: AtomicU64::new(0),
        }
    }

    /// The entry of that name, if it `is` the one.
    #[inline]
    pub fn find(&self, name: &Canonical, is: impl Fn(&Verified) -> bool) -> Option<Arc<Verified>> {
        let hash = self.hasher.hash_one(name);
        self.pair(hash).into_iter().find_map(|bucket| bucket.find(tag(hash), &is))
    }

    /// The entry of that name.
    pub fn get(&self, name: &Canonical) -> Option<Arc<Verified>> {
        self.find(name, |verified| verified.who.name == *name)
    }

    /// Puts an entry in the place of the one of that name, if there is one.
    pub fn insert(&self, verified: Arc<Verified>) {
        let hash = self.hasher.hash_one(verified.who.name);
        let pair = self.pair(hash);
        let _writer = self.writers[self.index(hash) / 2 % WRITERS].lock();
        let empty = || places(pair).find(|place| place.read(|entry| entry.is_none()));
        let is_of_name = |entry: &Verified| entry.who.name == verified.who.name;
        if let Some(place) = places(pair).find(|place| place.read(|entry| entry.is_some_and(is_of_name))) {
            return place.put(tag(hash), verified);
        }
        let room = self.len.load(Ordering::Relaxed) < self.capacity;
        let place = room.then(empty).flatten().or_else(|| unused(pair));
        if let Some(place) = place.or_else(empty) {
            let added = place.read(|entry| entry.is_none());
            place.put(tag(hash), verified);
            self.len.fetch_add(u64::from(added), Ordering::Relaxed);
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// The bucket of a name, and the one where it goes if there is no room.
    #[inline]
    fn pair(&self, hash: u64) -> [&Bucket; 2] {
        let index = self.index(hash);
        [&self.buckets[index], &self.buckets[index ^ 1]]
    }

    #[inline]
    fn index(&self, hash: u64) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }
}

/// Never nought. The lower bits of the hash choose the bucket.
#[inline]
fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

impl Bucket {
    #[inline]
    fn find(&self, tag: u8, is: impl Fn(&Verified) -> bool) -> Option<Arc<Verified>> {
        let tags = self.tags.load(Ordering::Acquire).to_le_bytes();
        for (slot, _) in self.slots.iter().zip(tags).filter(|(_, other)| *other == tag) {
            let found = slot.load();
            if let Some(verified) = found.as_ref()
                && is(verified)
            {
                verified.mark_used();
                return Some(Arc::clone(verified));
            }
        }
        None
    }
}

impl Slot<'_> {
    fn read<T>(&self, reader: impl FnOnce(Option<&Verified>) -> T) -> T {
        reader(self.bucket.slots[self.slot].load().as_deref())
    }

    /// Only by who holds the pair's lock.
    fn put(&self, tag: u8, verified: Arc<Verified>) {
        self.bucket.slots[self.slot].store(Some(verified));
        let mut tags = self.bucket.tags.load(Ordering::Relaxed).to_le_bytes();
        tags[self.slot] = tag;
        self.bucket.tags.store(u64::from_le_bytes(tags), Ordering::Release);
    }
}

fn places(pair: [&Bucket; 2]) -> impl Iterator<Item = Slot<'_>> {
    pair.into_iter().flat_map(|bucket| (0..SLOTS).map(move |slot| Slot { bucket, slot }))
}

/// Where an entry is that may go: one that wasn't used since this passed it last, or else any.
fn unused(pair: [&Bucket; 2]) -> Option<Slot<'_>> {
    let is_unused = |place: &Slot| place.read(|entry| entry.is_some_and(|entry| !entry.take_used()));
    let taken = |place: &Slot| place.read(|entry| entry.is_some());
    places(pair).find(is_unused).or_else(|| places(pair).find(taken))
}

#[cfg(test)]
mod tests {
    use super::super::tests::verified;
    use super::*;

    fn name(n: u64) -> String {
        format!("user{n}")
    }

    fn holds(table: &Table, name: &str) -> bool {
        table
            .get(&Canonical::of(name.as_bytes()).unwrap())
            .is_some_and(|entry| entry.who.name.as_str() == name)
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
        assert!(Arc::ptr_eq(&newer, &table.get(&newer.who.name).unwrap()));
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
        assert!((1_000..=1_000 + table.buckets.len() as u64 / 2).contains(&found), "{found}");
    }
}
