//! Delays after failures: the more checks failed from a source or for a username, the longer until the next one.
//!
//! Only failures count, and only checks that would cost a password check come here: a secret that the cache has verified
//! is never delayed, and one that is remembered as wrong gains its sender nothing. Usernames that nobody has
//! are treated as those that somebody has.
//!
//! A delay on a username must not lock its owner out, who may come while somebody guesses. So a source that was right for
//! the username lately doesn't meet that delay, and neither does one from which nothing failed lately, once a second
//! for each username: who guesses from a thousand addresses gets one guess a second, and the owner's next attempt from an
//! address without failures goes through.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::metrics::ThrottledBy;
use crate::domain::Canonical;

/// Failures without delay.
const FREE: u32 = 10;
/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_FOR_SOURCE: Duration = Duration::from_secs(60);
const LONGEST_FOR_USERNAME: Duration = Duration::from_secs(30);
/// A source or username without failures for this long starts over.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How often a source without failures passes over the delay of a username.
const FRESH_SOURCE_EVERY: Duration = Duration::from_secs(1);
/// How long a source is known after it was right.
const KNOWN_LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// Sources, usernames and pairs remembered at most; the least used are forgotten first.
const CAPACITY: u64 = 50_000;

/// Who fails, as far as one can be told from another: an IPv4 address or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// One address; an IPv4 address written as IPv6 as well.
    V4(u32),
    /// The network of the address: who has one address there has them all.
    V6(u64),
}

/// The failures of all sources and usernames, bounded.
pub struct Throttle {
    on: bool,
    sources: Records<Source>,
    usernames: Records<Canonical>,
    known: moka::sync::Cache<(Source, Canonical), Instant, RandomState>,
}

/// A check that may be made. While delays are in force it holds the next slot, and gives it back where it is right.
#[must_use = "tell how the check ended"]
#[derive(Debug)]
pub struct Admission {
    source: Source,
    name: Canonical,
    source_slot: Option<Instant>,
    name_slot: Option<Instant>,
}

/// A check that may not be made yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// When to try again.
    pub retry_after: Duration,
    /// Whose failures it was.
    pub by: ThrottledBy,
}

struct Records<K> {
    records: moka::sync::Cache<K, Arc<Mutex<Record>>, RandomState>,
    longest: Duration,
}

#[derive(Debug)]
struct Record {
    failures: u32,
    last: Instant,
    /// Nobody has to wait before a first delay is due.
    until: Option<Instant>,
    fresh_source_at: Instant,
}

impl Source {
    /// Where that address belongs.
    pub fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(v4) => Source::V4(v4.to_bits()),
            IpAddr::V6(v6) => Source::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

impl Throttle {
    /// No failures yet. Where it is not `on`, it delays nobody and still knows who was right lately.
    pub fn new(on: bool) -> Throttle {
        let known = moka::sync::Cache::builder().max_capacity(CAPACITY);
        Throttle {
            on,
            sources: Records::new(LONGEST_FOR_SOURCE),
            usernames: Records::new(LONGEST_FOR_USERNAME),
            known: known.build_with_hasher(RandomState::default()),
        }
    }

    /// Whether failures have delays at all.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Whether a check may be made now.
    ///
    /// # Errors
    /// When to try again, and whose failures it was.
    pub fn admit(&self, source: Source, name: &Canonical, now: Instant) -> Result<Admission, Delayed> {
        let mut admission = Admission { source, name: *name, source_slot: None, name_slot: None };
        if !self.on {
            return Ok(admission);
        }
        let by_source = self.sources.find(&source, now);
        if let Some(retry_after) = by_source.as_ref().and_then(|record| record.lock().wait(now)) {
            return Err(Delayed { retry_after, by: ThrottledBy::Source });
        }
        if !self.is_known(source, name, now)
            && let Some(record) = self.usernames.find(name, now)
        {
            let mut record = record.lock();
            if let Some(retry_after) = record.wait(now) {
                if by_source.is_some() || now < record.fresh_source_at {
                    return Err(Delayed { retry_after, by: ThrottledBy::Username });
                }
                record.fresh_source_at = now + FRESH_SOURCE_EVERY;
            } else {
                admission.name_slot = record.take_slot(self.usernames.longest, now);
            }
        }
        // The slot is taken now and not when the check has failed: of a hundred that ask at once, one goes through.
        admission.source_slot =
            by_source.and_then(|record| record.lock().take_slot(self.sources.longest, now));
        Ok(admission)
    }

