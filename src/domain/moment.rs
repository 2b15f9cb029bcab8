//! Points in time as the fleet and the cache compare them.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// A point in time in nanoseconds since an origin that all moments of one machine share. Never earlier than its origin and
/// never later than [`Moment::MAX`]: arithmetic stops there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The origin: earlier than every moment that a clock returns.
    pub const ZERO: Moment = Moment(0);
    /// The moment that never comes.
    pub const MAX: Moment = Moment(u64::MAX);

    /// The moment this many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Moment {
        Moment(nanos)
    }

    /// The nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment this much later.
    #[inline]
    pub const fn after(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(duration)))
    }

    /// The moment this much earlier.
    pub const fn before(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_sub(nanos(duration)))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    #[inline]
    fn add(self, later: Duration) -> Moment {
        self.after(later)
    }
}

impl AddAssign<Duration> for Moment {
    #[inline]
    fn add_assign(&mut self, later: Duration) {
        *self = self.after(later);
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// The nanoseconds of a duration; after 584 years, the largest number.
const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_both_ends() {
        let moment = Moment::from_nanos(5);
        assert_eq!(moment.after(Duration::from_nanos(2)).as_nanos(), 7);
        assert_eq!(moment.before(Duration::from_secs(1)), Moment::ZERO);
        assert_eq!(moment.after(Duration::MAX), Moment::MAX);
        assert_eq!(Moment::MAX.after(Duration::from_nanos(1)), Moment::MAX);
        assert_eq!(moment.since(Moment::from_nanos(2)), Duration::from_nanos(3));
        assert_eq!(moment.since(Moment::MAX), Duration::ZERO);
        let mut later = moment + Duration::from_nanos(2);
        later += Duration::from_nanos(1);
        assert_eq!(later, Moment::from_nanos(8));
    }
}
