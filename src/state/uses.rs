//! The networks from which principals were used, on their way to the store.
//!
//! A request leaves at most a note in memory, once an hour for each principal and network, and of at most
//! eight networks of one principal. [`UseBuffer::write`] writes the notes later,
//! so that no request waits for it. If the store cannot be written, the notes are kept, up to a bound.
//!
//! Once a minute, a request also leaves a note of the last use ([`super::last_uses`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::last_uses::LastUses;
use super::store::{PrincipalUse, Store, StoreError};
use crate::domain::{ClientNetwork, Entry, Moment, Principal, PrincipalId};

/// Principals and networks remembered at most; the least used are forgotten first.
const CAPACITY: u64 = 50_000;
/// Notes that wait to be written at most. Further ones are dropped, and are noted again within the next hours.
const PENDING: usize = 10_000;
/// The most notes that are written in one transaction.
const AT_ONCE: usize = 500;
/// The time for which a use is not noted again as the last one.
const MINUTE: Duration = Duration::from_secs(60);
/// The number of minutes for which a network is not noted again.
const MINUTES: u64 = 60;
/// The most networks of one principal that are noted within an hour. Behind a proxy that hides its clients' addresses, or tells any,
/// there may be thousands.
const AN_HOUR: u32 = 8;
/// The number of networks for which one principal in the cache remembers that they were noted.
const MARKS: usize = 4;

/// The uses that were noted lately, and those of them that are not written yet.
pub struct UseBuffer {
    began: Moment,
    /// The hour of the last note.
    recent: moka::sync::Cache<(PrincipalId, ClientNetwork), u64, RandomState>,
    /// The number of notes of a principal within an hour.
    counts: moka::sync::Cache<PrincipalId, (u64, u32), RandomState>,
    pending: Mutex<HashMap<(PrincipalId, ClientNetwork), PrincipalUse, RandomState>>,
    last: Arc<LastUses>,
    /// True while the store refuses them.
    is_failing: AtomicBool,
}

/// The networks of one principal whose use within the present minute was noted: where all of its requests look first. No more than a
/// few loads.
#[derive(Debug, Default)]
pub struct UseMarks([AtomicU64; MARKS]);

impl UseBuffer {
    /// Nothing noted yet.
    pub fn new(now: Moment) -> UseBuffer {
        let recent = moka::sync::Cache::builder().max_capacity(CAPACITY);
        let counts = moka::sync::Cache::builder().max_capacity(CAPACITY);
        UseBuffer {
            began: now,
            recent: recent.build_with_hasher(RandomState::default()),
            counts: counts.build_with_hasher(RandomState::default()),
            pending: Mutex::default(),
            last: Arc::default(),
            is_failing: AtomicBool::new(false),
        }
    }

    /// The last uses.
    pub fn last(&self) -> &Arc<LastUses> {
        &self.last
    }

    /// Notes a use of the principal: its network, unless that was noted within the hour, and the last use, unless it was noted within
    /// the minute.
    #[inline]
    pub fn note(&self, principal: &Principal, marks: &UseMarks, source: IpAddr, entry: Entry, now: Moment) {
        let (network, minute) = (ClientNetwork::of(source), self.minute(now));
        if !marks.has(network, minute) {
            marks.set(network, minute);
            let used = PrincipalUse::now(principal.id(), source, entry);
            self.last.note(&used, minute);
            self.note_anew(used, network, (minute - 1) / MINUTES + 1);
        }
    }

    #[cold]
    fn note_anew(&self, used: PrincipalUse, network: ClientNetwork, hour: u64) {
        let key = (used.principal, network);
        if self.recent.get(&key) == Some(hour) {
            return;
        }
        let mut pending = self.pending.lock();
        let count =
            self.counts.get(&used.principal).filter(|(of, _)| *of == hour).map_or(0, |(_, count)| count);
        if count >= AN_HOUR {
            return;
        }
        self.counts.insert(used.principal, (hour, count + 1));
        self.recent.insert(key, hour);
        if pending.len() < PENDING || pending.contains_key(&key) {
            pending.insert(key, used);
        }
    }

    /// Returns true if a use from that network was noted by this process, written or not.
    pub fn has_noted(&self, principal: PrincipalId, network: ClientNetwork) -> bool {
        self.recent.contains_key(&(principal, network))
    }

    /// Writes what was noted. If the store refuses it, logs that once, and keeps it for the next time.
    pub async fn write(&self, store: &Store) {
        self.last.write(store).await;
        let uses: Vec<PrincipalUse> = self.pending.lock().drain().map(|(_, used)| used).collect();
        let mut written = 0;
        let outcome: Result<(), StoreError> = async {
            for some in uses.chunks(AT_ONCE) {
                store.write_uses(some).await?;
                written += some.len();
            }
            Ok(())
        }
        .await;
        let was_failing = self.is_failing.swap(outcome.is_err(), Ordering::Relaxed);
        if let Err(error) = outcome {
            if !was_failing {
                tracing::warn!(%error, "the networks of users can't be written; trying again each minute");
            }
            self.put_back(&uses[written..]);
        }
    }

    fn put_back(&self, uses: &[PrincipalUse]) {
        let mut pending = self.pending.lock();
        for used in uses.iter().take(PENDING.saturating_sub(pending.len())) {
            pending.entry((used.principal, used.network())).or_insert(*used);
        }
    }

    /// The number of the minute since the start, from 1.
    fn minute(&self, now: Moment) -> u64 {
        now.since(self.began).as_secs() / MINUTE.as_secs() + 1
    }
}

impl UseMarks {
    #[inline]
    fn has(&self, network: ClientNetwork, minute: u64) -> bool {
        self.place(network).load(Ordering::Relaxed) == mark(network, minute)
    }

