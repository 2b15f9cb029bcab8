//! The audit trail of denials: a line for each, and bounded.
//!
//! A line is written at level `info` to the target `audit`. A peer that repeats itself could fill a disk with them, so
//! what is denied again for the same reason to the same peer is written at `info` once a second, with the number of
//! those in between (`repeated`), which are written at `debug`. What needed a password check is always written: there are
//! only as many of those as the threads can do.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tracing::{debug, info};

use crate::domain::{Entry, Presented};
use crate::state::throttle::Source;

/// Peers and reasons that are told apart at once; beyond, some lines too many are written.
const CAPACITY: u64 = 10_000;
const EVERY: Duration = Duration::from_secs(1);
/// Longer usernames are cut; nobody has one.
const LONGEST_SHOWN: usize = 64;

/// Writes the lines.
pub struct Denials {
    seen: moka::sync::Cache<u64, Arc<Mutex<Seen>>, RandomState>,
    hasher: RandomState,
}

/// What is said about a denial.
pub struct Denied<'a> {
    /// Where it came in.
    pub entry: Entry,
    /// Who was presented.
    pub presented: Presented<'a>,
    /// From where.
    pub source: IpAddr,
    /// Why, in one word or more.
    pub reason: &'a str,
}

/// What makes two denials the same for the log.
#[derive(Clone, Copy, Hash)]
pub enum Sameness {
    /// None is the same as another: it cost a password check.
    Unique,
    /// The same username from the same source.
    UsernameAndSource,
    /// The same source, whatever the username.
    SourceOnly,
}

struct Seen {
    shown_at: Instant,
    since: u64,
}

impl Denials {
    /// None yet.
    pub fn new() -> Denials {
        let seen =
            moka::sync::Cache::builder().max_capacity(CAPACITY).build_with_hasher(RandomState::default());
        Denials { seen, hasher: RandomState::default() }
    }

    /// Writes the line.
    pub fn write(&self, denied: &Denied<'_>, sameness: Sameness, now: Instant) {
        let (entry, source, reason) = (denied.entry.as_str(), denied.source, denied.reason);
        let shown = &denied.presented.username[..denied.presented.username.len().min(LONGEST_SHOWN)];
        let (action, actor, outcome) = ("check", shown.escape_ascii(), "denied");
        match self.repeated(denied, sameness, now) {
            Some(0) => info!(target: "audit", action, %actor, entry, %source, outcome, reason),
            Some(repeated) => {
                info!(target: "audit", action, %actor, entry, %source, outcome, reason, repeated)
            }
            None => debug!(target: "audit", action, %actor, entry, %source, outcome, reason),
        }
    }

    /// How many of the same were not shown since the last that was; `None` where this one isn't shown either.
    fn repeated(&self, denied: &Denied<'_>, sameness: Sameness, now: Instant) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        (denied.entry, denied.reason, Source::of(denied.source)).hash(&mut hasher);
        match sameness {
            Sameness::Unique => return Some(0),
            Sameness::UsernameAndSource => denied.presented.username.hash(&mut hasher),
            Sameness::SourceOnly => {}
        }
        let mut first = false;
        let seen = self.seen.get_with(hasher.finish(), || {
            first = true;
            Arc::new(Mutex::new(Seen { shown_at: now, since: 0 }))
        });
        if first {
            return Some(0);
        }
        let mut seen = seen.lock();
        if now.saturating_duration_since(seen.shown_at) < EVERY {
            seen.since += 1;
            return None;
        }
        seen.shown_at = now;
        Some(std::mem::take(&mut seen.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_shown_once_a_second_and_counted() {
        let (denials, now) = (Denials::new(), Instant::now());
        let denied = |username: &'static [u8], source: &str, reason| Denied {
            entry: Entry::Api,
            presented: Presented { username, secret: b"" },
            source: source.parse().unwrap(),
            reason,
        };
        let one = denied(b"someone", "192.0.2.1", "throttled");
        let at = |denied: &Denied<'_>, sameness, millis| {
            denials.repeated(denied, sameness, now + Duration::from_millis(millis))
        };
        assert_eq!(at(&one, Sameness::SourceOnly, 0), Some(0));
        assert_eq!(at(&one, Sameness::SourceOnly, 1), None);
        assert_eq!(at(&denied(b"other", "192.0.2.1", "throttled"), Sameness::SourceOnly, 2), None);
        assert_eq!(at(&denied(b"other", "192.0.2.1", "wrong"), Sameness::SourceOnly, 3), Some(0));
        assert_eq!(at(&denied(b"other", "192.0.2.2", "throttled"), Sameness::SourceOnly, 4), Some(0));
        assert_eq!(at(&one, Sameness::SourceOnly, 1_000), Some(2));
        assert_eq!(at(&one, Sameness::SourceOnly, 2_000), Some(0));
        assert_eq!(at(&one, Sameness::UsernameAndSource, 2_001), Some(0));
        assert_eq!(
            at(&denied(b"other", "192.0.2.1", "throttled"), Sameness::UsernameAndSource, 2_002),
            Some(0)
        );
        assert_eq!(at(&one, Sameness::UsernameAndSource, 2_003), None);
        assert_eq!(at(&one, Sameness::Unique, 2_004), Some(0));
    }
}
