//! A value that is watched over many waits. Its registration as a waiter is kept from one wait to the next, so that a wait that
//! ends for another reason takes no lock, and neither does the next one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::sync::watch;
use tokio::task::coop;

type ChangeFuture = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// A value to be watched.
pub struct Watched<T> {
    receiver: watch::Receiver<T>,
    /// The waker that is registered, if the task had budget left, and the registration.
    change: Option<(Option<Waker>, ChangeFuture)>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Watches for changes from now on, and for one that `receiver` has not seen yet.
    pub fn new(receiver: watch::Receiver<T>) -> Watched<T> {
        Watched { receiver, change: None }
    }

    /// Returns true if the value has changed since this was last true, and once nobody can change it any more.
    pub fn has_changed(&mut self) -> bool {
        let changed = self.receiver.has_changed().unwrap_or(true);
        if changed {
            self.receiver.mark_unchanged();
            self.change = None;
        }
        changed
    }

    /// Returns the same as [`Watched::has_changed`], and leaves its next result as it is.
    pub fn is_changed(&self) -> bool {
        self.receiver.has_changed().unwrap_or(true)
    }

    /// Ready if [`Watched::has_changed`] would be true, whose next result stays as it is.
    pub fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((Some(waker), _)) = &self.change
            && waker.will_wake(cx.waker())
            && self.receiver.has_changed().is_ok_and(|changed| !changed)
        {
            return Poll::Pending;
        }
        let (waker, change) = self.change.get_or_insert_with(|| {
            let mut receiver = self.receiver.clone();
            let change = async move {
                let _ = receiver.changed().await;
            };
            (None, Box::pin(change))
        });
        // A task that has used up its budget is polled again at once, and is not registered before that.
        *waker = coop::has_budget_remaining().then(|| cx.waker().clone());
        ready!(change.as_mut().poll(cx));
        self.change = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_ready(watched: &mut Watched<u64>) -> bool {
        timeout(Duration::from_millis(20), poll_fn(|cx| watched.poll_changed(cx))).await.is_ok()
    }

    #[tokio::test]
    async fn a_change_is_seen_until_it_is_looked_at() {
        let (sender, receiver) = watch::channel(0);
        let mut watched = Watched::new(receiver);
        assert!(!watched.has_changed() && !is_ready(&mut watched).await);
        sender.send_replace(1);
        assert!(is_ready(&mut watched).await && is_ready(&mut watched).await, "nobody has looked");
        assert!(watched.has_changed() && !watched.has_changed());
        assert!(!is_ready(&mut watched).await);
        sender.send_replace(2);
        assert!(watched.has_changed(), "looked at before it was waited for");
        assert!(!is_ready(&mut watched).await, "the wait that was under way is of the change that was seen");
        drop(sender);
        assert!(is_ready(&mut watched).await && watched.has_changed());
    }

    #[tokio::test]
    async fn a_task_without_budget_is_woken_all_the_same() {
        let (sender, receiver) = watch::channel(0);
        let mut watched = Watched::new(receiver);
        let (waits, waiting) = tokio::sync::oneshot::channel();
        let woken = tokio::spawn(async move {
            while coop::has_budget_remaining() {
                coop::consume_budget().await;
            }
            let _ = waits.send(());
            poll_fn(|cx| watched.poll_changed(cx)).await;
        });
        waiting.await.unwrap();
        // After all polls that the task causes by itself.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        sender.send_replace(1);
        timeout(Duration::from_secs(10), woken).await.expect("woken").expect("no panic");
    }

    #[tokio::test]
    async fn a_wait_that_was_left_wakes_the_next_one() {
        let (sender, receiver) = watch::channel(0);
        let mut watched = Watched::new(receiver);
        assert!(!is_ready(&mut watched).await);
        let waiting = tokio::spawn(async move { poll_fn(|cx| watched.poll_changed(cx)).await });
        tokio::task::yield_now().await;
        sender.send_replace(1);
        timeout(Duration::from_secs(10), waiting).await.expect("woken").expect("no panic");
    }
}
