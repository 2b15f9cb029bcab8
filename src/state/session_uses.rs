//! The last uses of sessions, on their way to the store.
//!
//! A use puts off the end of its session in memory at once ([`super::cache::IdleClock`]). [`SessionUses::write`] writes the last one of each
//! session later, so that no request waits for it. If the store cannot be written, they are kept, up to a bound.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::cache::IdleClock;
use super::store::{SessionUse, Store, StoreError};
use crate::domain::SessionId;

/// Sessions whose use waits to be written at most. The use of another one is not written until there is room.
const PENDING: usize = 20_000;
/// The most uses that are written in one transaction.
const AT_ONCE: usize = 500;

/// The sessions that were used and whose last use is not written yet.
#[derive(Default)]
pub struct SessionUses {
    pending: Mutex<HashMap<SessionId, Arc<IdleClock>, RandomState>>,
    /// True while the store refuses them.
    is_failing: AtomicBool,
}

impl SessionUses {
    /// Keeps a session whose use was noted until that is written.
    #[cold]
    pub fn keep(&self, clock: &Arc<IdleClock>) {
        let mut pending = self.pending.lock();
        let is_full = pending.len() >= PENDING;
        match pending.entry(clock.id()) {
            // Read from the store twice. Whichever is used, the other one knows.
            Slot::Occupied(known) => known.get().merge(clock),
            Slot::Vacant(_) if is_full => clock.drop_noted(),
            Slot::Vacant(room) => drop(room.insert(Arc::clone(clock))),
        }
    }

    /// The clock of a session whose last use waits to be written.
    pub fn known(&self, id: SessionId) -> Option<Arc<IdleClock>> {
        self.pending.lock().get(&id).cloned()
    }

    /// Writes the last uses. If the store refuses it, logs that once, and keeps them for the next time.
    pub async fn write(&self, store: &Store) {
        let clocks: Vec<Arc<IdleClock>> = self.pending.lock().values().cloned().collect();
        let uses: Vec<SessionUse> = clocks.iter().map(|clock| clock.take_use()).collect();
        let mut written = 0;
        let outcome: Result<(), StoreError> = async {
            for some in uses.chunks(AT_ONCE) {
                store.write_session_uses(some).await?;
                written += some.len();
            }
            store.clear_sessions().await.map(drop)
        }
        .await;
        clocks.iter().skip(written).for_each(|clock| clock.keep_noted());
        // Those that were used meanwhile stay.
        self.pending.lock().retain(|_, clock| clock.is_noted());
        let was_failing = self.is_failing.swap(outcome.is_err(), Ordering::Relaxed);
        if let Err(error) = outcome
            && !was_failing
        {
            tracing::warn!(%error, "the last uses of sessions can't be written; trying again each minute");
        }
    }
}
