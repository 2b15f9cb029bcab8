//! A session as decisions are made by it: its end, and the end that its last use puts off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::{Entry, Moment, SessionDigest, SessionFacts, SessionId};
use crate::state::clock;
use crate::state::store::{SessionUse, StoredSession};

/// The interval at which a use is noted. A session that is not used ends up to so much early.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// A session that a principal was verified by.
#[derive(Clone)]
pub struct LiveSession {
    /// The digest of its token.
    pub digest: SessionDigest,
    /// The entry that it is for.
    pub entry: Entry,
    id: SessionId,
    created_at: i64,
    ends_at: i64,
    /// The end, however much it is used.
    ends: Moment,
    /// Shared by all copies of the session in this process.
    clock: Arc<IdleClock>,
}

/// The last use of a session by way of this process. All of its copies share it, so that a use on one connection keeps the session alive
/// on all.
pub struct IdleClock {
    id: SessionId,
    /// The time without use after which the session ends.
    idle: Duration,
    /// The end without another use, in nanoseconds of a moment.
    idle_until: AtomicU64,
    /// The last time that the password was given, in seconds since 1970 UTC.
    confirmed_at: AtomicI64,
    /// True while a use waits to be written.
    is_noted: AtomicBool,
}

impl LiveSession {
    /// A session as it is stored. `known` is what this process knows of its use; a later use by way of another process counts as well.
    pub fn of(row: &StoredSession, digest: SessionDigest, known: Option<Arc<IdleClock>>) -> LiveSession {
        let clock = known.unwrap_or_else(|| Arc::new(IdleClock::of(row)));
        clock.put_off(clock::moment_at(row.idle_until));
        clock.confirm(row.confirmed_at);
        LiveSession {
            digest,
            entry: row.entry,
            id: row.id,
            created_at: row.created_at,
            ends_at: row.ends_at,
            ends: clock::moment_at(row.ends_at),
            clock,
        }
    }

    /// The facts of this moment.
    pub fn facts(&self) -> SessionFacts {
        SessionFacts {
            id: self.id,
            created_at: self.created_at,
            confirmed_at: self.clock.confirmed_at.load(Ordering::Relaxed),
            ends_at: self.ends_at,
        }
    }

    /// The number.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns true if it has not run out.
    #[inline]
    pub fn is_alive(&self, now: Moment) -> bool {
        now < self.ends && now < self.clock.idle_until()
    }

    /// The moment at which it runs out if it is not used any more.
    pub fn runs_out(&self) -> Moment {
        self.ends.min(self.clock.idle_until())
    }

    /// Notes a use. Returns the clock, at most once a second, if it is not among those that wait to be written.
    #[inline]
    pub fn note_use(&self, now: Moment) -> Option<&Arc<IdleClock>> {
        let end = now + self.clock.idle;
        if end < self.clock.idle_until() + NOTED_EVERY {
            return None;
        }
        self.clock.put_off(end);
        (!self.clock.is_noted.swap(true, Ordering::AcqRel)).then_some(&self.clock)
    }

    /// The clock that its copies share.
    pub fn clock(&self) -> &Arc<IdleClock> {
        &self.clock
    }
}

impl IdleClock {
    fn of(row: &StoredSession) -> IdleClock {
        let idle = u64::try_from(row.idle_until.saturating_sub(row.used_at)).unwrap_or_default();
        IdleClock {
            id: row.id,
            idle: Duration::from_secs(idle),
            idle_until: AtomicU64::new(Moment::ZERO.as_nanos()),
            confirmed_at: AtomicI64::new(row.confirmed_at),
            is_noted: AtomicBool::new(false),
        }
    }

    /// The session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Takes over the last use that another clock of the same session knows.
    pub fn merge(&self, other: &IdleClock) {
        self.put_off(other.idle_until());
    }

    /// Takes the last use, to be written. A later one is noted anew.
    pub fn take_use(&self) -> SessionUse {
        // First: a use that comes after it sees that it has to be noted, and one before it is seen.
        self.is_noted.swap(false, Ordering::AcqRel);
        SessionUse { id: self.id, used_at: clock::unix_time_at(self.idle_until().before(self.idle)) }
    }

