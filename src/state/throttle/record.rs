//! The failures of one source or for one username, and the checks that are under way.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{CAPACITY, FIRST_DELAY, FREE, LONGEST_WAIT, PASS_EVERY, WAITING, WINDOW};
use crate::domain::{Moment, Unavailable};

/// The records of all sources, or of all usernames.
pub struct Records<K> {
    records: moka::sync::Cache<K, Arc<FailureRecord>, RandomState>,
    pub longest: Duration,
}

/// The record of one source or username.
#[derive(Debug)]
pub struct FailureRecord {
    /// The free failures that no check holds. A failure uses one up for good. Closed with the last one.
    free: Arc<Semaphore>,
    state: Mutex<FailureState>,
}

#[derive(Debug)]
pub struct FailureState {
    failures: u32,
    /// The number of checks under way that hold no free failure.
    delayed: u32,
    /// The number of checks that wait for a free failure.
    waiting: u32,
    last: Moment,
    /// Notified when checks need not wait for each other any more.
    until: Option<Moment>,
    passes_at: Moment,
}

/// The share of a record that one check holds, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    pub record: Arc<FailureRecord>,
    free: Option<OwnedSemaphorePermit>,
    /// The moment until which it keeps others waiting.
    pub slot: Option<Moment>,
}

impl<K: Hash + Eq + Copy + Send + Sync + 'static> Records<K> {
    pub fn new(longest: Duration) -> Records<K> {
        let records = moka::sync::Cache::builder().max_capacity(CAPACITY).time_to_idle(WINDOW);
        Records { records: records.build_with_hasher(RandomState::default()), longest }
    }

    /// The record, if there were failures lately.
    pub fn record(&self, key: &K, now: Moment) -> Arc<FailureRecord> {
        let record = self.records.get_with(*key, || Arc::new(FailureRecord::new(now)));
        if now.since(record.lock().last) < WINDOW {
            return record;
        }
        let fresh = Arc::new(FailureRecord::new(now));
        self.records.insert(*key, Arc::clone(&fresh));
        fresh
    }

    /// The record, if there is one and there were failures lately.
    pub fn known(&self, key: &K, now: Moment) -> Option<Arc<FailureRecord>> {
        let record = self.records.get(key)?;
        let is_recent = now.since(record.lock().last) < WINDOW;
        is_recent.then_some(record)
    }

    /// A check that held `seat` was wrong.
    pub fn fail(&self, key: K, mut seat: Seat, now: Moment) {
        if let Some(free) = seat.free.take() {
            free.forget();
        } else {
            seat.record.free.forget_permits(1);
        }
        let mut state = seat.record.lock();
        state.delayed -= u32::from(seat.slot.take().is_some());
        state.fail(self.longest, now);
        if state.failures as usize >= FREE {
            // No check waits any more for the end of others.
            seat.record.free.close();
        }
        drop(state);
        // It may have been evicted in the meantime, as the least used.
        self.records.get_with(key, || Arc::clone(&seat.record));
    }
}

impl FailureRecord {
    fn new(now: Moment) -> FailureRecord {
        let state =
            FailureState { failures: 0, delayed: 0, waiting: 0, last: now, until: None, passes_at: now };
        FailureRecord { free: Arc::new(Semaphore::new(FREE)), state: Mutex::new(state) }
    }

    /// The delay that every check meets which holds no free failure, if there is one.
    pub fn delay(&self, now: Moment) -> Option<Duration> {
        self.free.is_closed().then(|| self.lock().wait(now)).flatten()
    }

    pub fn lock(&self) -> MutexGuard<'_, FailureState> {
        self.state.lock()
    }
}

impl Seat {
    /// A seat that holds nothing yet.
    pub fn at(record: Arc<FailureRecord>) -> Seat {
        Seat { record, free: None, slot: None }
    }

    /// Takes one of the free failures, if there is one. Returns true if it holds one.
    pub fn take_at_once(&mut self) -> bool {
        if self.free.is_none() {
            self.free = Arc::clone(&self.record.free).try_acquire_owned().ok();
        }
        self.is_taken()
    }

    /// Takes one of the free failures, and waits for one if others may give theirs back. Returns true if it had to wait.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if too many wait, or it takes too long.
    pub async fn take(&mut self) -> Result<bool, Unavailable> {
        if self.take_at_once() {
            return Ok(false);
        }
        let semaphore = Arc::clone(&self.record.free);
        if semaphore.is_closed() {
            return Ok(false);
        }
        let _waiting = WaitingCheck::enter(&self.record).ok_or(Unavailable::Busy)?;
        let free = timeout(LONGEST_WAIT, semaphore.acquire_owned()).await;
        // If it was closed, the check is one of those that are delayed.
        self.free = free.map_err(|_| Unavailable::Busy)?.ok();
        Ok(true)
    }

    pub fn is_taken(&self) -> bool {
        self.free.is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let mut state = self.record.lock();
            state.delayed -= 1;
            // Unless a check failed in the meantime: then the delay is that of the failure.
            if state.until == Some(slot) {
                state.until = None;
            }
        }
    }
}

struct WaitingCheck<'a>(&'a FailureRecord);

impl WaitingCheck<'_> {
    fn enter(record: &FailureRecord) -> Option<WaitingCheck<'_>> {
        let mut state = record.lock();
        if state.waiting >= WAITING {
            return None;
        }
        state.waiting += 1;
        Some(WaitingCheck(record))
    }
}

impl Drop for WaitingCheck<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl FailureState {
    /// The delay, if there is one.
    pub fn wait(&self, now: Moment) -> Option<Duration> {
        Some(self.until?.since(now)).filter(|wait| !wait.is_zero())
    }

    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Returns true if a check may pass in spite of the delay.
    pub fn pass(&mut self, now: Moment) -> bool {
        let passes = now >= self.passes_at;
        if passes {
            self.passes_at = now + PASS_EVERY;
        }
        passes
    }

    /// Keeps others waiting during a check, once all free failures are used up.
    pub fn take_slot(&mut self, longest: Duration, now: Moment) -> Moment {
        let until = now + delay(self.failures.saturating_add(self.delayed), longest);
        self.until = Some(until);
        self.delayed += 1;
        until
    }

    fn fail(&mut self, longest: Duration, now: Moment) {
        self.last = now.max(self.last);
        if self.failures as usize >= FREE {
            self.until = self.until.max(Some(now + delay(self.failures, longest)));
        }
        self.failures = self.failures.saturating_add(1);
    }
}

/// The delay after so many failures.
pub fn delay(failures: u32, longest: Duration) -> Duration {
    let doublings = failures.saturating_sub(FREE as u32).min(16);
    (FIRST_DELAY * 2u32.pow(doublings)).min(longest)
}
