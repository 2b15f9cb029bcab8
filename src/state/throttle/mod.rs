//! Delays after failures: the more checks failed from a source or for a username, the longer until the next one.
//!
//! Only failures count, and only checks that would cost a password check come here. A secret that the cache has verified is
//! never delayed, and one that is remembered as wrong gains its sender nothing. Usernames that do not exist are treated as
//! those that do.
//!
//! A few failures are free, and each check holds one of them until its result is known. So a thousand guesses at once get no more
//! checks than a thousand one after another, and a thousand right secrets pass, a few at a time.
//!
//! A delay on a username must not lock out its owner, who may log in while an attacker guesses:
//!
//! - A source that was right for the username lately is not delayed by it.
//! - A source without recent failures passes once a second for each username. An attacker with a thousand addresses gets
//!   one guess a second, and the owner's next attempt from an address without failures passes.
//! - A username that was right from a shared source lately passes the delay of the source once a second.

mod record;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use self::record::{Records, Seat};
use super::metrics::ThrottledBy;
use crate::domain::{Canonical, Unavailable};

/// The number of failures without a delay.
const FREE: usize = 10;
/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_FOR_SOURCE: Duration = Duration::from_secs(60);
const LONGEST_FOR_USERNAME: Duration = Duration::from_secs(30);
/// A source or username without failures for this long starts over.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The interval at which a source without failures passes the delay of a username, and a known username that of its source.
const PASS_EVERY: Duration = Duration::from_secs(1);
/// The time for which a source is known for a username after it was right.
const KNOWN_LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// Sources, usernames and pairs remembered at most; the least used are forgotten first.
const CAPACITY: u64 = 50_000;
/// The most checks of one source or username that wait for the results of others, and the longest wait. As with the hashing
/// itself, further clients are told to try again.
const WAITING: u32 = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The unit by which clients are told apart: an IPv4 address or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourcePrefix {
    /// A single address, also if it is written as an IPv6 address.
    V4(u32),
    /// The network of the address: a client with one address in it has them all.
    V6(u64),
}

/// The failures of all sources and usernames, bounded.
pub struct Throttle {
    on: bool,
    sources: Records<SourcePrefix>,
    usernames: Records<Canonical>,
    known: moka::sync::Cache<(SourcePrefix, Canonical), Arc<Mutex<Known>>, RandomState>,
}

/// A check that is about to be made, and the free failures that it holds.
#[derive(Debug)]
pub struct PendingCheck {
    source: SourcePrefix,
    name: Canonical,
    /// None if the throttle is off.
    seats: Option<Seats>,
    /// True if it had to wait for others. The cache may know more by now.
    pub waited: bool,
}

#[derive(Debug)]
struct Seats {
    from: Seat,
    of: Seat,
}

/// A check that may be made. If it is dropped, it counts as not made, and gives back what it held.
#[must_use = "tell how the check ended"]
#[derive(Debug)]
pub struct AdmittedCheck(PendingCheck);

/// A check that may not be made yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// The time after which to try again.
    pub retry_after: Duration,
    /// The origin of the failures.
    pub by: ThrottledBy,
}

/// A source that has presented the right secret for a username.
struct Known {
    at: Instant,
    passes_at: Instant,
}

impl SourcePrefix {
    /// The unit to which an address belongs.
    pub fn of(address: IpAddr) -> SourcePrefix {
        match address.to_canonical() {
            IpAddr::V4(v4) => SourcePrefix::V4(v4.to_bits()),
            IpAddr::V6(v6) => SourcePrefix::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

impl Throttle {
    /// No failures yet. If it is not `on`, it delays no check, and still knows which sources were right lately.
    pub fn new(on: bool) -> Throttle {
        let known = moka::sync::Cache::builder().max_capacity(CAPACITY);
        Throttle {
            on,
            sources: Records::new(LONGEST_FOR_SOURCE),
            usernames: Records::new(LONGEST_FOR_USERNAME),
            known: known.build_with_hasher(RandomState::default()),
        }
    }

    /// Returns true if failures cause delays.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Takes a free failure. If other checks hold the last ones, waits for their results.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if too many wait already, or it takes longer than 15 s.
    pub async fn turn(
        &self,
        source: SourcePrefix,
        name: &Canonical,
        now: Instant,
    ) -> Result<PendingCheck, Unavailable> {
        let mut turn = PendingCheck { source, name: *name, seats: None, waited: false };
        if !self.on {
            return Ok(turn);
        }
        let mut from = Seat::at(self.sources.record(&source, now));
        let mut of = Seat::at(self.usernames.record(name, now));
        turn.waited = from.take().await?;
        if !self.is_known(source, name, now) {
            turn.waited |= of.take().await?;
        }
        turn.seats = Some(Seats { from, of });
        Ok(turn)
    }

    /// Admits a check, or tells when to try again.
    ///
    /// # Errors
    /// The time after which to try again, and the origin of the failures.
    pub fn admit(&self, mut turn: PendingCheck, now: Instant) -> Result<AdmittedCheck, Delayed> {
        let known = self.known.get(&(turn.source, turn.name));
        let known = known.filter(|known| known.lock().lasts(now));
        let Some(Seats { from, of }) = &mut turn.seats else { return Ok(AdmittedCheck(turn)) };
        // Both locks at once and always in this order: of a hundred simultaneous checks, one passes.
        let (mut by_source, mut by_name) = (from.record.lock(), of.record.lock());
        let mut source_passes = from.is_taken();
        if !source_passes && let Some(retry_after) = by_source.wait(now) {
            source_passes = known.as_ref().is_some_and(|known| known.lock().pass(now));
            if !source_passes {
                return Err(Delayed { retry_after, by: ThrottledBy::Source });
            }
        }
        if known.is_none() && !of.is_taken() {
            match by_name.wait(now) {
                Some(retry_after) if by_source.has_failed() || !by_name.pass(now) => {
                    return Err(Delayed { retry_after, by: ThrottledBy::Username });
                }
                Some(_) => {}
                None => of.slot = Some(by_name.take_slot(self.usernames.longest, now)),
            }
        }
        if !source_passes {
            from.slot = Some(by_source.take_slot(self.sources.longest, now));
        }
        drop((by_source, by_name));
        Ok(AdmittedCheck(turn))
    }

    /// The check was right.
    pub fn succeeded(&self, admission: AdmittedCheck, now: Instant) {
        self.know(admission.0.source, &admission.0.name, now);
    }

    /// The check was wrong.
    pub fn failed(&self, admission: AdmittedCheck, now: Instant) {
        let PendingCheck { source, name, seats, .. } = admission.0;
        if let Some(Seats { from, of }) = seats {
            self.sources.fail(source, from, now);
            self.usernames.fail(name, of, now);
        }
    }

    /// Notes that the source has presented the right secret for the username.
    pub fn know(&self, source: SourcePrefix, name: &Canonical, now: Instant) {
        let fresh = || Arc::new(Mutex::new(Known { at: now, passes_at: now }));
        self.known.get_with((source, *name), fresh).lock().at = now;
    }

    /// Returns true if the source was right for the username lately.
    pub fn is_known(&self, source: SourcePrefix, name: &Canonical, now: Instant) -> bool {
        self.known.get(&(source, *name)).is_some_and(|known| known.lock().lasts(now))
    }
}

impl Known {
    fn lasts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < KNOWN_LASTS
    }

    fn pass(&mut self, now: Instant) -> bool {
        let passes = now >= self.passes_at;
        if passes {
            self.passes_at = now + PASS_EVERY;
        }
        passes
    }
}
