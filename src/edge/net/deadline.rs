//! A timer for repeated short waits. It is not re-armed for each wait: when it fires early, the real deadline is checked and the
//! timer is re-armed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::task::coop;
use tokio::time::{Sleep, sleep_until};

/// One timer for all that somebody waits for, one after another.
#[derive(Default)]
pub struct DeadlineTimer {
    /// Rings no later than at the moment that is waited for now; maybe for one that is long past caring.
    timer: Option<Timer>,
}

struct Timer {
    rings: Instant,
    /// Whom the running timer wakes, as far as it was told.
    waker: Option<Waker>,
    sleep: Pin<Box<Sleep>>,
}

impl DeadlineTimer {
    /// What `future` gives; `None` where it gives nothing within `patience` from the moment that it has to be waited for.
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

    /// What `future` gives; `None` where it gives nothing up to that moment.
    pub async fn before<F: Future>(&mut self, until: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(until, cx).map(|()| None),
        })
        .await
    }

    /// Ready at that moment, and after it.
    pub fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let timer = match &mut self.timer {
                Some(timer) if timer.rings <= until => timer,
                Some(timer) => {
                    timer.set(until);
                    timer
                }
                none => none.insert(Timer::new(until)),
            };
            ready!(timer.poll(cx));
            let rang = timer.rings;
            self.timer = None;
            if rang == until {
                return Poll::Ready(());
            }
        }
    }
}

impl Timer {
    fn new(rings: Instant) -> Timer {
        Timer { rings, waker: None, sleep: Box::pin(sleep_until(rings.into())) }
    }

    fn set(&mut self, rings: Instant) {
        (self.rings, self.waker) = (rings, None);
        self.sleep.as_mut().reset(rings.into());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if waiting && !self.sleep.is_elapsed() {
            // It will be woken: nothing has to be said to the runtime's clock.
            return Poll::Pending;
        }
        // A task that has used up its budget is asked again at once, and the timer learns nothing of it.
        self.waker = coop::has_budget_remaining().then(|| cx.waker().clone());
        self.sleep.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for DeadlineTimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rings = self.timer.as_ref().map(|timer| timer.rings);
        f.debug_struct("DeadlineTimer").field("rings", &rings).finish()
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
        let mut alarm = DeadlineTimer::default();
        assert_eq!(alarm.within(SHORT, ready(7)).await, Some(7));
        assert!(alarm.timer.is_none(), "what comes at once needs no timer");
        for patience in [SHORT, 2 * SHORT, SHORT] {
            let begun = Instant::now();
            assert_eq!(alarm.within(patience, pending::<()>()).await, None);
            assert!(begun.elapsed() >= patience);
        }
        let until = Instant::now() + SHORT;
        assert_eq!(alarm.before(until, pending::<()>()).await, None);
        assert!(Instant::now() >= until);
        assert_eq!(alarm.before(until, pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn it_rings_for_a_task_that_had_no_budget_left_when_it_was_set() {
        for waits in [1, 2] {
            let mut alarm = DeadlineTimer::default();
            for _ in 0..waits {
                while coop::has_budget_remaining() {
                    coop::consume_budget().await;
                }
                let rung = timeout(Duration::from_secs(10), alarm.within(SHORT, pending::<()>())).await;
                assert_eq!(rung, Ok(None));
            }
        }
    }

    #[tokio::test]
    async fn a_timer_that_runs_serves_the_next_wait() {
        let mut alarm = DeadlineTimer::default();
        let later = tokio::task::yield_now;
        assert_eq!(alarm.within(SHORT, later()).await, Some(()));
        let rings = |alarm: &DeadlineTimer| alarm.timer.as_ref().map(|timer| timer.rings);
        let first = rings(&alarm);
        assert_eq!(alarm.within(LONG, later()).await, Some(()));
        assert!(first.is_some() && rings(&alarm) == first, "set anew");
        // It rings for the first one, in vain, and then for this one.
        let begun = Instant::now();
        assert_eq!(alarm.within(3 * SHORT, pending::<()>()).await, None);
        assert!(begun.elapsed() >= 3 * SHORT);
        // One that would ring too late is set anew.
        assert_eq!(alarm.within(LONG, later()).await, Some(()));
        assert_eq!(alarm.within(SHORT, pending::<()>()).await, None);
    }
}