    /// Marks a use as one that still waits to be written.
    pub fn keep_noted(&self) {
        self.is_noted.store(true, Ordering::Release);
    }

    /// Marks a use as one that does not wait to be written, since there is no room for it. The next one tries again.
    pub fn drop_noted(&self) {
        self.is_noted.store(false, Ordering::Release);
    }

    /// Returns true if a use waits to be written.
    pub fn is_noted(&self) -> bool {
        self.is_noted.load(Ordering::Acquire)
    }

    /// Notes that the password was given at that time.
    pub fn confirm(&self, at: i64) {
        self.confirmed_at.fetch_max(at, Ordering::Relaxed);
    }

    #[inline]
    fn idle_until(&self) -> Moment {
        Moment::from_nanos(self.idle_until.load(Ordering::Acquire))
    }

    fn put_off(&self, end: Moment) {
        self.idle_until.fetch_max(end.as_nanos(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountId, Permissions, Principal, PrincipalKind, StoredHash, Username};

    fn row(now: Moment, idle: i64, lifetime: i64) -> StoredSession {
        let at = clock::unix_time_at(now);
        let name = Username::parse("holder").unwrap();
        StoredSession {
            id: SessionId(1),
            entry: Entry::Web,
            created_at: at,
            confirmed_at: at,
            used_at: at,
            idle_until: at + idle,
            ends_at: at + lifetime,
            principal: Principal {
                kind: PrincipalKind::Holder,
                account: AccountId(1),
                account_name: name.clone(),
                name,
                hash: StoredHash::new("h".into()),
                bits: Permissions::ALL,
                rights: Permissions::ALL,
                active: true,
            },
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_session_that_is_used_lives_to_its_end_and_no_longer() {
        let now = clock::now();
        let session = LiveSession::of(&row(now, 60, 100), SessionDigest::from_bytes([0; 32]), None);
        assert!(session.is_alive(now) && session.is_alive(now + seconds(58)));
        assert!(!session.is_alive(now + seconds(61)));
        let noted = session.note_use(now + seconds(50)).unwrap().clone();
        assert!(session.note_use(now + seconds(50)).is_none(), "within the second");
        assert!(session.note_use(now + seconds(52)).is_none(), "it waits to be written");
        // The last use counts, to a second.
        assert_eq!(noted.take_use().used_at, clock::unix_time_at(now + seconds(52)));
        assert!(session.note_use(now + seconds(54)).is_some(), "it does not wait any more");
        assert!(session.is_alive(now + seconds(98)) && !session.is_alive(now + seconds(101)));
        assert_eq!(session.runs_out(), session.ends);
    }

    #[test]
    fn all_copies_have_one_last_use_and_a_row_never_takes_it_back() {
        let now = clock::now();
        let old = row(now, 60, 1000);
        let digest = SessionDigest::from_bytes([0; 32]);
        let one = LiveSession::of(&old, digest, None);
        let other = one.clone();
        assert!(one.note_use(now + seconds(50)).is_some());
        assert!(other.is_alive(now + seconds(100)));
        // Read before the use was written.
        let again = LiveSession::of(&old, digest, Some(one.clock().clone()));
        assert!(again.is_alive(now + seconds(100)) && !again.is_alive(now + seconds(111)));
        // By way of another process.
        let newer = StoredSession { used_at: old.used_at + 90, idle_until: old.idle_until + 90, ..old };
        LiveSession::of(&newer, digest, Some(one.clock().clone()));
        assert!(one.is_alive(now + seconds(140)));
    }

    #[test]
    fn what_ran_out_before_the_machine_was_started_has_run_out() {
        let now = clock::now();
        let old = StoredSession { used_at: 100, idle_until: 200, ends_at: i64::MAX, ..row(now, 1, 1) };
        let session = LiveSession::of(&old, SessionDigest::from_bytes([0; 32]), None);
        assert!(!session.is_alive(now) && !session.is_alive(Moment::ZERO));
        assert_eq!(session.facts().ends_at, i64::MAX);
    }
}