    fn set(&self, network: ClientNetwork, minute: u64) {
        self.place(network).store(mark(network, minute), Ordering::Relaxed);
    }

    fn place(&self, network: ClientNetwork) -> &AtomicU64 {
        &self.0[network.number() as usize % MARKS]
    }
}

/// A network and a minute as one number: the network has 48 bits and the highest one. The minute returns to its first value after
/// 22 days.
fn mark(network: ClientNetwork, minute: u64) -> u64 {
    network.number() | (minute % (1 << 15)) << 48
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{StoreSettings, StoreUrl};
    use crate::domain::{AccountId, Canonical, Permissions, PrincipalKind, StoredHash, Username};
    use crate::state::clock;

    async fn open(folder: &tempfile::TempDir) -> Store {
        let url = StoreUrl::Sqlite(folder.path().join("gatepost.db"));
        Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap()
    }

    async fn account(store: &Store, name: &str) -> Principal {
        let (username, hash) = (Username::parse(name).unwrap(), StoredHash::new("h".into()));
        let _ = store.add_account(&username, &hash, Permissions::ALL).await.unwrap();
        store.principal(&Canonical::of(name.as_bytes()).unwrap()).await.unwrap().unwrap()
    }

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    // Case F3: at most once an hour for each network, and nothing while the store cannot be written.
    #[tokio::test]
    async fn a_use_is_noted_once_an_hour_and_kept_until_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder).await;
        let principal = account(&store, "someone").await;
        let (mut now, marks) = (clock::now(), UseMarks::default());
        let buffer = UseBuffer::new(now);
        let pending = || buffer.pending.lock().len();
        for address in ["192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1"] {
            buffer.note(&principal, &marks, at(address), Entry::Api, now);
        }
        assert_eq!(pending(), 3);
        let of = |address: &str| ClientNetwork::of(at(address));
        assert!(buffer.has_noted(principal.id(), of("192.0.2.77")));
        assert!(!buffer.has_noted(principal.id(), of("192.0.3.1")));

        // As if its disk were full, or another process held its lock.
        store.close().await;
        buffer.write(&store).await;
        assert_eq!(pending(), 3);
        let store = open(&folder).await;
        buffer.write(&store).await;
        assert_eq!(pending(), 0);
        assert_eq!(store.was_used_from(Some(principal.id()), of("192.0.2.77")).await, Ok(true));

        // Another copy of the entry in the cache notes nothing within the hour, either.
        buffer.note(&principal, &UseMarks::default(), at("192.0.2.3"), Entry::Api, now);
        buffer.note(&principal, &marks, at("192.0.2.3"), Entry::Api, now);
        assert_eq!(pending(), 0);
        now += MINUTE * 60;
        buffer.note(&principal, &marks, at("192.0.2.3"), Entry::Api, now);
        assert_eq!(pending(), 1);
    }

    #[test]
    fn the_last_use_is_noted_once_a_minute_and_the_network_once_an_hour() {
        let name = Username::parse("someone").unwrap();
        let principal = Principal {
            kind: PrincipalKind::Holder,
            account: AccountId(7),
            account_name: name.clone(),
            name,
            hash: StoredHash::new("h".into()),
            bits: Permissions::ALL,
            rights: Permissions::ALL,
            active: true,
        };
        let (began, marks) = (clock::now(), UseMarks::default());
        let buffer = UseBuffer::new(began);
        let note = |address, minutes: u32| {
            buffer.note(&principal, &marks, at(address), Entry::Api, began + MINUTE * minutes);
            let last = buffer.last.latest(principal.id(), None).unwrap().address.unwrap();
            (last, buffer.pending.lock().drain().count())
        };
        assert_eq!(note("192.0.2.1", 0), (at("192.0.2.1"), 1));
        assert_eq!(note("192.0.2.2", 0), (at("192.0.2.1"), 0));
        assert_eq!(note("192.0.2.2", 1), (at("192.0.2.2"), 0));
        assert_eq!(note("192.0.2.3", 59), (at("192.0.2.3"), 0));
        assert_eq!(note("192.0.2.4", 60), (at("192.0.2.4"), 1));
    }

    #[test]
    fn of_many_networks_of_one_principal_eight_an_hour_are_noted() {
        let buffer = UseBuffer::new(clock::now());
        let note = |principal, hour, n: u32| {
            let used = PrincipalUse::now(PrincipalId(principal), IpAddr::V4((n << 8).into()), Entry::Api);
            buffer.note_anew(used, used.network(), hour);
            buffer.has_noted(PrincipalId(principal), used.network())
        };
        assert_eq!((0..9900).filter(|n| note(1, 1, *n)).count(), 8);
        assert_eq!(buffer.pending.lock().len(), 8);
        assert!(note(2, 1, 9000), "of another principal");
        assert!(!note(1, 1, 9000) && note(1, 2, 9000));
    }

    #[test]
    fn what_waits_is_bounded() {
        let buffer = UseBuffer::new(clock::now());
        for n in 0..PENDING as i64 + 10 {
            let used = PrincipalUse::now(PrincipalId(n), at("192.0.2.1"), Entry::Smtp);
            buffer.note_anew(used, used.network(), 1);
        }
        assert_eq!(buffer.pending.lock().len(), PENDING);
    }

    #[test]
    fn marks_of_networks_and_minutes_differ() {
        let marks = UseMarks::default();
        let of = |address: &str| ClientNetwork::of(at(address));
        assert!(!marks.has(of("::"), 1));
        marks.set(of("::"), 1);
        assert!(marks.has(of("::"), 1) && !marks.has(of("::"), 2) && !marks.has(of("0.0.0.0"), 1));
        marks.set(of("255.255.255.255"), 1);
        assert!(marks.has(of("255.255.255.1"), 1) && marks.has(of("::"), 1));
    }
}
