//! The rows that open sessions and tunnels ask for. A change wakes all of them at once, and thousands of one principal
//! share one read of its row.
//!
//! A row that another session has read is used under the same condition as an entry of the cache ([`crate::state::epoch`]):
//! nothing that it depends on was changed since before the read began. The same holds for a row that doesn't exist, which
//! the cache doesn't keep.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{Canonical, Moment, Principal, Unavailable};
use crate::state::Epochs;
use crate::state::cache::Verified;
use crate::state::store::{Store, StoreError};

/// The longest time after its beginning for which a read is shared.
const LASTS: Duration = Duration::from_secs(1);
/// The number of reads from which on old ones are dropped.
const FEW: usize = 64;

/// Reads that are under way or were done lately, by name.
pub(super) struct RowReads {
    recent: Mutex<RecentReads>,
    /// The time after its beginning for which a read is shared.
    lasts: Duration,
}

#[derive(Default)]
struct RecentReads {
    reads: HashMap<Canonical, RowRead>,
    /// The number of reads at which the old ones are dropped.
    full: usize,
}

/// The reader of a row.
enum ReadTurn {
    /// Another caller, which has begun or finished.
    Others(RowRead),
    /// The caller, with the number of [`Epochs::now`] and the way to tell the result.
    Own(u64, watch::Sender<Answer>),
}

/// The result of a read; `None` while it is under way.
type Answer = Option<Result<Option<Arc<Principal>>, Unavailable>>;

/// A read of a row.
#[derive(Clone)]
struct RowRead {
    seen: u64,
    began: Moment,
    found: watch::Receiver<Answer>,
}

/// A row, if there is one, and the number of [`Epochs::now`] from before it was read.
pub(super) struct ReadRow {
    pub(super) seen: u64,
    pub(super) row: Option<Arc<Principal>>,
    /// True if this call has read it.
    pub(super) own: bool,
}

impl RowReads {
    /// No reads yet. They are shared for at most `ttl`.
    pub(super) fn new(ttl: Duration) -> RowReads {
        RowReads { recent: Mutex::default(), lasts: LASTS.min(ttl) }
    }

    /// The present row of a principal that was granted something. `complain` is called with the store's error once for all
    /// that wait for the same read.
    ///
    /// # Errors
    /// [`Unavailable`] if the store can't be asked.
    pub(super) async fn row(
        &self,
        store: &Store,
        epochs: &Epochs,
        granted: &Verified,
        now: Moment,
        complain: impl Fn(&StoreError) -> Unavailable,
    ) -> Result<ReadRow, Unavailable> {
        loop {
            match self.turn(epochs, granted, now) {
                ReadTurn::Others(read) => {
                    // Otherwise its reader was dropped before the end.
                    if let Some(row) = read.taken_over().await {
                        return Ok(ReadRow { seen: read.seen, row: row?, own: false });
                    }
                }
                ReadTurn::Own(seen, told) => {
                    let row = store.principal(&granted.identity.name).await.map(|row| row.map(Arc::new));
                    let row = row.map_err(|error| complain(&error));
                    told.send_replace(Some(row.clone()));
                    return Ok(ReadRow { seen, row: row?, own: true });
                }
            }
        }
    }

    fn turn(&self, epochs: &Epochs, granted: &Verified, now: Moment) -> ReadTurn {
        let account = granted.identity.principal.account_name.canonical();
        let mut recent = self.recent.lock();
        let known = recent.reads.get(&granted.identity.name).filter(|read| {
            now.since(read.began) < self.lasts
                && epochs.is_fresh(read.seen, &granted.identity.name, &account)
                && read.is_of_use()
        });
        if let Some(read) = known {
            return ReadTurn::Others(read.clone());
        }
        // Before the row is read: see `state::epoch`.
        let seen = epochs.now();
        let (told, found) = watch::channel(None);
        recent.keep(granted.identity.name, RowRead { seen, began: now, found }, now);
        ReadTurn::Own(seen, told)
    }
}

impl RecentReads {
    fn keep(&mut self, name: Canonical, read: RowRead, now: Moment) {
        if self.reads.len() >= self.full.max(FEW) {
            self.reads.retain(|_, read| now.since(read.began) < LASTS);
            self.full = 2 * self.reads.len();
        }
        self.reads.insert(name, read);
    }
}

impl RowRead {
    /// Returns true if it is under way or has succeeded. An error is only for those that waited for it.
    fn is_of_use(&self) -> bool {
        match *self.found.borrow() {
            None => self.found.has_changed().is_ok(),
            Some(Ok(_)) => true,
            Some(Err(_)) => false,
        }
    }

    /// The result; `None` if the read never came to its end.
    async fn taken_over(&self) -> Option<Result<Option<Arc<Principal>>, Unavailable>> {
        let mut found = self.found.clone();
        let found = found.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }
}
