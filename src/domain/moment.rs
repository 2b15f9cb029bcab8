//! A point in time that two processes on one machine agree on.

use std::ops::{Add, AddAssign};
use std::time::Duration;

/// A point in time: nanoseconds since the system was started, including the time that it was suspended. No change of the date moves
/// it. Arithmetic ends at the first and the last moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The start of the system.
    pub const FIRST: Moment = Moment(0);
    /// A moment that never comes: 584 years after the start.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The moment so many nanoseconds after the start of the system.
    pub const fn from_nanos(nanos: u64) -> Moment {
        Moment(nanos)
    }

    /// The nanoseconds since the start of the system.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if that is later.
    #[inline]
    pub const fn saturating_duration_since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time since `earlier`; `None` if that is later.
    #[inline]
    pub fn checked_duration_since(self, earlier: Moment) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    #[inline]
    fn add(self, later: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Moment {
    #[inline]
    fn add_assign(&mut self, later: Duration) {
        *self = *self + later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_ends_at_the_first_and_the_last_moment() {
        let moment = Moment::from_nanos(5);
        let mut later = moment + Duration::from_secs(1);
        assert_eq!(later.as_nanos(), 1_000_000_005);
        assert_eq!(later.saturating_duration_since(moment), Duration::from_secs(1));
        assert_eq!(moment.saturating_duration_since(later), Duration::ZERO);
        assert_eq!(later.checked_duration_since(moment), Some(Duration::from_secs(1)));
        assert_eq!(moment.checked_duration_since(later), None);
        later += Duration::MAX;
        assert_eq!(later, Moment::NEVER);
        assert!(Moment::FIRST < moment && moment < Moment::NEVER);
    }
}
