//! A count of what is open or in flight, with a limit, so that a stop can wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A count with an upper limit. A stop can wait until it is zero.
#[derive(Debug)]
pub struct InFlight {
    count: AtomicUsize,
    limit: usize,
    empty: Notify,
    /// The count that this one is a part of.
    whole: Option<Arc<InFlight>>,
}

impl InFlight {
    /// A count of zero that goes up to `limit`.
    pub fn new(limit: usize) -> Arc<InFlight> {
        InFlight::with(limit, None)
    }

    /// A count of zero that is a part of `whole`: each of its items counts there as well, up to the limit there.
    pub fn part_of(whole: &Arc<InFlight>) -> Arc<InFlight> {
        InFlight::with(usize::MAX, Some(whole.clone()))
    }

    fn with(limit: usize, whole: Option<Arc<InFlight>>) -> Arc<InFlight> {
        Arc::new(InFlight { count: AtomicUsize::new(0), limit, empty: Notify::new(), whole })
    }

    /// Counts one more until the guard is dropped; `None` if the limit is reached.
    pub fn enter(self: &Arc<InFlight>) -> Option<InFlightGuard> {
        self.join().then(|| InFlightGuard(self.clone()))
    }

    fn join(&self) -> bool {
        if self.whole.as_ref().is_some_and(|whole| !whole.join()) {
            return false;
        }
        let has_room = self.count.fetch_add(1, Ordering::AcqRel) < self.limit;
        if !has_room {
            self.leave();
        }
        has_room
    }

    /// The present count.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until the count is zero.
    pub async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.empty.notify_waiters();
        }
        if let Some(whole) = &self.whole {
            whole.leave();
        }
    }
}

/// The count of one item, until this is dropped.
#[derive(Debug)]
pub struct InFlightGuard(Arc<InFlight>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_the_last_and_refuses_one_too_many() {
        let gauge = InFlight::new(2);
        let first = gauge.enter().unwrap();
        let second = gauge.enter().unwrap();
        assert!(gauge.enter().is_none());
        drop(first);
        let third = gauge.enter().unwrap();
        let waiting = tokio::spawn({
            let gauge = gauge.clone();
            async move { gauge.emptied().await }
        });
        drop((second, third));
        waiting.await.unwrap();
        assert_eq!(gauge.count(), 0);
    }

    #[test]
    fn parts_share_the_limit_of_the_whole() {
        let whole = InFlight::new(2);
        let (one, two) = (InFlight::part_of(&whole), InFlight::part_of(&whole));
        let first = one.enter().unwrap();
        let second = two.enter().unwrap();
        assert!(one.enter().is_none() && two.enter().is_none());
        assert_eq!((one.count(), two.count(), whole.count()), (1, 1, 2));
        drop(first);
        let third = two.enter().unwrap();
        assert_eq!((one.count(), two.count(), whole.count()), (0, 2, 2));
        drop((second, third));
        assert_eq!((one.count(), two.count(), whole.count()), (0, 0, 0));
    }
}
