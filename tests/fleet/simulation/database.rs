//! A database as the nodes see it: the tables of the protocol, what a crash loses of them, and its eras.

use std::collections::BTreeMap;
use std::time::Duration;

use gatepost::domain::Canonical;
use gatepost::domain::fleet::{
    Beat, BeatReply, ChangeToken, Era, LeaseTerms, LogPosition, LogRead, LogRow, NodeId, NodeRow, NodesRead,
};

use crate::common::random::Random;

/// The number of credentials.
pub const NAMES: usize = 12;

/// A statement or transaction of a client.
#[derive(Clone, Debug, Hash)]
pub enum Request {
    Connect,
    Register {
        id: NodeId,
        beat: Beat,
        era: Era,
    },
    Beat {
        id: NodeId,
    },
    Read {
        applied: u64,
    },
    Acknowledge {
        id: NodeId,
        position: LogPosition,
    },
    Settle {
        id: NodeId,
        era: Era,
    },
    Trim,
    Leave {
        id: NodeId,
    },
    /// A change of a credential.
    Change {
        name: usize,
        is_on_disk: bool,
    },
    /// A write without a change, before a wait for what is there.
    Write,
    Look,
    Delete {
        id: NodeId,
        beat: Beat,
        silence: Duration,
    },
    Row {
        name: usize,
    },
    BeginLease {
        lease: Duration,
    },
    FinishLease {
        lease: Duration,
        version: i64,
    },
}

#[derive(Clone, Debug, Hash)]
pub enum Reply {
    Connected(Era),
    Done,
    Beaten(Option<BeatReply>),
    Read(LogRead),
    Committed { number: u64, era: Era, states: Vec<u64> },
    Nodes(NodesRead),
    Row { era: Era, number: u64, state: u64 },
    Terms(LeaseTerms),
    Rows(u64),
}

#[derive(Clone, Debug)]
struct Change {
    name: usize,
    state: u64,
    token: ChangeToken,
}

/// One primary, or one that was.
#[derive(Clone, Debug)]
pub struct Database {
    pub era: Era,
    changes: Vec<Change>,
    /// The number of changes on disk and on the synchronous standby.
    on_disk: usize,
    trimmed_below: u64,
    pub terms: LeaseTerms,
    nodes: BTreeMap<NodeId, NodeRow>,
    /// True for an old primary: its commits wait for a standby that is gone.
    pub is_cut_off: bool,
    /// Incremented whenever all its connections end.
    pub generation: u32,
    /// The time until which the row of the counter is locked, in nanoseconds.
    pub locked_until: u64,
}

/// The name of a credential.
pub fn canonical(name: usize) -> Canonical {
    Canonical::of(format!("credential{name}").as_bytes()).unwrap()
}

impl Database {
    pub fn new(lease: Duration) -> Database {
        Database {
            era: Era { system: 1, timeline: 1, started_at: 1 },
            changes: Vec::new(),
            on_disk: 0,
            trimmed_below: 0,
            terms: LeaseTerms { lease, longest: lease, version: 0 },
            nodes: BTreeMap::new(),
            is_cut_off: false,
            generation: 0,
            locked_until: 0,
        }
    }

    pub fn number(&self) -> u64 {
        self.changes.len() as u64
    }

    /// The state of each credential; 0 where it never changed.
    pub fn states(&self) -> Vec<u64> {
        let mut states = vec![0; NAMES];
        for change in &self.changes {
            states[change.name] = change.state;
        }
        states
    }

    pub fn rows(&self) -> impl Iterator<Item = &NodeRow> {
        self.nodes.values()
    }

    /// Executes a request. `state` is the state that a change makes, a number that grows over the whole simulation. `None` if
    /// it is a write that an old primary cannot commit.
    pub fn execute(&mut self, request: &Request, state: u64, random: &mut Random) -> Option<Reply> {
        let is_flushing = !matches!(
            request,
            Request::Connect
                | Request::Read { .. }
                | Request::Acknowledge { .. }
                | Request::Look
                | Request::Row { .. }
                | Request::Change { is_on_disk: false, .. }
        );
        if self.is_cut_off && is_flushing {
            return None;
        }
        let reply = self.apply(request, state, random);
        if is_flushing {
            self.on_disk = self.changes.len();
        }
        Some(reply)
    }

