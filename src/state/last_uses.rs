//! The last uses of principals: in memory first, and on their way to the store.
//!
//! A principal is noted at most once a minute. What is shown of it is therefore at most a minute old in this process, and in others as much
//! older as it takes until the notes are written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::store::{PrincipalUse, Store, StoreError};
use crate::domain::{LatestUse, PrincipalId};

/// Principals remembered at most; the least used are forgotten first.
const CAPACITY: u64 = 50_000;
/// Notes that wait to be written at most. Further ones are dropped, and noted again within the next minutes.
const PENDING: usize = 50_000;
/// The most notes that are written in one transaction.
const AT_ONCE: usize = 500;

/// The last uses that were noted lately, and those of them that are not written yet.
pub struct LastUses {
    /// The minute and the use of the last note.
    recent: moka::sync::Cache<PrincipalId, (u64, PrincipalUse), RandomState>,
    pending: Mutex<HashMap<PrincipalId, PrincipalUse, RandomState>>,
    /// True while the store refuses them.
    is_failing: AtomicBool,
}

impl Default for LastUses {
    fn default() -> LastUses {
        let recent = moka::sync::Cache::builder().max_capacity(CAPACITY);
        LastUses {
            recent: recent.build_with_hasher(RandomState::default()),
            pending: Mutex::default(),
            is_failing: AtomicBool::new(false),
        }
    }
}

impl LastUses {
    /// Notes a use, unless one of the principal was noted within the same minute.
    pub fn note(&self, used: &PrincipalUse, minute: u64) {
        if self.recent.get(&used.principal).is_some_and(|(noted, _)| noted == minute) {
            return;
        }
        self.recent.insert(used.principal, (minute, *used));
        let mut pending = self.pending.lock();
        if pending.len() < PENDING || pending.contains_key(&used.principal) {
            pending.insert(used.principal, *used);
        }
    }

    /// The later one of what is stored and what this process has noted.
    pub fn latest(&self, principal: PrincipalId, stored: Option<LatestUse>) -> Option<LatestUse> {
        let noted = self.recent.get(&principal).map(|(_, used)| used.as_last());
        match (noted, stored) {
            (Some(noted), Some(stored)) if stored.used_at > noted.used_at => Some(stored),
            (noted, stored) => noted.or(stored),
        }
    }

    /// Writes what was noted. If the store refuses it, logs that once, and keeps it for the next time.
    pub async fn write(&self, store: &Store) {
        let uses: Vec<PrincipalUse> = self.pending.lock().drain().map(|(_, used)| used).collect();
        let mut written = 0;
        let outcome: Result<(), StoreError> = async {
            for some in uses.chunks(AT_ONCE) {
                store.write_last_uses(some).await?;
                written += some.len();
            }
            Ok(())
        }
        .await;
        let was_failing = self.is_failing.swap(outcome.is_err(), Ordering::Relaxed);
        if let Err(error) = outcome {
            if !was_failing {
                tracing::warn!(%error, "the last uses of credentials can't be written; trying again each minute");
            }
            let mut pending = self.pending.lock();
            for used in uses[written..].iter().take(PENDING.saturating_sub(pending.len())) {
                pending.entry(used.principal).or_insert(*used);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::config::{StoreSettings, StoreUrl};
    use crate::domain::{Entry, Permissions, StoredHash, Username};

    fn used(principal: i64, address: &str, used_at: i64) -> PrincipalUse {
        let address: IpAddr = address.parse().unwrap();
        PrincipalUse { used_at, ..PrincipalUse::now(PrincipalId(principal), address, Entry::Smtp) }
    }

    #[tokio::test]
    async fn a_principal_is_noted_once_a_minute_and_kept_until_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(folder.path().join("gatepost.db"));
        let settings = StoreSettings { url, ..StoreSettings::default() };
        let store = Store::open(&settings).await.unwrap();
        let name = Username::parse("someone").unwrap();
        let id =
            store.add_account(&name, &StoredHash::new("h".into()), Permissions::ALL).await.unwrap().value.0;
        let uses = LastUses::default();
        uses.note(&used(id, "192.0.2.1", 100), 1);
        uses.note(&used(id, "192.0.2.2", 110), 1);
        let shown = |stored| uses.latest(PrincipalId(id), stored);
        assert_eq!(shown(None), Some(used(id, "192.0.2.1", 100).as_last()));
        uses.note(&used(id, "192.0.2.3", 170), 2);
        let latest = used(id, "192.0.2.3", 170).as_last();
        assert_eq!(shown(None), Some(latest));
        assert_eq!(shown(Some(used(id, "192.0.2.9", 50).as_last())), Some(latest), "memory first");
        let elsewhere = used(id, "192.0.2.9", 171).as_last();
        assert_eq!(shown(Some(elsewhere)), Some(elsewhere), "by another node");
        assert_eq!(uses.pending.lock().len(), 1);
        // As if its disk were full, or another process held its lock.
        store.close().await;
        uses.write(&store).await;
        assert_eq!(uses.pending.lock().len(), 1);
        let store = Store::open(&settings).await.unwrap();
        uses.write(&store).await;
        assert_eq!((uses.pending.lock().len(), uses.is_failing.load(Ordering::Relaxed)), (0, false));
    }

    #[test]
    fn what_waits_is_bounded() {
        let uses = LastUses::default();
        for n in 0..PENDING as i64 + 10 {
            uses.note(&used(n, "192.0.2.1", 1), 1);
        }
        assert_eq!(uses.pending.lock().len(), PENDING);
    }
}
