//! Delays after failures: the more checks failed from a source or for a username, the longer until the next one.
//!
//! Only failures count, and only checks that would cost a password check come here: a secret that the cache has verified
//! is never delayed, and one that is remembered as wrong gains its sender nothing. Usernames that nobody has
//! are treated as those that somebody has.
//!
//! A few failures are free, and each check holds one of the free ones until it is known how it ended. So of a thousand
//! guesses that come at once no more are made than if they came one after another, and a thousand that are right
//! come through, a few at a time.
//!
//! A delay on a username must not lock its owner out, who may come while somebody guesses. So a source that was right for
//! the username lately doesn't meet that delay, and neither does one from which nothing failed lately, once a second
//! for each username: who guesses from a thousand addresses gets one guess a second, and the owner's next attempt from an
//! address without failures goes through. Nor does the delay of a source that others share keep out a username that was right
//! from there lately: once a second it passes.

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

/// Failures without delay.
const FREE: usize = 10;
/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_FOR_SOURCE: Duration = Duration::from_secs(60);
const LONGEST_FOR_USERNAME: Duration = Duration::from_secs(30);
/// A source or username without failures for this long starts over.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The interval at which a source without failures passes the delay of a username, and a known username that of the source.
const PASS_EVERY: Duration = Duration::from_secs(1);
/// The time for which a source is known after it was right.
const KNOWN_LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// Sources, usernames and pairs remembered at most; the least used are forgotten first.
const CAPACITY: u64 = 50_000;
/// Checks of one source or username that wait for how others end, and for how long. As with the hashing itself: who comes
/// later, or has waited for longer, is told to come again.
const WAITING: u32 = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A source to which failures are attributed: an IPv4 address or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourcePrefix {
    /// One address; an IPv4 address written as IPv6 as well.
    V4(u32),
    /// The network of the address: who has one address there has them all.
    V6(u64),
}

/// The failures of all sources and usernames, bounded.
pub struct Throttle {
    on: bool,
    sources: Records<SourcePrefix>,
    usernames: Records<Canonical>,
    known: moka::sync::Cache<(SourcePrefix, Canonical), Arc<Mutex<Known>>, RandomState>,
}

/// A check that is about to be made, and what it holds of the failures that are free.
#[derive(Debug)]
pub struct PendingCheck {
    source: SourcePrefix,
    name: Canonical,
    /// None where nothing is delayed.
    seats: Option<Seats>,
    /// True if it had to wait for others, so that more may be remembered by now.
    pub waited: bool,
}

#[derive(Debug)]
struct Seats {
    from: Seat,
    of: Seat,
}

/// A check that may be made. Dropped, it counts as not made: what it held is free again.
#[must_use = "tell how the check ended"]
#[derive(Debug)]
pub struct AdmittedCheck(PendingCheck);

/// A check that may not be made yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// When to try again.
    pub retry_after: Duration,
    /// Whose failures it was.
    pub by: ThrottledBy,
}

/// A source that was right for a username.
struct Known {
    at: Instant,
    passes_at: Instant,
}

impl SourcePrefix {
    /// Where that address belongs.
    pub fn of(address: IpAddr) -> SourcePrefix {
        match address.to_canonical() {
            IpAddr::V4(v4) => SourcePrefix::V4(v4.to_bits()),
            IpAddr::V6(v6) => SourcePrefix::V6((v6.to_bits() >> 64) as u64),
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

    /// Returns true if failures are delayed at all.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Waits until it is known whether there is a free failure left to hold, where others hold the last ones.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] where too many wait already, or it takes longer than 15 s.
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

    /// Allows a check now, or not.
    ///
    /// # Errors
    /// When to try again, and whose failures it was.
    pub fn admit(&self, mut turn: PendingCheck, now: Instant) -> Result<AdmittedCheck, Delayed> {
        let known = self.known.get(&(turn.source, turn.name));
        let known = known.filter(|known| known.lock().lasts(now));
        let Some(Seats { from, of }) = &mut turn.seats else { return Ok(AdmittedCheck(turn)) };
        // Both at once and always in this order: of a hundred that ask at once, one goes through.
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

    /// The source has presented the right secret for the username.
    pub fn know(&self, source: SourcePrefix, name: &Canonical, now: Instant) {
        let fresh = || Arc::new(Mutex::new(Known { at: now, passes_at: now }));
        self.known.get_with((source, *name), fresh).lock().at = now;
    }

    /// Returns true if the source was recently right for the username.
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
