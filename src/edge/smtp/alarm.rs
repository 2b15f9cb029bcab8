//! A timer that is set rarely: who waits over and over, and rarely for long, leaves it running, and looks at the clock only
//! once it rings.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

/// One timer for all that somebody waits for, one after another.
#[derive(Default)]
pub struct Alarm {
    /// Rings no later than at the moment that is waited for now; maybe for one that is long past caring.
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Alarm {
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
            let (rings, timer) = match &mut self.timer {
                Some((rings, timer)) if *rings <= until => (*rings, timer),
                timer => (until, &mut timer.insert((until, Box::pin(sleep_until(until.into())))).1),
            };
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if rings == until {
                return Poll::Ready(());
            }
        }
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rings = self.timer.as_ref().map(|(rings, _)| rings);
        f.debug_struct("Alarm").field("rings", &rings).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(100);

    #[tokio::test]
    async fn each_wait_has_its_own_end() {
        let mut alarm = Alarm::default();
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
    async fn a_timer_that_runs_serves_the_next_wait() {
        let mut alarm = Alarm::default();
        let later = tokio::task::yield_now;
        assert_eq!(alarm.within(SHORT, later()).await, Some(()));
        let rings = |alarm: &Alarm| alarm.timer.as_ref().map(|(rings, _)| *rings);
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
