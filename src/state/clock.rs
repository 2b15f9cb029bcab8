//! The clock of decisions.

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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn it_goes_as_the_clock_of_the_system_does() {
        let (first, began) = (now(), Instant::now());
        while began.elapsed() < Duration::from_millis(2) {}
        let passed = now().since(first);
        assert!(passed >= Duration::from_millis(2), "{passed:?}");
        assert!(passed <= began.elapsed() + Duration::from_millis(100), "{passed:?}");
    }
}
