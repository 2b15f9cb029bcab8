//! The state of the model. Time is relative: the clock always shows the same moment, and a tick makes everything older.

use std::time::Duration;

use gatepost::domain::Moment;
use gatepost::domain::fleet::{Bell, LeaseChange, LogPosition, Member, NodeId, NodesRead, Revoker, WaitId};

use super::cold_steps::{ColdReads, Effect};
use super::database::{ChangeSet, Database, Snapshot, era};
use super::setup::{Feature, Setup};

/// A tick in nanoseconds. All paces of the machines are shorter than a tick.
pub const TICK: u64 = 1_100_000_000;
/// A time that counts as none: that between acknowledgements, looks or polls.
const SHORTEST: Duration = Duration::from_millis(25);
/// The moment of now, always.
pub const NOW: Moment = Moment::from_nanos(1000 * TICK);
/// The row of M, a node that has always applied everything, and that of a second process on the host of the node.
pub const M: NodeId = NodeId(90);
pub const CHILD: NodeId = NodeId(91);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub db: Database,
    /// The old primary, after a failover.
    pub old: Option<Database>,
    pub has_failed_over: bool,
    /// The ticks since the era began.
    pub era_age: u8,
    pub restarts: u8,
    /// The era in which the row of M is settled.
    pub settled: Option<u8>,
    /// The column `applied` of a second process on the host of the node.
    pub child: Option<u8>,
    pub pause: Pause,
    pub has_plain: bool,
    pub nodes: Vec<Node>,
    pub revokers: Vec<Process>,
    pub commands: Vec<(LeaseChange, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pause {
    Before,
    During,
    After,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub member: Member,
    pub link: Link,
    pub flight: Flight,
    pub trust: Moment,
    /// The changes that whatever the node has cached includes at least.
    pub believed: ChangeSet,
    pub cold: ColdReads,
    /// An acknowledgement that is under way on a connection that was lost.
    pub late: Option<(NodeId, LogPosition)>,
}

/// The database at the other end of the connection of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    None,
    Primary,
    Old,
}

/// A statement of a node that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Flight {
    None,
    Register { id: NodeId, era: u8, read: Option<Snapshot> },
    Beat { id: NodeId, read: Option<Snapshot> },
    Read(Option<Snapshot>),
    Acknowledge(NodeId, LogPosition),
    Settle(NodeId),
}

/// A process that revokes, or deletes rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub revoker: Revoker,
    pub stage: Stage,
    pub flight: LookFlight,
    /// The rows of the last look.
    pub seen: Vec<(i64, i64)>,
    /// The time of sending, and the longest lease as it was then.
    pub sent_at: Moment,
    pub longest_before: u8,
    pub commit_era: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Free,
    Sent,
    Waits(WaitId, ChangeSet),
    Done(ChangeSet),
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LookFlight {
    None,
    Look,
    Seen(NodesRead),
    Delete { id: i64, beat: i64, silence: Duration },
}

pub fn ticks(number: u8) -> Duration {
    Duration::from_nanos(u64::from(number) * TICK)
}

impl World {
    pub fn new(setup: &Setup) -> World {
        let process = |index: usize| {
            let mut process = Process::new();
            if index == 0 || setup.has(Feature::TwoDeleters) {
                process.revoker.know_era(era(0), Moment::ZERO);
            }
            process
        };
        let mut world = World {
            db: Database::new(setup.leases[0]),
            old: None,
            has_failed_over: false,
            era_age: setup.longest(),
            restarts: 0,
            settled: Some(0),
            child: None,
            pause: Pause::Before,
            has_plain: false,
            nodes: vec![Node::new(setup); setup.nodes],
            revokers: (0..setup.revokers).map(process).collect(),
            commands: Vec::new(),
        };
        world.normalize(setup, 0);
        world
    }

    /// The database that a node or a process is connected to.
    pub fn database(&mut self, link: Link) -> &mut Database {
        match (link, &mut self.old) {
            (Link::Old, Some(old)) => old,
            _ => &mut self.db,
        }
    }

    /// Returns true if a check on some node could pass on the state before a change that was answered.
    pub fn is_violated(&self) -> bool {
        let answered = self.answered();
        self.nodes.iter().any(|node| node.trust > NOW && !node.believed.contains(answered))
    }

    /// The changes that were answered.
    pub fn answered(&self) -> ChangeSet {
        let answered = self.revokers.iter().filter_map(|process| match process.stage {
            Stage::Done(changes) => Some(changes),
            _ => None,
        });
        answered.fold(ChangeSet::default(), ChangeSet::with)
    }

