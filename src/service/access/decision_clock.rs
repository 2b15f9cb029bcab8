//! The time of one decision.

use std::time::Duration;

use crate::domain::Moment;
use crate::state::clock;

/// The one clock of a decision. It begins at the moment that the caller gives, which a test chooses, and from there on it goes as
/// the system's does. Whatever compares times takes one from here: [`DecisionClock::began`] as long as nothing was waited for, and
/// [`DecisionClock::now`] after a wait. Nothing else on the way of a decision reads the system's clock.
#[derive(Clone, Copy)]
pub(super) struct DecisionClock {
    began: Moment,
    /// The system's clock at that moment.
    system: Moment,
}

impl DecisionClock {
    /// A clock that begins now.
    pub(super) fn start() -> DecisionClock {
        let now = clock::now();
        DecisionClock { began: now, system: now }
    }

    /// A clock that says that it is `began` now.
    #[cfg(test)]
    pub(super) fn starting_at(began: Moment) -> DecisionClock {
        DecisionClock { began, system: clock::now() }
    }

    /// The moment at which the decision began.
    pub(super) fn began(&self) -> Moment {
        self.began
    }

    /// The moment after a wait.
    pub(super) fn now(&self) -> Moment {
        self.began + self.elapsed()
    }

    /// Waits until so long after the beginning; no longer than it takes where that has passed.
    pub(super) async fn wait_until(&self, after: Duration) {
        tokio::time::sleep(after.saturating_sub(self.elapsed())).await;
    }

    fn elapsed(&self) -> Duration {
        clock::now().since(self.system)
    }
}
