//! The log of refusals: one line for each, at level `info` to the target `refusal`, and a bounded number of them for each source.
//!
//! The request's ID leads from what the client was told to the line. Denials of credentials are not written here: they are in the
//! audit trail, with the same ID.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{Level, enabled, info};

use crate::domain::{Entry, LONGEST_NAME, LONGEST_TEXT, shown};
use crate::state::metrics::Metrics;
use crate::state::throttle::SourcePrefix;

/// The target of these lines, for `log.level`.
const TARGET: &str = "refusal";

/// Sources that are told apart at once: sets of slots, in each of which the source that was quiet for the longest time gives way.
const SETS: usize = 128;
const SLOTS: usize = 8;

/// The time that a line takes up of a source that found no slot but one still in use, and the lines of all such sources at once.
const CROWDED_EACH: Duration = Duration::from_millis(5);
const CROWDED_MOST: u32 = 200;

/// A refusal, as it is written. A text that is empty is left out.
#[derive(Clone, Copy, Debug)]
pub struct RefusalLine<'a> {
    /// The entry.
    pub entry: Entry,
    /// The client's own address, not a trusted proxy's.
    pub source: IpAddr,
    /// The ID of the request or mail session, as the client was told.
    pub request_id: &'a str,
    /// The username, as presented.
    pub user: &'a str,
    /// The address on which Gatepost listens.
    pub listener: &'a str,
    /// The status, or the SMTP code with its enhanced code.
    pub code: &'a str,
    /// The reason, in one of the fixed words.
    pub reason: &'a str,
    /// More about it, such as the text for the client.
    pub detail: &'a str,
    /// The URL of the backend.
    pub upstream: &'a str,
    /// The backend's reply.
    pub reply: &'a str,
    /// The number of times that it was refused in a row.
    pub times: u32,
}

impl RefusalLine<'_> {
    /// A refusal of which nothing else is known.
    pub fn new<'a>(entry: Entry, source: IpAddr, reason: &'a str) -> RefusalLine<'a> {
        RefusalLine {
            entry,
            source,
            request_id: "",
            user: "",
            listener: "",
            code: "",
            reason,
            detail: "",
            upstream: "",
            reply: "",
            times: 1,
        }
    }
}

/// The bound on the lines of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinePace {
    /// For refusals that each tell something: 50 lines at once, then one a second.
    Usual,
    /// For what a source can cause in masses: one line in 10 seconds.
    Rare,
}

impl LinePace {
    /// The time that a line takes up, and the lines that may come at once.
    const fn bounds(self) -> (Duration, u32) {
        match self {
            LinePace::Usual => (Duration::from_secs(1), 50),
            LinePace::Rare => (Duration::from_secs(10), 1),
        }
    }
}

/// The writer of these lines.
pub struct RefusalLog {
    sets: Box<[Mutex<[Option<SourcePace>; SLOTS]>]>,
    /// The end of the time that the lines of sources without a free slot take up.
    crowded_until: Mutex<Option<Instant>>,
    hasher: RandomState,
    metrics: Arc<Metrics>,
}

/// The lines of one source.
#[derive(Clone, Copy)]
struct SourcePace {
    source: SourcePrefix,
    pace: LinePace,
    /// The end of the time that its lines take up.
    taken_until: Instant,
    /// Lines that were left out since the last one.
    suppressed: u64,
}

impl RefusalLog {
    /// A log without any lines yet, which counts what it leaves out.
    pub fn new(metrics: Arc<Metrics>) -> RefusalLog {
        let sets = (0..SETS).map(|_| Mutex::new([None; SLOTS])).collect();
        RefusalLog { sets, crowded_until: Mutex::new(None), hasher: RandomState::new(), metrics }
    }

    /// Writes the line, unless there were too many of its source.
    pub fn write(&self, line: &RefusalLine<'_>) {
        self.write_at(line, LinePace::Usual);
    }

    /// Writes the line at a pace for what a source can cause in masses.
    pub fn write_rarely(&self, line: &RefusalLine<'_>) {
        self.write_at(line, LinePace::Rare);
    }

    fn write_at(&self, line: &RefusalLine<'_>, pace: LinePace) {
        if !enabled!(target: TARGET, Level::INFO) {
            return;
        }
        let Some(suppressed) = self.pass(line.source, pace, Instant::now()) else {
            return self.metrics.refusal_lines_suppressed.inc();
        };
        let RefusalLine { listener, code, reason, upstream, .. } = *line;
        let user = shown(line.user.as_bytes(), LONGEST_NAME);
        let (detail, reply) =
            (shown(line.detail.as_bytes(), LONGEST_TEXT), shown(line.reply.as_bytes(), LONGEST_TEXT));
        info!(
            target: TARGET,
            entry = line.entry.as_str(),
            request_id = given(line.request_id),
            source = %line.source,
            user = given(&user),
            listener = given(listener),
            code = given(code),
            reason,
            detail = given(&detail),
            upstream = given(upstream),
            reply = given(&reply),
            times = (line.times > 1).then_some(line.times),
            suppressed = (suppressed > 0).then_some(suppressed),
            "refused",
        );
    }

