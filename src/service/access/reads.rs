//! The rows that open sessions and tunnels ask for. A change wakes all that are open at once, and thousands of one principal
//! share one read of its row.
//!
//! What another one read is taken over under the same condition as an entry of the cache ([`crate::state::epoch`]): nothing
//! that it depends on was changed since before the read began. It goes for a row that isn't there, too, which the
//! cache doesn't keep.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{Canonical, Principal, Unavailable};
use crate::state::Epochs;
use crate::state::cache::Verified;
use crate::state::store::{Store, StoreError};

/// How long after its beginning a read is taken over at most.
const LASTS: Duration = Duration::from_secs(1);
/// Reads that are kept before the old ones are looked for.
const FEW: usize = 64;

/// Reads that are under way or were done lately, by name.
pub(super) struct Reads {
    lately: Mutex<Lately>,
    /// How long after its beginning a read is taken over.
    lasts: Duration,
}

#[derive(Default)]
struct Lately {
    reads: HashMap<Canonical, Read>,
    /// With so many, the old ones are thrown away.
    full: usize,
}

/// Who reads.
enum ReadTurn {
    /// Somebody else does, or did.
    Others(Read),
    /// The caller, with the number of [`Epochs::now`], and tells what was found.
    Own(u64, watch::Sender<Answer>),
}

/// What was found; `None` while nobody knows.
type Answer = Option<Result<Option<Arc<Principal>>, Unavailable>>;

/// One read.
#[derive(Clone)]
struct Read {
    seen: u64,
    began: Instant,
    found: watch::Receiver<Answer>,
}

/// A row, or that there is none, and the number of [`Epochs::now`] from before it was read.
pub(super) struct ReadRow {
    pub(super) seen: u64,
    pub(super) row: Option<Arc<Principal>>,
    /// Whether this call read it.
    pub(super) own: bool,
}

impl Reads {
    /// None so far. What was read is taken over for no longer than `ttl`.
    pub(super) fn new(ttl: Duration) -> Reads {
        Reads { lately: Mutex::default(), lasts: LASTS.min(ttl) }
    }

    /// The row of who was granted something, as it is now. `complain` hears of the store's error once for all who wait for
    /// the same read.
    ///
    /// # Errors
    /// [`Unavailable`] where the store can't be asked.
    pub(super) async fn row(
        &self,
        store: &Store,
        epochs: &Epochs,
        granted: &Verified,
        now: Instant,
        complain: impl Fn(&StoreError) -> Unavailable,
    ) -> Result<ReadRow, Unavailable> {
        loop {
            match self.turn(epochs, granted, now) {
                ReadTurn::Others(read) => {
                    // Or whoever read it was cut off in the middle.
                    if let Some(row) = read.taken_over().await {
                        return Ok(ReadRow { seen: read.seen, row: row?, own: false });
                    }
                }
                ReadTurn::Own(seen, told) => {
                    let row = store.principal(&granted.who.name).await.map(|row| row.map(Arc::new));
                    let row = row.map_err(|error| complain(&error));
                    told.send_replace(Some(row.clone()));
                    return Ok(ReadRow { seen, row: row?, own: true });
                }
            }
        }
    }

    fn turn(&self, epochs: &Epochs, granted: &Verified, now: Instant) -> ReadTurn {
        let account = granted.who.principal.account_name.canonical();
        let mut lately = self.lately.lock();
        let known = lately.reads.get(&granted.who.name).filter(|read| {
            now.saturating_duration_since(read.began) < self.lasts
                && epochs.is_fresh(read.seen, &granted.who.name, &account)
                && read.is_of_use()
        });
        if let Some(read) = known {
            return ReadTurn::Others(read.clone());
        }
        // Before the row is read: see `state::epoch`.
        let seen = epochs.now();
        let (told, found) = watch::channel(None);
        lately.keep(granted.who.name, Read { seen, began: now, found }, now);
        ReadTurn::Own(seen, told)
    }
}

impl Lately {
    fn keep(&mut self, name: Canonical, read: Read, now: Instant) {
        if self.reads.len() >= self.full.max(FEW) {
            self.reads.retain(|_, read| now.saturating_duration_since(read.began) < LASTS);
            self.full = 2 * self.reads.len();
        }
        self.reads.insert(name, read);
    }
}

impl Read {
    /// Whether it is under way or found what there is; an error is for those who waited for it.
    fn is_of_use(&self) -> bool {
        match *self.found.borrow() {
            None => self.found.has_changed().is_ok(),
            Some(Ok(_)) => true,
            Some(Err(_)) => false,
        }
    }

    /// What it found; `None` where it never came to its end.
    async fn taken_over(&self) -> Option<Result<Option<Arc<Principal>>, Unavailable>> {
        let mut found = self.found.clone();
        let found = found.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }
}