    /// Lets a tick pass.
    pub fn tick(&mut self, setup: &Setup) {
        let top = setup.longest();
        let older = |age: &mut u8| *age = top.min(*age + 1);
        older(&mut self.era_age);
        for database in [Some(&mut self.db), self.old.as_mut()].into_iter().flatten() {
            if !setup.has(Feature::TwoDeleters) {
                database.rows.iter_mut().for_each(|row| older(&mut row.silence));
            }
        }
        self.normalize(setup, TICK);
    }

    /// Makes all moments older by `by`, and equal those that differ in nothing: ages above the longest lease, and all that
    /// is due.
    pub fn normalize(&mut self, setup: &Setup, by: u64) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let by = if index == 0 && self.pause == Pause::During { 0 } else { by };
            node.normalize(setup, by);
            let is_lost = |id: NodeId| self.db.rows.iter().all(|row| row.id != id.0);
            node.late = node.late.filter(|(id, _)| !is_lost(*id));
        }
        for process in &mut self.revokers {
            // Where looks never end, they come at any time.
            let looks_always = setup.has(Feature::TwoDeleters) || setup.has(Feature::SlowLooks);
            let due = due(by);
            let look_at = |moment| if looks_always { Moment::ZERO } else { due(moment) };
            process.revoker.map_moments(past(setup, by), look_at);
            process.sent_at = past(setup, by)(process.sent_at);
        }
        for (command, _) in &mut self.commands {
            command.map_moments(due(by));
        }
    }

    /// The smallest ID that nobody knows.
    pub fn new_id(&self) -> i64 {
        let databases = [Some(&self.db), self.old.as_ref()].into_iter().flatten();
        let mut known: Vec<i64> = databases.flat_map(|db| db.rows.iter().map(|row| row.id)).collect();
        for node in &self.nodes {
            known.extend(node.member.id().map(|id| id.0));
            known.extend(node.late.map(|(id, _)| id.0));
        }
        known.extend(self.seen().map(|(id, _)| id));
        (1..).find(|id| !known.contains(id)).unwrap_or(0)
    }

    /// The smallest beat of a row that nobody knows, other than the present one.
    pub fn new_beat(&self, id: i64, present: i64) -> i64 {
        let known = |beat: i64| beat == present || self.seen().any(|seen| seen == (id, beat));
        (0..).find(|beat| !known(*beat)).unwrap_or(0)
    }

    /// What processes know of rows.
    fn seen(&self) -> impl Iterator<Item = (i64, i64)> {
        self.revokers.iter().flat_map(|process| {
            let flight: Vec<(i64, i64)> = match &process.flight {
                LookFlight::Seen(read) => read.nodes.iter().map(|row| (row.id.0, row.beat.0)).collect(),
                LookFlight::Delete { id, beat, .. } => vec![(*id, *beat)],
                _ => Vec::new(),
            };
            process.seen.iter().copied().chain(flight)
        })
    }
}

impl Node {
    /// A process that starts. The first era is known for long, so that rows are settled at once in it.
    pub fn new(setup: &Setup) -> Node {
        let mut member = Member::new();
        member.connected(Moment::ZERO, era(0), Bell::Rings);
        member.failed(Moment::ZERO, 0);
        let mut node = Node {
            member,
            link: Link::None,
            flight: Flight::None,
            trust: Moment::ZERO,
            believed: ChangeSet::default(),
            cold: ColdReads::default(),
            late: None,
        };
        node.normalize(setup, 0);
        node
    }

    fn normalize(&mut self, setup: &Setup, by: u64) {
        self.member.map_moments(past(setup, by), due(by));
        self.trust = due(by)(self.trust);
        for effect in &mut self.cold.effects {
            if let Effect::Trust(until) = effect {
                *until = due(by)(*until);
            }
        }
    }
}

impl Process {
    pub fn new() -> Process {
        Process {
            revoker: Revoker::new(),
            stage: Stage::Free,
            flight: LookFlight::None,
            seen: Vec::new(),
            sent_at: Moment::ZERO,
            longest_before: 0,
            commit_era: 0,
        }
    }
}

/// An age: above the longest lease, all are the same.
fn past(setup: &Setup, by: u64) -> impl Fn(Moment) -> Moment {
    let oldest = NOW.before(ticks(setup.longest()));
    move |moment| earlier(moment, by).max(oldest)
}

/// A moment that is due: all that are over are the same.
fn due(by: u64) -> impl Fn(Moment) -> Moment {
    move |moment| match earlier(moment, by) {
        over if over <= NOW.after(SHORTEST) => Moment::ZERO,
        far if far > NOW.after(ticks(30)) => Moment::MAX,
        moment => moment,
    }
}

fn earlier(moment: Moment, by: u64) -> Moment {
    match moment {
        Moment::MAX => moment,
        _ => moment.before(Duration::from_nanos(by)),
    }
}