    /// The check was right.
    pub fn succeeded(&self, admission: Admission, now: Instant) {
        self.know(admission.source, &admission.name, now);
        self.withdrawn(admission);
    }

    /// The check couldn't be made after all.
    pub fn withdrawn(&self, admission: Admission) {
        self.sources.give_back(&admission.source, admission.source_slot);
        self.usernames.give_back(&admission.name, admission.name_slot);
    }

    /// The check was wrong.
    pub fn failed(&self, admission: Admission, now: Instant) {
        if self.on {
            self.sources.fail(admission.source, now);
            self.usernames.fail(admission.name, now);
        }
    }

    /// The source has presented the right secret for the username.
    pub fn know(&self, source: Source, name: &Canonical, now: Instant) {
        self.known.insert((source, *name), now);
    }

    /// Whether the source was right for the username lately.
    pub fn is_known(&self, source: Source, name: &Canonical, now: Instant) -> bool {
        let known = self.known.get(&(source, *name));
        known.is_some_and(|at| now.saturating_duration_since(at) < KNOWN_LASTS)
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Records<K> {
    fn new(longest: Duration) -> Records<K> {
        let records = moka::sync::Cache::builder().max_capacity(CAPACITY).time_to_idle(WINDOW);
        Records { records: records.build_with_hasher(RandomState::default()), longest }
    }

    /// The record of lately failed checks, where there is one.
    fn find(&self, key: &K, now: Instant) -> Option<Arc<Mutex<Record>>> {
        let record = self.records.get(key)?;
        let recent = now.saturating_duration_since(record.lock().last) < WINDOW;
        recent.then_some(record)
    }

    fn fail(&self, key: K, now: Instant) {
        let empty =
            || Arc::new(Mutex::new(Record { failures: 0, last: now, until: None, fresh_source_at: now }));
        self.records.get_with(key, empty).lock().fail(self.longest, now);
    }

    fn give_back(&self, key: &K, slot: Option<Instant>) {
        if let Some(slot) = slot
            && let Some(record) = self.records.get(key)
        {
            let mut record = record.lock();
            // Unless somebody failed meanwhile: then the delay is that failure's.
            if record.until == Some(slot) {
                record.until = None;
            }
        }
    }
}

impl Record {
    /// How long to wait, where one has to.
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Keeps others waiting while a check is made, once failures have used up what is free.
    fn take_slot(&mut self, longest: Duration, now: Instant) -> Option<Instant> {
        if self.failures >= FREE {
            self.until = Some(now + self.delay(longest));
            return self.until;
        }
        None
    }

    fn fail(&mut self, longest: Duration, now: Instant) {
        if now.saturating_duration_since(self.last) >= WINDOW {
            self.failures = 0;
        }
        self.last = now.max(self.last);
        if self.failures >= FREE {
            self.until = self.until.max(Some(now + self.delay(longest)));
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// What the next failure costs.
    fn delay(&self, longest: Duration) -> Duration {
        let doublings = self.failures.saturating_sub(FREE).min(16);
        (FIRST_DELAY * 2u32.pow(doublings)).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    fn name(text: &str) -> Canonical {
        Canonical::of(text.as_bytes()).unwrap()
    }

    /// Fails as often as it may, waiting whenever told to; returns the waits.
    fn guess(throttle: &Throttle, from: &str, user: &str, times: u32, now: &mut Instant) -> Vec<Duration> {
        let mut waits = Vec::new();
        for _ in 0..times {
            loop {
                match throttle.admit(source(from), &name(user), *now) {
                    Ok(admission) => break throttle.failed(admission, *now),
                    Err(delayed) => {
                        waits.push(delayed.retry_after);
                        *now += delayed.retry_after;
                    }
                }
            }
        }
        waits
    }

    fn by(result: Result<Admission, Delayed>) -> Option<ThrottledBy> {
        result.err().map(|delayed| delayed.by)
    }

    #[test]
    fn delays_double_after_what_is_free_up_to_a_bound() {
        let (throttle, mut now) = (Throttle::new(true), Instant::now());
        let waits = guess(&throttle, "192.0.2.1", "someone", 10, &mut now);
        assert_eq!(waits, [Duration::ZERO; 0], "ten are free");
        let waits = guess(&throttle, "192.0.2.1", "someone", 20, &mut now);
        let millis: Vec<u128> = waits.iter().map(Duration::as_millis).collect();
        assert_eq!(millis[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(millis.last(), Some(&60_000));
    }

    #[test]
    fn one_source_is_delayed_whatever_the_username() {
        let (throttle, mut now) = (Throttle::new(true), Instant::now());
        for n in 0..12 {
            guess(&throttle, "2001:db8:1:2::1", &format!("user{n}"), 1, &mut now);
        }
        assert_eq!(
            by(throttle.admit(source("2001:db8:1:2:ffff::"), &name("fresh"), now)),
            Some(ThrottledBy::Source)
        );
        assert_eq!(by(throttle.admit(source("2001:db8:1:3::1"), &name("fresh"), now)), None);
    }

    #[test]
    fn an_ipv4_address_is_the_same_in_either_spelling() {
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.2"), source("192.0.2.1"));
    }

    #[test]
    fn guesses_from_everywhere_get_one_a_second() {
        let (throttle, mut now) = (Throttle::new(true), Instant::now());
        for n in 0..20 {
            guess(&throttle, &format!("192.0.2.{n}"), "someone", 1, &mut now);
        }
        // Each comes from an address that hasn't failed.
        let passed = (0..200).filter(|n| {
            now += Duration::from_millis(50);
            let admitted = throttle.admit(source(&format!("198.51.100.{n}")), &name("someone"), now);
            admitted.map(|admission| throttle.failed(admission, now)).is_ok()
        });
        assert_eq!(passed.count(), 10, "in ten seconds");
    }

    #[test]
    fn the_owner_is_not_locked_out() {
        let (throttle, mut now) = (Throttle::new(true), Instant::now());
        let (owner, user) = (source("203.0.113.5"), name("someone"));
        throttle.know(owner, &user, now);
        guess(&throttle, "192.0.2.1", "someone", 15, &mut now);
        guess(&throttle, "192.0.2.2", "someone", 5, &mut now);
        assert_eq!(by(throttle.admit(source("192.0.2.2"), &user, now)), Some(ThrottledBy::Username));
        for _ in 0..5 {
            let admission = throttle.admit(owner, &user, now).expect("a known source goes through");
            throttle.succeeded(admission, now);
        }
        let stranger = source("203.0.113.9");
        let admission = throttle.admit(stranger, &user, now).expect("so does one that hasn't failed");
        throttle.succeeded(admission, now);
        assert!(throttle.is_known(stranger, &user, now));
        assert_eq!(by(throttle.admit(source("192.0.2.2"), &user, now)), Some(ThrottledBy::Username));
    }

    #[test]
    fn of_many_at_once_one_goes_through_and_a_right_one_makes_room() {
        let (throttle, mut now) = (Throttle::new(true), Instant::now());
        guess(&throttle, "192.0.2.1", "someone", 12, &mut now);
        now += Duration::from_secs(1);
        let admit = || throttle.admit(source("192.0.2.1"), &name("another"), now);
        let first = admit().unwrap();
        assert_eq!(by(admit()), Some(ThrottledBy::Source));
        throttle.succeeded(first, now);
        throttle.failed(admit().unwrap(), now);
        assert_eq!(by(admit()), Some(ThrottledBy::Source));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let (throttle, mut now) = (Throttle::new(true), Instant::now());
        guess(&throttle, "192.0.2.1", "someone", 15, &mut now);
        now += WINDOW;
        assert_eq!(guess(&throttle, "192.0.2.1", "someone", 10, &mut now), [Duration::ZERO; 0]);
    }

    #[test]
    fn switched_off_it_delays_nobody() {
        let (throttle, mut now) = (Throttle::new(false), Instant::now());
        assert_eq!(guess(&throttle, "192.0.2.1", "someone", 100, &mut now), [Duration::ZERO; 0]);
    }
}
