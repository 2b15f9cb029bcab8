//! Log lines about what attackers can repeat as often as they like.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The least time between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Lets a line pass now and then, and counts those in between.
#[derive(Debug, Default)]
pub struct RareLog {
    last: Mutex<Option<LastWritten>>,
}

/// The last line that passed.
#[derive(Debug)]
struct LastWritten {
    at: Instant,
    left_out: u64,
}

impl RareLog {
    /// Returns the number of lines that were left out before this one, or `None` if this one is left out, too.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock();
        match &mut *last {
            Some(written) if now.saturating_duration_since(written.at) < EVERY => {
                written.left_out += 1;
                None
            }
            written => {
                let left_out = written.as_ref().map_or(0, |written| written.left_out);
                *written = Some(LastWritten { at: now, left_out: 0 });
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_between_are_counted() {
        let (log, start) = (RareLog::default(), Instant::now());
        assert_eq!(log.pass(start), Some(0));
        assert_eq!((log.pass(start), log.pass(start + EVERY / 2)), (None, None));
        assert_eq!(log.pass(start + EVERY), Some(2));
        assert_eq!(log.pass(start + 2 * EVERY), Some(0));
    }
}
