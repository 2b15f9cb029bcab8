//! A process: its clock, its cache, and the state machines that it drives.

use std::collections::BTreeMap;

use gatepost::domain::Moment;
use gatepost::domain::fleet::{Application, ChangeToken, Era, Member, Revoker, Staleness, WaitId};

use super::database::{NAMES, canonical};
use crate::common::random::Random;

/// A clock that runs at most 2.5 percent too fast or too slow, from an origin of its own.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset: u64,
    parts_per_million: i64,
}

impl Clock {
    pub fn random(random: &mut Random) -> Clock {
        Clock { offset: random.below(1 << 50), parts_per_million: random.below(50_001) as i64 - 25_000 }
    }

    /// What it shows at a time of the simulation, in nanoseconds.
    pub fn at(&self, time: u64) -> Moment {
        let drift = time as i128 * i128::from(self.parts_per_million) / 1_000_000;
        Moment::from_nanos((self.offset as i128 + time as i128 + drift) as u64)
    }

    /// The earliest time of the simulation at which it shows `moment`.
    pub fn time_of(&self, moment: Moment) -> u64 {
        let passed = moment.as_nanos().saturating_sub(self.offset) as i128;
        let time = passed * 1_000_000 / i128::from(1_000_000 + self.parts_per_million);
        u64::try_from(time).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// A row that was read, and the epoch from before that.
#[derive(Clone, Copy, Debug)]
struct Entry {
    state: u64,
    seen: u64,
}

/// The cache, the epochs, trust, and the lowest number of cold reads.
#[derive(Clone, Debug)]
pub struct Decisions {
    entries: BTreeMap<usize, Entry>,
    sequence: u64,
    shards: [u64; NAMES],
    all: u64,
    pub trust: Moment,
    pub lowest: Option<(Era, u64)>,
}

impl Decisions {
    pub fn new() -> Decisions {
        Decisions {
            entries: BTreeMap::new(),
            sequence: 0,
            shards: [0; NAMES],
            all: 0,
            trust: Moment::ZERO,
            lowest: None,
        }
    }

    pub fn holds(&self, now: Moment) -> bool {
        now < self.trust
    }

    /// The state in the cache, if it may be used.
    pub fn cached(&self, name: usize) -> Option<u64> {
        let entry = self.entries.get(&name)?;
        (self.shards[name] <= entry.seen && self.all <= entry.seen).then_some(entry.state)
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn insert(&mut self, name: usize, state: u64, seen: u64) {
        self.entries.insert(name, Entry { state, seen });
    }

    pub fn raise(&mut self, name: usize) {
        self.sequence += 1;
        self.shards[name] = self.sequence;
    }

    /// Takes a number below which no row may be used from now on.
    pub fn raise_lowest(&mut self, era: Era, number: u64) {
        let present = self.lowest.filter(|(known, _)| *known == era).map_or(0, |(_, number)| number);
        self.lowest = Some((era, number.max(present)));
    }

    /// The same for the number of an own change, within the known era. Its answer may come late, from a primary that the others have
    /// left.
    pub fn raise_lowest_within_era(&mut self, era: Era, number: u64) {
        if self.lowest.is_none_or(|(known, _)| known == era) {
            self.raise_lowest(era, number);
        }
    }

    /// Carries out what a read of the log asks for, in its order.
    pub fn apply(&mut self, application: &Application) {
        self.raise_lowest(application.lowest.0, application.lowest.1);
        match &application.stale {
            Staleness::Everything => {
                self.sequence += 1;
                self.all = self.sequence;
            }
            Staleness::Names(names) => {
                for name in (0..NAMES).filter(|name| names.contains(&canonical(*name))) {
                    self.raise(name);
                }
            }
        }
        self.trust = self.trust.max(application.trust_until.unwrap_or(Moment::ZERO));
    }
}

/// The thing that a wait is for.
#[derive(Clone, Debug)]
pub struct Pending {
    pub began: u64,
    /// The states that no check may precede once it is answered.
    pub states: Vec<u64>,
}

pub struct Process {
    /// Distinguishes this process from earlier ones in its place.
    pub incarnation: u32,
    pub is_running: bool,
    /// True for a command, which has no row and no cache.
    pub is_command: bool,
    /// The time until which it does nothing, while its clock goes on.
    pub stopped_until: u64,
    pub clock: Clock,
    pub member: Member,
    /// The token of the last change that was read.
    pub token: Option<ChangeToken>,
    /// The open connections of the loops.
    pub member_link: Option<usize>,
    pub revoker: Revoker,
    pub revoker_link: Option<usize>,
    pub waits: BTreeMap<WaitId, Pending>,
    pub decisions: Decisions,
}

impl Process {
    pub fn new(incarnation: u32, is_command: bool, random: &mut Random) -> Process {
        Process {
            incarnation,
            is_running: true,
            is_command,
            stopped_until: 0,
            clock: Clock::random(random),
            member: Member::new(),
            token: None,
            member_link: None,
            revoker: Revoker::new(),
            revoker_link: None,
            waits: BTreeMap::new(),
            decisions: Decisions::new(),
        }
    }

    pub fn is_stopped(&self, time: u64) -> bool {
        time < self.stopped_until
    }

    /// True if it decides.
    pub fn has_trust(&self, time: u64) -> bool {
        self.is_running && self.decisions.holds(self.clock.at(time))
    }
}
