//! A timer for repeated short waits. It is not re-armed for each wait: when it fires early, the real deadline is checked and the
//! timer is re-armed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::task::coop;
use tokio::time::{Sleep, sleep_until};

/// A timer for many waits, one after another.
#[derive(Default)]
pub struct DeadlineTimer {
    /// Fires no later than at the deadline of the current wait; perhaps at that of an earlier wait.
    timer: Option<Timer>,
}

struct Timer {
    fires_at: Instant,
    /// The waker that the running timer has.
    waker: Option<Waker>,
    sleep: Pin<Box<Sleep>>,
}

impl DeadlineTimer {
    /// The output of `future`; `None` if it is not ready within `patience` from its first poll that is pending.
    pub async fn within<F: Future>(&mut self, patience: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut until = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let until = *until.get_or_insert_with(|| Instant::now() + patience);
            self.poll(until, cx).map(|()| None)
        })
        .await
    }

    /// The output of `future`; `None` if it is not ready at `until`.
    pub async fn before<F: Future>(&mut self, until: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(until, cx).map(|()| None),
        })
        .await
    }

    /// Ready at `until` and after it.
    pub fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let timer = match &mut self.timer {
                Some(timer) if timer.fires_at <= until => timer,
                Some(timer) => {
                    timer.set(until);
                    timer
                }
                none => none.insert(Timer::new(until)),
            };
            ready!(timer.poll(cx));
            let fired_at = timer.fires_at;
            self.timer = None;
            if fired_at == until {
                return Poll::Ready(());
            }
        }
    }
}

impl Timer {
    fn new(fires_at: Instant) -> Timer {
        Timer { fires_at, waker: None, sleep: Box::pin(sleep_until(fires_at.into())) }
    }

    fn set(&mut self, fires_at: Instant) {
        (self.fires_at, self.waker) = (fires_at, None);
        self.sleep.as_mut().reset(fires_at.into());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if waiting && !self.sleep.is_elapsed() {
            // The task will be woken; the clock of the runtime need not be asked.
            return Poll::Pending;
        }
        // A task that has used up its budget is polled again at once, without a registration at the timer.
        self.waker = coop::has_budget_remaining().then(|| cx.waker().clone());
        self.sleep.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for DeadlineTimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fires_at = self.timer.as_ref().map(|timer| timer.fires_at);
        f.debug_struct("DeadlineTimer").field("fires_at", &fires_at).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(100);

    #[tokio::test]
    async fn each_wait_has_its_own_end() {
        let mut deadline = DeadlineTimer::default();
        assert_eq!(deadline.within(SHORT, ready(7)).await, Some(7));
        assert!(deadline.timer.is_none(), "what comes at once needs no timer");
        for patience in [SHORT, 2 * SHORT, SHORT] {
            let begun = Instant::now();
            assert_eq!(deadline.within(patience, pending::<()>()).await, None);
            assert!(begun.elapsed() >= patience);
        }
        let until = Instant::now() + SHORT;
        assert_eq!(deadline.before(until, pending::<()>()).await, None);
        assert!(Instant::now() >= until);
        assert_eq!(deadline.before(until, pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn it_fires_for_a_task_that_had_no_budget_left_when_it_was_set() {
        for waits in [1, 2] {
            let mut deadline = DeadlineTimer::default();
            for _ in 0..waits {
                while coop::has_budget_remaining() {
                    coop::consume_budget().await;
                }
                let output = timeout(Duration::from_secs(10), deadline.within(SHORT, pending::<()>())).await;
                assert_eq!(output, Ok(None));
            }
        }
    }

    #[tokio::test]
    async fn a_timer_that_runs_serves_the_next_wait() {
        let mut deadline = DeadlineTimer::default();
        let later = tokio::task::yield_now;
        assert_eq!(deadline.within(SHORT, later()).await, Some(()));
        let fires_at = |deadline: &DeadlineTimer| deadline.timer.as_ref().map(|timer| timer.fires_at);
        let first = fires_at(&deadline);
        assert_eq!(deadline.within(LONG, later()).await, Some(()));
        assert!(first.is_some() && fires_at(&deadline) == first, "set anew");
        // It fires for the first wait, in vain, and then for this one.
        let begun = Instant::now();
        assert_eq!(deadline.within(3 * SHORT, pending::<()>()).await, None);
        assert!(begun.elapsed() >= 3 * SHORT);
        // A timer that would fire too late is armed again.
        assert_eq!(deadline.within(LONG, later()).await, Some(()));
        assert_eq!(deadline.within(SHORT, pending::<()>()).await, None);
    }
}