    fn apply(&mut self, request: &Request, state: u64, random: &mut Random) -> Reply {
        match *request {
            Request::Connect => Reply::Connected(self.era),
            Request::Register { id, beat, era } => {
                self.nodes.insert(id, NodeRow { id, era: Some(era), beat, applied: 0, settled: false });
                Reply::Done
            }
            Request::Beat { id } => {
                let nodes = self.nodes.len() as u32;
                Reply::Beaten(self.nodes.get_mut(&id).map(|row| {
                    row.beat.0 += 1;
                    BeatReply { acknowledged: row.applied, nodes }
                }))
            }
            Request::Read { applied } => Reply::Read(self.read(applied)),
            Request::Acknowledge { id, position } => {
                let is_there = self.token_of(position.number) == Some(position.token);
                if let Some(row) = self.nodes.get_mut(&id).filter(|_| is_there) {
                    row.applied = position.number;
                }
                Reply::Done
            }
            Request::Settle { id, era } => {
                if let Some(row) = self.nodes.get_mut(&id).filter(|row| row.era == Some(era)) {
                    row.settled = true;
                }
                Reply::Done
            }
            Request::Trim => {
                self.trim(random);
                Reply::Done
            }
            Request::Leave { id } => {
                self.nodes.remove(&id);
                Reply::Done
            }
            Request::Change { name, .. } => {
                self.changes.push(Change { name, state, token: ChangeToken(random.number() as i64) });
                self.committed()
            }
            Request::Write => self.committed(),
            Request::Look => {
                let nodes = self.nodes.values().copied().collect();
                Reply::Nodes(NodesRead { era: self.era, terms: self.terms, nodes })
            }
            Request::Delete { id, beat, silence } => {
                let is_same = self.nodes.get(&id).is_some_and(|row| row.beat == beat);
                if is_same && self.terms.longest <= silence {
                    self.nodes.remove(&id);
                }
                Reply::Done
            }
            Request::Row { name } => {
                Reply::Row { era: self.era, number: self.number(), state: self.states()[name] }
            }
            Request::BeginLease { lease } => {
                let LeaseTerms { lease: now, longest, version } = self.terms;
                self.terms =
                    LeaseTerms { lease: now.min(lease), longest: longest.max(lease), version: version + 1 };
                Reply::Terms(self.terms)
            }
            Request::FinishLease { lease, version } if version == self.terms.version => {
                self.terms = LeaseTerms { lease, longest: lease, version };
                Reply::Rows(1)
            }
            Request::FinishLease { .. } => Reply::Rows(0),
        }
    }

    fn committed(&self) -> Reply {
        Reply::Committed { number: self.number(), era: self.era, states: self.states() }
    }

    fn token_of(&self, number: u64) -> Option<ChangeToken> {
        let is_kept = number > 0 && number >= self.trimmed_below;
        self.changes.get((number as usize).wrapping_sub(1)).filter(|_| is_kept).map(|change| change.token)
    }

    fn read(&self, applied: u64) -> LogRead {
        let first = (applied + 1).max(self.trimmed_below);
        let rows = (first..=self.number()).map(|seq| {
            let change = &self.changes[seq as usize - 1];
            LogRow { seq, token: change.token, names: Some(vec![canonical(change.name)]) }
        });
        let number = self.number();
        let token = self.changes.last().map_or(ChangeToken(0), |change| change.token);
        LogRead {
            era: self.era,
            last: LogPosition { number, token },
            token_at_applied: self.token_of(applied),
            rows: rows.collect(),
            trimmed_below: self.trimmed_below,
            terms: self.terms,
        }
    }

    /// Trims a part of the log, and perhaps rows that a node still lacks.
    pub fn trim(&mut self, random: &mut Random) {
        self.trimmed_below = self.trimmed_below.max(random.below(self.number() + 1));
    }

    /// A copy of how the database was some reads ago: what a lagging replica shows.
    pub fn lagging(&self, random: &mut Random) -> Database {
        let mut replica = self.clone();
        replica.changes.truncate((self.number() - random.below(3).min(self.number())) as usize);
        replica
    }

    /// Ends all backends by a crash of one of them. The era stays. What is not on disk is lost, and so are acknowledgements.
    pub fn crash_backends(&mut self, random: &mut Random) {
        self.changes.truncate(self.on_disk);
        self.lose_acknowledgements(random);
        self.generation += 1;
    }

    /// Restarts the server: another era.
    pub fn restart(&mut self, random: &mut Random) {
        self.crash_backends(random);
        self.era.started_at += 1;
    }

    /// The standby that takes the place of this primary. It has everything that a commit has waited for, and rows of nodes
    /// may be missing that were written a moment ago.
    pub fn promoted(&self, random: &mut Random) -> Database {
        let mut standby = self.clone();
        standby.changes.truncate(self.on_disk);
        standby.lose_acknowledgements(random);
        standby.nodes.retain(|_, _| random.chance(70));
        standby.era =
            Era { timeline: self.era.timeline + 1, started_at: self.era.started_at + 10, ..self.era };
        standby.generation += 1;
        standby.locked_until = 0;
        standby
    }

    fn lose_acknowledgements(&mut self, random: &mut Random) {
        let number = self.number();
        for row in self.nodes.values_mut() {
            row.applied = row.applied.min(number).saturating_sub(random.below(3));
        }
    }
}
