//! The clock of decisions, and its relation to the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::domain::Moment;

/// The present moment. The clock counts the time that the system was suspended, unlike [`std::time::Instant`]: a lease must not
/// outlast a suspension. Reading it costs the same, and needs no system call.
#[inline]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative, nor too large for 584 years.
    Moment::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// The time of day at a moment, in seconds since 1970 UTC, as far as the clocks are known now.
pub fn unix_time_at(moment: Moment) -> i64 {
    let nanos = i128::from(moment.as_nanos()) + offset();
    i64::try_from(nanos.div_euclid(NANOS)).unwrap_or_default()
}

/// The moment at which it is that time of day, in seconds since 1970 UTC: at the earliest the origin of moments. A clock that is set
/// meanwhile counts at the next call.
pub fn moment_at(unix_time: i64) -> Moment {
    let nanos = i128::from(unix_time) * NANOS - offset();
    Moment::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

/// The nanoseconds of a second.
const NANOS: i128 = 1_000_000_000;

/// The nanoseconds from 1970 to the origin of moments.
fn offset() -> i128 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Never more than 584 years after 1970.
    i128::try_from(time.as_nanos()).unwrap_or_default() - i128::from(now().as_nanos())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn moments_and_times_of_day_stand_for_each_other() {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!((unix_time_at(now()) - time).abs() <= 1);
        assert_eq!(unix_time_at(now() + Duration::from_secs(3600)) - unix_time_at(now()), 3600);
        let later = moment_at(time + 100).since(now());
        assert!((Duration::from_secs(98)..=Duration::from_secs(100)).contains(&later), "{later:?}");
        assert_eq!(moment_at(0), Moment::ZERO, "before the start of the machine");
        assert_eq!(moment_at(i64::MAX), Moment::MAX);
    }

    #[test]
    fn it_goes_as_the_clock_of_the_system_does() {
        let (first, began) = (now(), Instant::now());
        while began.elapsed() < Duration::from_millis(2) {}
        let passed = now().since(first);
        assert!(passed >= Duration::from_millis(2), "{passed:?}");
        assert!(passed <= began.elapsed() + Duration::from_millis(100), "{passed:?}");
    }
}
