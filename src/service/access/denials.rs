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

use crate::domain::Entry;
use crate::state::audit::{Record, Weight};
use crate::state::throttle::SourcePrefix;

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
    /// Who was presented; nobody, where there was no credential.
    pub username: &'a [u8],
    /// From where.
    pub peer: Peer<'a>,
    /// Why, in one word or more.
    pub reason: &'a str,
}

/// Who asks for a decision.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The client's own address, not a trusted proxy's: who failures are counted for.
    pub source: IpAddr,
    /// As in the response and the rest of the log; empty where there is none.
    pub request_id: &'a str,
}

impl From<IpAddr> for Peer<'_> {
    fn from(source: IpAddr) -> Self {
        Peer { source, request_id: "" }
    }
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
        let username = &denied.username[..denied.username.len().min(LONGEST_SHOWN)];
        let repeated = self.repeated(denied, sameness, now);
        let record = Record {
            action: "check",
            actor: &username.escape_ascii().to_string(),
            entry: Some(denied.entry.as_str()),
            source: &denied.peer.source.to_string(),
            request_id: Some(denied.peer.request_id),
            outcome: "denied",
            reason: Some(denied.reason),
            repeated: repeated.filter(|repeated| *repeated > 0),
            ..Record::default()
        };
        record.write(if repeated.is_some() { Weight::Plain } else { Weight::Repeated });
    }

    /// How many of the same were not shown since the last that was; `None` where this one isn't shown either.
    fn repeated(&self, denied: &Denied<'_>, sameness: Sameness, now: Instant) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        (denied.entry, denied.reason, SourcePrefix::of(denied.peer.source)).hash(&mut hasher);
        match sameness {
            Sameness::Unique => return Some(0),
            Sameness::UsernameAndSource => denied.username.hash(&mut hasher),
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
            username,
            peer: source.parse::<IpAddr>().unwrap().into(),
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
