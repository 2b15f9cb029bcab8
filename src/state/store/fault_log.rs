//! The log lines about a store that cannot be read: one when that begins, one when it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, info};

use super::StoreError;

/// The interval after which the same fault is logged again.
const REPEAT: Duration = Duration::from_secs(60);

/// The faults of one store. Off until the process is a gateway: a command prints its error itself.
#[derive(Debug)]
pub(super) struct FaultLog {
    /// The path of the file, or the URL of the database.
    store: String,
    is_on: AtomicBool,
    is_failing: AtomicBool,
    /// The last fault that was logged, and the time.
    logged: Mutex<Option<(StoreError, Instant)>>,
}

impl FaultLog {
    /// The faults of the store at that place.
    pub(super) fn of(store: String) -> FaultLog {
        let (is_on, is_failing) = (AtomicBool::new(false), AtomicBool::new(false));
        FaultLog { store, is_on, is_failing, logged: Mutex::new(None) }
    }

    /// Logs from now on.
    pub(super) fn turn_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Notes a read that succeeded.
    pub(super) fn succeeded(&self) {
        if self.is_failing.load(Ordering::Relaxed) && self.is_failing.swap(false, Ordering::Relaxed) {
            info!(store = self.store, "the store is available again");
        }
    }

    /// Notes a read that failed.
    pub(super) fn failed(&self, fault: &StoreError) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let mut logged = self.logged.lock();
        let is_known = logged.as_ref().is_some_and(|(last, at)| last == fault && at.elapsed() < REPEAT);
        if !is_known {
            *logged = Some((fault.clone(), Instant::now()));
            self.is_failing.store(true, Ordering::Relaxed);
            error!(store = self.store, reason = fault.reason(), "the store is unavailable");
        }
    }
}
