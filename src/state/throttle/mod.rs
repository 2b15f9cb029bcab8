//! Delays after failures: the more checks failed from a source or for a username, the longer until the next one.
//!
//! Only failures count, and only checks that would cost a password check come here. A secret that the cache has verified is
//! never delayed, and one that is remembered as wrong gains its sender nothing. Usernames that do not exist are treated as
//! those that do.
//!
//! A few failures are free, and each check holds one of them until its result is known. So a thousand guesses at once get no more
//! checks than a thousand one after another, and a thousand right secrets pass, a few at a time.
//!
//! Once a source is delayed, its delay is all that its checks depend on: [`Throttle::source_delay`] takes no username. A check that
//! it refuses may still be made in silence ([`Throttle::pass_quietly`]), and lets its sender in if the secret is right. If it is
//! wrong, the answer and its time are those of the refusal, and no failure is counted, since that would show later. What is counted makes
//! further silent checks rarer, and nothing else.
//!
//! A delay on a username must not lock out its owner, who may log in while an attacker guesses:
//!
//! - Checks from a network that is known for the username have a lane of their own, with failures of their own. It is used once the
//!   username has no free failures left, for right and wrong secrets alike.
//! - A source without recent failures passes once a second for each lane of a username.

mod quiet;
mod record;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use self::quiet::QuietChecks;
pub use self::quiet::QuietPass;
use self::record::{Records, Seat};
use super::metrics::ThrottledBy;
use crate::domain::{Canonical, ClientNetwork, Moment, Unavailable};

/// The number of failures without a delay.
const FREE: usize = 10;
/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_FOR_SOURCE: Duration = Duration::from_secs(60);
const LONGEST_FOR_USERNAME: Duration = Duration::from_secs(30);
/// The time of a denial without a password check: about as long as some password checks.
pub const PACED_AFTER: Duration = Duration::from_millis(250);
/// The time of the throttle's own denial, if the delay is as long.
const THROTTLED_AFTER: Duration = Duration::from_secs(1);
/// A source or username without failures for this long starts over.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The interval at which a source without failures passes the delay of a username, and the shortest one between two silent checks.
const PASS_EVERY: Duration = Duration::from_secs(1);
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
    names: Records<NameLane>,
    quiet: QuietChecks,
}

/// A username, as checks from one network or from all others present it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct NameLane {
    name: Canonical,
    /// The network, if it is known for the username.
    network: Option<ClientNetwork>,
}

/// A check that is about to be made, and the free failures that it holds.
#[derive(Debug)]
pub struct PendingCheck {
    source: SourcePrefix,
    lane: NameLane,
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

impl Delayed {
    /// The time after its beginning at which the check is answered: the delay, within bounds.
    pub fn answered_after(&self) -> Duration {
        self.retry_after.clamp(PACED_AFTER, THROTTLED_AFTER)
    }
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
    /// Creates a throttle that has seen no failure. If it is not `on`, it delays no check.
    pub fn new(on: bool) -> Throttle {
        Throttle {
            on,
            sources: Records::new(LONGEST_FOR_SOURCE),
            names: Records::new(LONGEST_FOR_USERNAME),
            quiet: QuietChecks::new(),
        }
    }

    /// Returns true if failures cause delays.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// The delay of a source, if it has one: then every check from it is refused, whatever the username.
    pub fn source_delay(&self, source: SourcePrefix, now: Moment) -> Option<Delayed> {
        let retry_after = self.sources.known(&source, now)?.delay(now)?;
        Some(Delayed { retry_after, by: ThrottledBy::Source })
    }

    /// Admits a check in spite of the delay of its source: once a second for each network and username, and rarer after ten wrong ones.
    /// Only for a username that is known from that network, and only if a wrong secret leaves no trace but in
    /// [`Throttle::failed_quietly`].
    pub fn pass_quietly(&self, network: ClientNetwork, name: &Canonical, now: Moment) -> Option<QuietPass> {
        self.quiet.pass(network, name, now)
    }

    /// The silent check was wrong.
    pub fn failed_quietly(&self, pass: QuietPass) {
        if self.on {
            pass.was_wrong();
        }
    }

    /// Takes a free failure. If other checks hold the last ones, waits for their results. `known` is awaited only if the username has
    /// no free failure at hand, and tells if `network` is known for it.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if too many wait already, or it takes longer than 15 s.
    pub async fn turn(
        &self,
        source: SourcePrefix,
        network: ClientNetwork,
        name: &Canonical,
        now: Moment,
        known: impl Future<Output = bool>,
    ) -> Result<PendingCheck, Unavailable> {
        let mut lane = NameLane { name: *name, network: None };
        if !self.on {
            return Ok(PendingCheck { source, lane, seats: None, waited: false });
        }
        let mut from = Seat::at(self.sources.record(&source, now));
        let mut waited = from.take().await?;
        let mut of = Seat::at(self.names.record(&lane, now));
        if !of.take_at_once() && known.await {
            lane.network = Some(network);
            of = Seat::at(self.names.record(&lane, now));
        }
        waited |= of.take().await?;
        Ok(PendingCheck { source, lane, seats: Some(Seats { from, of }), waited })
    }

    /// Admits a check, or tells when to try again.
    ///
    /// # Errors
    /// The time after which to try again, and the origin of the failures.
    pub fn admit(&self, mut turn: PendingCheck, now: Moment) -> Result<AdmittedCheck, Delayed> {
        let Some(Seats { from, of }) = &mut turn.seats else { return Ok(AdmittedCheck(turn)) };
        // Both locks at once and always in this order: of a hundred simultaneous checks, one passes.
        let (mut by_source, mut by_name) = (from.record.lock(), of.record.lock());
        if !from.is_taken()
            && let Some(retry_after) = by_source.wait(now)
        {
            return Err(Delayed { retry_after, by: ThrottledBy::Source });
        }
        if !of.is_taken() {
            match by_name.wait(now) {
                Some(retry_after) if by_source.has_failed() || !by_name.pass(now) => {
                    return Err(Delayed { retry_after, by: ThrottledBy::Username });
                }
                Some(_) => {}
                None => of.slot = Some(by_name.take_slot(self.names.longest, now)),
            }
        }
        if !from.is_taken() {
            from.slot = Some(by_source.take_slot(self.sources.longest, now));
        }
        drop((by_source, by_name));
        Ok(AdmittedCheck(turn))
    }

    /// The check was right.
    pub fn succeeded(&self, admission: AdmittedCheck) {
        // What it held is given back.
        drop(admission);
    }

    /// The check was wrong.
    pub fn failed(&self, admission: AdmittedCheck, now: Moment) {
        let PendingCheck { source, lane, seats, .. } = admission.0;
        if let Some(Seats { from, of }) = seats {
            self.sources.fail(source, from, now);
            self.names.fail(lane, of, now);
        }
    }
}
