//! Reads of rows that many callers ask for at once, such as the sessions and tunnels that a change wakes. They share one read.
//!
//! A row that another caller has read is used under the same condition as an entry of the cache ([`crate::state::epoch`]): nothing that it
//! depends on was changed since before the read began.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{Moment, Unavailable};

/// The longest time after its beginning for which a read is shared.
const LASTS: Duration = Duration::from_secs(1);
/// The number of reads from which on old ones are dropped.
const FEW: usize = 64;

/// Reads of rows `R` that are under way or were done lately, by the key `K` of the row.
pub(super) struct SharedReads<K, R> {
    recent: Mutex<RecentReads<K, R>>,
    /// The time after its beginning for which a read is shared.
    lasts: Duration,
}

struct RecentReads<K, R> {
    reads: HashMap<K, RowRead<R>>,
    /// The number of reads at which the old ones are dropped.
    full: usize,
}

/// The reader of a row.
enum ReadTurn<R> {
    /// Another caller, which has begun or finished.
    Others(RowRead<R>),
    /// The caller, with the number of [`crate::state::Epochs::now`] and the way to tell the result.
    Own(u64, watch::Sender<Answer<R>>),
}

/// The result of a read; `None` while it is under way.
type Answer<R> = Option<Result<Option<Arc<R>>, Unavailable>>;

/// A read of a row.
struct RowRead<R> {
    seen: u64,
    began: Moment,
    found: watch::Receiver<Answer<R>>,
}

/// A row, if there is one, and the number of [`crate::state::Epochs::now`] from before it was read.
pub(super) struct SharedRow<R> {
    pub(super) seen: u64,
    pub(super) row: Option<Arc<R>>,
    /// True if this call has read it.
    pub(super) own: bool,
}

impl<K: Copy + Eq + Hash, R> SharedReads<K, R> {
    /// No reads yet. They are shared for at most `ttl`.
    pub(super) fn new(ttl: Duration) -> SharedReads<K, R> {
        let recent = Mutex::new(RecentReads { reads: HashMap::new(), full: 0 });
        SharedReads { recent, lasts: LASTS.min(ttl) }
    }

    /// The present row of that key. `epoch` is called right before `read`. `is_of_now` tells if a row that was read at a number of the
    /// epochs is still the present one; without a row, if that is still so, or may still turn out to be.
    ///
    /// # Errors
    /// That of `read`, once for all that wait for the same read.
    pub(super) async fn shared<F: Future<Output = Result<Option<R>, Unavailable>>>(
        &self,
        key: K,
        now: Moment,
        epoch: impl Fn() -> u64,
        is_of_now: impl Fn(u64, Option<&R>) -> bool,
        read: impl Fn() -> F,
    ) -> Result<SharedRow<R>, Unavailable> {
        loop {
            match self.turn(key, now, &epoch, &is_of_now) {
                ReadTurn::Others(other) => {
                    // Otherwise its reader was dropped before the end, or something was changed meanwhile.
                    if let Some(row) = other.taken_over().await {
                        let row = row?;
                        if is_of_now(other.seen, row.as_deref()) {
                            return Ok(SharedRow { seen: other.seen, row, own: false });
                        }
                    }
                }
                ReadTurn::Own(seen, told) => {
                    let row = read().await.map(|row| row.map(Arc::new));
                    told.send_replace(Some(row.clone()));
                    return Ok(SharedRow { seen, row: row?, own: true });
                }
            }
        }
    }

    fn turn(
        &self,
        key: K,
        now: Moment,
        epoch: impl Fn() -> u64,
        is_of_now: impl Fn(u64, Option<&R>) -> bool,
    ) -> ReadTurn<R> {
        let mut recent = self.recent.lock();
        let known = recent.reads.get(&key);
        if let Some(read) =
            known.filter(|read| now.since(read.began) < self.lasts && read.is_of_use(&is_of_now))
        {
            return ReadTurn::Others(read.clone());
        }
        // Before the row is read: see `state::epoch`.
        let seen = epoch();
        let (told, found) = watch::channel(None);
        recent.keep(key, RowRead { seen, began: now, found }, now);
        ReadTurn::Own(seen, told)
    }
}

impl<K: Copy + Eq + Hash, R> RecentReads<K, R> {
    fn keep(&mut self, key: K, read: RowRead<R>, now: Moment) {
        if self.reads.len() >= self.full.max(FEW) {
            self.reads.retain(|_, read| now.since(read.began) < LASTS);
            self.full = 2 * self.reads.len();
        }
        self.reads.insert(key, read);
    }
}

impl<R> RowRead<R> {
    /// Returns true if it is under way or has succeeded, and what it found may be the present row. An error is only for those that waited
    /// for it.
    fn is_of_use(&self, is_of_now: impl Fn(u64, Option<&R>) -> bool) -> bool {
        match &*self.found.borrow() {
            None => self.found.has_changed().is_ok() && is_of_now(self.seen, None),
            Some(Ok(row)) => is_of_now(self.seen, row.as_deref()),
            Some(Err(_)) => false,
        }
    }

    /// The result; `None` if the read never came to its end.
    async fn taken_over(&self) -> Option<Result<Option<Arc<R>>, Unavailable>> {
        let mut found = self.found.clone();
        let found = found.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }
}

impl<R> Clone for RowRead<R> {
    fn clone(&self) -> RowRead<R> {
        RowRead { seen: self.seen, began: self.began, found: self.found.clone() }
    }
}
