//! The audit trail of denials: one line for each, and a bounded number of them.
//!
//! A line is written at level `info` to the target `audit`. A peer could fill a disk with them, whatever usernames it presents. So each
//! source has 50 lines at once, and one a second afterwards. The others are written at `debug`, and counted in the next one of their kind
//! at `info` (`repeated`). A denial that needed a password check is always written at `info`: there are only as many of those as the
//! hashing threads can do.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::domain::{AccountId, Denial, Entry, LONGEST_NAME, Moment, shown};
use crate::service::activity::{Activity, ActivityDenial};
use crate::state::audit::{Record, Weight};
use crate::state::throttle::SourcePrefix;

/// Peers and reasons that are told apart at once; with more of them, some repeated lines are not counted.
const CAPACITY: u64 = 10_000;
const EVERY: Duration = Duration::from_secs(1);
/// Lines that a source may have at once, as for refusals.
const AT_ONCE: u32 = 50;

/// The writer of these lines.
pub struct DenialLog {
    seen: moka::sync::Cache<u64, Arc<Mutex<LastShown>>, RandomState>,
    /// The end of the time that the lines of a source take up.
    taken: moka::sync::Cache<SourcePrefix, Arc<Mutex<Moment>>, RandomState>,
    hasher: RandomState,
    activity: Arc<Activity>,
}

/// A denial, as it is written.
pub struct DenialRecord<'a> {
    /// The entry of the request.
    pub entry: Entry,
    /// The username that was presented; empty without a credential.
    pub username: &'a [u8],
    /// The client.
    pub peer: Peer<'a>,
    /// The kind, which decides what the client is told.
    pub kind: DenialKind,
    /// The reason, in one or more words.
    pub reason: &'a str,
    /// The account whose principal was presented; `None` if the username is unknown or was not checked.
    pub account: Option<AccountId>,
}

/// A kind of denial, as the client is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialKind {
    /// By a decision.
    Denied(Denial),
    /// For lack of a credential.
    NoCredential,
    /// The credential is not the account holder's.
    NotHolder,
    /// The request comes from another site.
    CrossSite,
}

/// The client that a decision is for.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The client's own address, not a trusted proxy's. Failures are counted for it.
    pub source: IpAddr,
    /// The request ID, as in the response and the rest of the log; empty if there is none.
    pub request_id: &'a str,
    /// The status or SMTP code that the client is told; empty if it is told nothing.
    pub code: fn(DenialKind) -> &'static str,
}

impl From<IpAddr> for Peer<'_> {
    fn from(source: IpAddr) -> Self {
        Peer { source, request_id: "", code: |_| "" }
    }
}

/// The properties by which a denial counts as repeated, besides entry and reason.
#[derive(Clone, Copy, Hash)]
pub enum RepeatKey {
    /// None: it cost a password check, and is always written.
    Unique,
    /// Username and source.
    UsernameAndSource,
    /// The source, whatever the username.
    SourceOnly,
}

fn bounded<K, V>() -> moka::sync::Cache<K, V, RandomState>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    moka::sync::Cache::builder().max_capacity(CAPACITY).build_with_hasher(RandomState::default())
}

/// The last line of its kind that was written at `info`.
struct LastShown {
    /// `None` if there was none yet.
    shown_at: Option<Moment>,
    /// Denials since then.
    since: u64,
}

impl DenialLog {
    /// A log without any lines yet.
    pub fn new(activity: Arc<Activity>) -> DenialLog {
        DenialLog { seen: bounded(), taken: bounded(), hasher: RandomState::default(), activity }
    }

    /// Writes the line.
    pub fn write(&self, denied: &DenialRecord<'_>, repeat_key: RepeatKey, now: Moment) {
        self.activity.denied(&ActivityDenial {
            account: denied.account,
            entry: denied.entry,
            username: denied.username,
            source: denied.peer.source,
            reason: denied.reason,
        });
        let repeated = self.repeated(denied, repeat_key, now);
        let record = Record {
            action: "check",
            actor: &shown(denied.username, LONGEST_NAME),
            entry: Some(denied.entry.as_str()),
            source: &denied.peer.source.to_string(),
            request_id: Some(denied.peer.request_id),
            code: Some((denied.peer.code)(denied.kind)).filter(|code| !code.is_empty()),
            outcome: "denied",
            reason: Some(denied.reason),
            repeated: repeated.filter(|repeated| *repeated > 0),
            ..Record::default()
        };
        record.write(if repeated.is_some() { Weight::Plain } else { Weight::Repeated });
    }

