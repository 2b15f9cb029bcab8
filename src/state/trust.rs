//! Trust: until when this process knows of every revocation that was answered.
//!
//! With SQLite, trust is for ever: a change is not answered before each process has heard of it. With PostgreSQL, a node may be cut off
//! and hear of nothing. So it has trust for a bounded time after each contact, and others wait for that time before they
//! answer a revocation of which it may not know. Without trust there is no decision, neither on the cache nor on a row that can still be
//! read.

use std::fmt;
use std::future::pending;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::clock;
use super::raised::TrustEnd;
use crate::domain::Moment;

/// The moment at which the trust of this process ends.
pub struct Trust {
    until: TrustEnd,
    /// Woken by each extension and by the end.
    changed: Notify,
}

impl Trust {
    /// Trust that never ends.
    pub fn for_ever() -> Trust {
        Trust { until: TrustEnd::new(Moment::MAX.as_nanos()), changed: Notify::new() }
    }

    /// Creates trust that holds at no time, until it is extended.
    pub fn none() -> Trust {
        Trust { until: TrustEnd::new(Moment::ZERO.as_nanos()), changed: Notify::new() }
    }

    /// Returns true if a decision may be made at `now`. Must be asked *before* the epochs: what was applied before an extension is
    /// visible to those who see the extension.
    #[inline]
    pub fn holds(&self, now: Moment) -> bool {
        now < self.until()
    }

    /// Returns true if a decision may be made now. Reads the clock only where trust can end.
    #[inline]
    pub fn holds_now(&self) -> bool {
        self.is_for_ever() || self.holds(clock::now())
    }

    /// Returns true if it never ends.
    #[inline]
    pub fn is_for_ever(&self) -> bool {
        self.until() == Moment::MAX
    }

    /// The moment at which it ends.
    #[inline]
    pub fn until(&self) -> Moment {
        Moment::from_nanos(self.until.get())
    }

    /// Extends it to `until`, if that is later. Must be called *after* every change that is known was applied to the epochs.
    pub fn extend(&self, until: Moment) {
        self.until.extend(until.as_nanos());
        self.changed.notify_one();
    }

    /// Ends it at once.
    pub fn end(&self) {
        self.until.end();
        self.changed.notify_one();
    }

    /// Calls `announce` with `false` each time that it has ended, and with `true` each time that it has begun again, for as long as it
    /// is polled. Only for one caller.
    pub async fn watch(&self, announce: impl Fn(bool)) {
        let mut held = self.holds_now();
        loop {
            if self.holds_now() != held {
                held = !held;
                announce(held);
            }
            let ended = async {
                match self.until() {
                    // The timer does not count a suspension. Whoever forwards asks `holds_now` as well.
                    until if held && until != Moment::MAX => {
                        sleep(until.since(clock::now())).await;
                    }
                    _ => pending().await,
                }
            };
            tokio::select! {
                () = ended => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({:?})", self.until())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn trust_holds_before_its_end_and_not_at_it() {
        let at = Moment::from_nanos;
        let trust = Trust::none();
        assert!(!trust.holds(at(0)) && !trust.holds_now() && !trust.is_for_ever());
        trust.extend(at(100));
        assert!(trust.holds(at(0)) && trust.holds(at(99)) && !trust.holds(at(100)));
        trust.extend(at(50));
        assert_eq!(trust.until(), at(100), "an extension that is late takes nothing away");
        trust.end();
        assert!(!trust.holds(at(0)));
        trust.extend(at(50));
        assert!(trust.holds(at(49)) && !trust.holds(at(50)));
    }

    #[test]
    fn trust_for_ever_holds_at_any_time() {
        let trust = Trust::for_ever();
        assert!(
            trust.is_for_ever()
                && trust.holds_now()
                && trust.holds(clock::now() + Duration::from_secs(1 << 30))
        );
    }

    // By the real clock: the timer has to wake up by itself.
    #[tokio::test]
    async fn its_end_and_its_return_are_announced() {
        let trust = Arc::new(Trust::none());
        let (announced, mut heard) = mpsc::unbounded_channel();
        let watched = Arc::clone(&trust);
        let watching = tokio::spawn(async move { watched.watch(|held| announced.send(held).unwrap()).await });
        // On one thread: it has looked at the trust.
        yield_now().await;
        let mut next = async || timeout(Duration::from_secs(10), heard.recv()).await.unwrap();
        trust.extend(clock::now() + Duration::from_secs(60));
        assert_eq!(next().await, Some(true));
        trust.end();
        assert_eq!(next().await, Some(false));
        trust.extend(clock::now() + Duration::from_millis(500));
        assert_eq!(next().await, Some(true));
        assert_eq!(next().await, Some(false), "it ran out");
        trust.extend(clock::now() + Duration::from_millis(500));
        assert_eq!(next().await, Some(true));
        trust.extend(clock::now() + Duration::from_secs(60));
        sleep(Duration::from_millis(600)).await;
        trust.end();
        assert_eq!(next().await, Some(false), "it was extended in time");
        assert!(heard.is_empty(), "neither an end nor a return in between");
        watching.abort();
    }
}