    /// The number of lines of that source that were left out before this one; `None` if this one is left out, too.
    fn pass(&self, source: IpAddr, pace: LinePace, now: Instant) -> Option<u64> {
        let source = SourcePrefix::of(source);
        let (each, most) = pace.bounds();
        let set = self.hasher.hash_one((source, pace == LinePace::Rare)) as usize % SETS;
        let mut slots = self.sets[set].lock();
        let known = slots.iter_mut().flatten().find(|slot| slot.source == source && slot.pace == pace);
        if let Some(slot) = known {
            let Some(taken_until) = taken_by_another(slot.taken_until, now, (each, most)) else {
                slot.suppressed += 1;
                return None;
            };
            slot.taken_until = taken_until;
            return Some(std::mem::take(&mut slot.suppressed));
        }
        // An empty slot comes first.
        let quietest = slots.iter_mut().min_by_key(|slot| slot.map(|slot| slot.taken_until))?;
        // Otherwise more sources than there are slots would have no bound at all.
        if quietest.is_some_and(|slot| slot.taken_until > now) && !self.passes_crowd(now) {
            return None;
        }
        *quietest = Some(SourcePace { source, pace, taken_until: now + each, suppressed: 0 });
        Some(0)
    }

    /// Returns true if a source without a free slot may have a line.
    fn passes_crowd(&self, now: Instant) -> bool {
        let mut until = self.crowded_until.lock();
        let taken = taken_by_another(until.unwrap_or(now), now, (CROWDED_EACH, CROWDED_MOST));
        *until = taken.or(*until);
        taken.is_some()
    }
}

/// The end of the time that lines take up with another one; `None` if that is too many.
fn taken_by_another(until: Instant, now: Instant, (each, most): (Duration, u32)) -> Option<Instant> {
    let taken_until = until.max(now) + each;
    (taken_until <= now + each * most).then_some(taken_until)
}

/// A text that is left out if it is empty.
fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> RefusalLog {
        RefusalLog::new(Arc::new(Metrics::new()))
    }

    #[test]
    fn each_source_has_lines_of_its_own() {
        let (log, now) = (log(), Instant::now());
        let at = |source: &str, pace, seconds| {
            log.pass(source.parse().unwrap(), pace, now + Duration::from_secs(seconds))
        };
        for _ in 0..50 {
            assert_eq!(at("192.0.2.1", LinePace::Usual, 0), Some(0));
        }
        for _ in 0..3 {
            assert_eq!(at("192.0.2.1", LinePace::Usual, 0), None);
        }
        assert_eq!(at("192.0.2.2", LinePace::Usual, 0), Some(0));
        assert_eq!(at("192.0.2.1", LinePace::Usual, 1), Some(3));
        assert_eq!(at("192.0.2.1", LinePace::Usual, 1), None);
        assert_eq!(at("192.0.2.1", LinePace::Usual, 3), Some(1));
        assert_eq!(at("192.0.2.1", LinePace::Usual, 3), Some(0));
        assert_eq!(at("192.0.2.1", LinePace::Rare, 0), Some(0));
        assert_eq!(
            (at("192.0.2.1", LinePace::Rare, 9), at("192.0.2.1", LinePace::Rare, 10)),
            (None, Some(1))
        );
    }

    #[test]
    fn a_flood_of_sources_takes_no_more_memory() {
        let (log, now) = (log(), Instant::now());
        for source in 0..100_000_u32 {
            log.pass(IpAddr::V4(source.into()), LinePace::Usual, now);
        }
        let used: usize = log.sets.iter().map(|set| set.lock().iter().flatten().count()).sum();
        assert_eq!(used, SETS * SLOTS);
    }

    #[test]
    fn a_flood_of_sources_has_a_bounded_number_of_lines() {
        let (log, now) = (log(), Instant::now());
        let lines = |seconds: u64| {
            let sources = 0..50_000_u32;
            let at = now + Duration::from_secs(seconds);
            let passed = |n: &u32| log.pass(IpAddr::V4((*n).into()), LinePace::Usual, at).is_some();
            sources.filter(passed).count()
        };
        // One for each slot, and those of the others together.
        let bound = SETS * SLOTS + CROWDED_MOST as usize;
        assert_eq!(lines(0), bound);
        for seconds in [0, 0, 1, 1] {
            assert!(lines(seconds) <= bound);
        }
        assert_eq!(
            log.pass("192.0.2.1".parse().unwrap(), LinePace::Usual, now + Duration::from_secs(9)),
            Some(0)
        );
    }
}