    /// The number of the same denials since the last one that was written at `info`; `None` if this one isn't, either.
    fn repeated(&self, denied: &DenialRecord<'_>, repeat_key: RepeatKey, now: Moment) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        (denied.entry, denied.reason, SourcePrefix::of(denied.peer.source)).hash(&mut hasher);
        match repeat_key {
            RepeatKey::Unique => return Some(0),
            RepeatKey::UsernameAndSource => denied.username.hash(&mut hasher),
            RepeatKey::SourceOnly => {}
        }
        let fresh = || Arc::new(Mutex::new(LastShown { shown_at: None, since: 0 }));
        let seen = self.seen.get_with(hasher.finish(), fresh);
        let mut seen = seen.lock();
        let has_room = self.has_room(SourcePrefix::of(denied.peer.source), now);
        // What has waited for a second has a line in any case, unless there may be any number of its kind.
        let has_waited = seen.shown_at.is_none_or(|shown_at| now.since(shown_at) >= EVERY);
        let is_of_few = matches!(repeat_key, RepeatKey::SourceOnly);
        let is_shown = has_room || is_of_few && has_waited;
        if !is_shown {
            seen.since += 1;
            return None;
        }
        seen.shown_at = Some(now);
        Some(std::mem::take(&mut seen.since))
    }

    /// Returns true if a source may have another line, and takes it.
    fn has_room(&self, source: SourcePrefix, now: Moment) -> bool {
        let taken = self.taken.get_with(source, || Arc::new(Mutex::new(now)));
        let mut taken_until = taken.lock();
        let with_it = (*taken_until).max(now) + EVERY;
        let has_room = with_it <= now + EVERY * AT_ONCE;
        if has_room {
            *taken_until = with_it;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::clock;

    #[test]
    fn what_repeats_has_a_bounded_number_of_lines_and_is_counted() {
        let (denials, now) = (DenialLog::new(Arc::default()), clock::now());
        let denied = |username: &'static [u8], source: &str, reason| DenialRecord {
            entry: Entry::Api,
            username,
            peer: source.parse::<IpAddr>().unwrap().into(),
            kind: DenialKind::NoCredential,
            reason,
            account: None,
        };
        let one = denied(b"someone", "192.0.2.1", "throttled");
        let at = |denied: &DenialRecord<'_>, repeat_key, millis| {
            denials.repeated(denied, repeat_key, now + Duration::from_millis(millis))
        };
        let other = denied(b"other", "192.0.2.1", "throttled");
        for _ in 0..25 {
            assert_eq!(at(&one, RepeatKey::SourceOnly, 1), Some(0));
            assert_eq!(at(&other, RepeatKey::SourceOnly, 1), Some(0));
        }
        assert_eq!(at(&one, RepeatKey::SourceOnly, 1), None);
        assert_eq!(at(&other, RepeatKey::SourceOnly, 2), None);
        assert_eq!(at(&other, RepeatKey::UsernameAndSource, 2), None);
        assert_eq!(at(&denied(b"other", "192.0.2.1", "wrong"), RepeatKey::SourceOnly, 3), Some(0));
        assert_eq!(at(&denied(b"other", "192.0.2.2", "throttled"), RepeatKey::SourceOnly, 4), Some(0));
        // What has waited for a second has a line in any case.
        assert_eq!(at(&one, RepeatKey::SourceOnly, 1_001), Some(2));
        assert_eq!(at(&one, RepeatKey::SourceOnly, 1_002), None);
        assert_eq!(at(&one, RepeatKey::Unique, 1_003), Some(0));
        assert_eq!(at(&other, RepeatKey::UsernameAndSource, 2_002), Some(1));
    }

    #[test]
    fn the_lines_of_a_source_are_bounded_whatever_usernames_it_presents() {
        let (denials, now) = (DenialLog::new(Arc::default()), clock::now());
        let mut lines = 0;
        for n in 0..10_000_u64 {
            let username = format!("user{}", n % 3_000);
            let denied = DenialRecord {
                entry: Entry::Api,
                username: username.as_bytes(),
                peer: "192.0.2.1".parse::<IpAddr>().unwrap().into(),
                kind: DenialKind::NotHolder,
                reason: "any",
                account: None,
            };
            let at = now + Duration::from_millis(n);
            lines += usize::from(denials.repeated(&denied, RepeatKey::UsernameAndSource, at).is_some());
        }
        // 50 at once, and one a second for 10 s.
        assert!((55..=60).contains(&lines), "{lines} lines");
    }
}
