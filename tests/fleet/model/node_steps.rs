//! The steps of a node: the driver around the real `Member`.

use gatepost::domain::Moment;
use gatepost::domain::fleet::{Application, BeatReply, Bell, Member, MemberAction, NodeId, Staleness};

use super::cold_steps::{self, Effect};
use super::database::{ChangeSet, Row, Snapshot, era};
use super::setup::{Feature, Setup};
use super::world::{Flight, Link, NOW, Node, Pause, TICK, World};

/// A step of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStep {
    /// It sends its next statement.
    Acts,
    /// It gets a notification, and sends its next statement.
    IsRung,
    /// The transaction of its write takes a snapshot.
    TakesSnapshot,
    /// Its write is committed.
    Commits,
    /// Its read takes a snapshot.
    Reads,
    /// It gets the result of its read, and applies it.
    Applies,
    /// Its acknowledgement is committed before it applies what it has read.
    AcknowledgesEarly,
    /// An acknowledgement of a connection that was lost is committed.
    AcknowledgesLate,
    LosesConnection,
    Crashes,
    Leaves,
}

impl NodeStep {
    const ALL: [NodeStep; 11] = [
        NodeStep::Acts,
        NodeStep::IsRung,
        NodeStep::TakesSnapshot,
        NodeStep::Commits,
        NodeStep::Reads,
        NodeStep::Applies,
        NodeStep::AcknowledgesEarly,
        NodeStep::AcknowledgesLate,
        NodeStep::LosesConnection,
        NodeStep::Crashes,
        NodeStep::Leaves,
    ];
}

/// The steps that a node can take now.
pub fn steps(setup: &Setup, world: &World, index: usize, found: &mut Vec<NodeStep>) {
    if index == 0 && world.pause == Pause::During {
        return;
    }
    let node = &world.nodes[index];
    let flight = &node.flight;
    let is_idle = *flight == Flight::None && node.cold.effects.is_empty();
    let is_write = matches!(flight, Flight::Register { .. } | Flight::Beat { .. } | Flight::Settle(_));
    found.extend(NodeStep::ALL.into_iter().filter(|step| match step {
        NodeStep::Acts => is_idle,
        NodeStep::IsRung if setup.has(Feature::BellExtendsTrust) => matches!(flight, Flight::Beat { .. }),
        NodeStep::IsRung => is_idle && node.link != Link::None && !setup.has(Feature::SilentBell),
        NodeStep::TakesSnapshot => has_snapshot_to_take(setup, flight),
        // With a synchronous standby, a cut-off primary can't confirm a commit.
        NodeStep::Commits => {
            let may_commit = node.link == Link::Primary || setup.has(Feature::OldPrimaryCommits);
            let is_ready = !has_snapshot_to_take(setup, flight);
            is_write && may_commit && is_ready || matches!(flight, Flight::Acknowledge(..))
        }
        NodeStep::Reads => *flight == Flight::Read(None),
        NodeStep::Applies => matches!(flight, Flight::Read(Some(_))),
        NodeStep::AcknowledgesEarly => {
            setup.has(Feature::AcknowledgedBeforeApplied) && matches!(flight, Flight::Read(Some(_)))
        }
        NodeStep::AcknowledgesLate => node.late.is_some(),
        NodeStep::LosesConnection if !node.cold.effects.is_empty() => false,
        NodeStep::LosesConnection => node.link != Link::None && !setup.has(Feature::CalmNode),
        NodeStep::Crashes => !setup.has(Feature::CalmNode) && *node != Node::new(setup),
        NodeStep::Leaves => {
            let may_leave = setup.has(Feature::Leave) || setup.has(Feature::LeftBeforeStopping);
            may_leave && is_idle && node.link == Link::Primary && node.member.id().is_some()
        }
    }));
}

/// Takes a step. Returns false if it changes nothing.
pub fn take(setup: &Setup, world: &mut World, index: usize, step: NodeStep) -> bool {
    match step {
        NodeStep::Acts => return act(setup, world, index),
        NodeStep::IsRung if setup.has(Feature::BellExtendsTrust) => {
            let link = world.nodes[index].link;
            let read = world.database(link).snapshot();
            let node = &mut world.nodes[index];
            node.believed = node.believed.with(read.changes.set());
            node.trust = node.trust.max(NOW.after(read.terms.as_read().trust()));
        }
        NodeStep::IsRung => {
            world.nodes[index].member.bell();
            // If another action comes first, a read follows it anyway.
            return act(setup, world, index) && matches!(world.nodes[index].flight, Flight::Read(_));
        }
        NodeStep::TakesSnapshot => {
            let link = world.nodes[index].link;
            let snapshot = world.database(link).snapshot();
            match &mut world.nodes[index].flight {
                Flight::Register { read, .. } | Flight::Beat { read, .. } => *read = Some(snapshot),
                _ => return false,
            }
        }
        NodeStep::Commits => return commit(setup, world, index),
        NodeStep::Reads => {
            let link = world.nodes[index].link;
            let snapshot = world.database(link).snapshot();
            world.nodes[index].flight = Flight::Read(Some(snapshot));
        }
        NodeStep::Applies => {
            apply(setup, &mut world.nodes[index]);
            while setup.has(Feature::EffectsAtOnce) && cold_steps::take_effect(world) {}
        }
        NodeStep::AcknowledgesEarly => return acknowledge_early(world, index),
        NodeStep::AcknowledgesLate => {
            let late = world.nodes[index].late.take();
            if let Some((id, position)) = late {
                world.db.acknowledge(id, position, setup.has(Feature::AcknowledgedByNumber));
            }
        }
        NodeStep::LosesConnection => lose_connection(&mut world.nodes[index]),
        NodeStep::Crashes => world.nodes[index] = Node::new(setup),
        NodeStep::Leaves => return leave(setup, world, index),
    }
    true
}

/// Ends the connection of a node, which stays a process.
pub fn lose_connection(node: &mut Node) {
    if let Flight::Acknowledge(id, position) = node.flight {
        node.late = Some((id, position));
    }
    node.flight = Flight::None;
    node.link = Link::None;
    node.member.failed(NOW, 0);
}

fn has_snapshot_to_take(setup: &Setup, flight: &Flight) -> bool {
    match flight {
        Flight::Register { read: None, .. } => setup.has(Feature::RegistrationAndReadInOneTransaction),
        Flight::Beat { read: None, .. } => setup.has(Feature::BeatInOneTransaction),
        _ => false,
    }
}

/// Carries out the next action of the member. If it waits for less than a tick, this is over.
fn act(setup: &Setup, world: &mut World, index: usize) -> bool {
    let id = match setup.has(Feature::IdComesBack) {
        true => 1,
        false => world.new_id(),
    };
    let bell = if setup.has(Feature::SilentBell) { Bell::Silent } else { Bell::Rings };
    let now_era = world.db.era;
    let snapshot = world.db.snapshot();
    let node = &mut world.nodes[index];
    let mut is_awake = false;
    loop {
        let mut random = [id as u64, 0].into_iter();
        node.flight = match node.member.next(NOW, || random.next().unwrap_or(0)) {
            MemberAction::Connect => {
                node.link = Link::Primary;
                node.member.connected(NOW, era(now_era), bell);
                continue;
            }
            MemberAction::Register { id, era, .. } => {
                let read = setup.has(Feature::ReadBeforeRegistration).then(|| snapshot.clone());
                Flight::Register { id, era: (era.timeline - 1) as u8, read }
            }
            MemberAction::Beat { id } => Flight::Beat { id, read: None },
            MemberAction::Read { .. } => Flight::Read(None),
            MemberAction::Acknowledge { id, position } => Flight::Acknowledge(id, position),
            MemberAction::Settle { id, .. } if node.link == Link::Old => Flight::Settle(id),
            MemberAction::Settle { id, .. } => {
                node.member.settled();
                let row = world.db.row(id).filter(|row| row.era == now_era);
                row.into_iter().for_each(|row| row.is_settled = true);
                continue;
            }
            MemberAction::WaitUntil(until) if until < NOW.after(super::world::ticks(1)) && !is_awake => {
                is_awake = true;
                wake(&mut node.member);
                continue;
            }
            _ => return false,
        };
        return true;
    }
}

/// Makes everything due that is due within a tick.
fn wake(member: &mut Member) {
    let soon = NOW.as_nanos() + TICK;
    let due = |moment: Moment| if moment.as_nanos() < soon { Moment::ZERO } else { moment };
    member.map_moments(|moment| moment, due);
}

fn commit(setup: &Setup, world: &mut World, index: usize) -> bool {
    let flight = std::mem::replace(&mut world.nodes[index].flight, Flight::None);
    let link = world.nodes[index].link;
    match flight {
        Flight::Register { id, era, read } => {
            register(setup, world, index, id, era);
            world.nodes[index].member.registered();
            send_read(setup, world, index, read);
        }
        Flight::Beat { id, read } => {
            let reply = beat(setup, world, index, id);
            world.nodes[index].member.beaten(reply);
            if reply.is_some() {
                send_read(setup, world, index, read);
            }
        }
        Flight::Acknowledge(id, position) => {
            let by_number = setup.has(Feature::AcknowledgedByNumber);
            world.database(link).acknowledge(id, position, by_number);
            world.nodes[index].member.acknowledged();
        }
        Flight::Settle(id) => {
            let database = world.database(link);
            let era = database.era;
            if let Some(row) = database.row(id).filter(|row| row.era == era) {
                row.is_settled = true;
            }
            world.nodes[index].member.settled();
        }
        Flight::Read(_) | Flight::None => return false,
    }
    true
}

fn register(setup: &Setup, world: &mut World, index: usize, id: NodeId, era: u8) {
    let applied = match setup.has(Feature::RegisteredAsApplied) {
        true => world.nodes[index].member.applied_number() as u8,
        false => 0,
    };
    let (node, link) = (index as u8, world.nodes[index].link);
    let database = world.database(link);
    // An earlier row of the node only makes revocations wait longer: it is deleted at once.
    let silence = database.row(id).map_or(0, |row| row.silence);
    database.rows.retain(|row| row.node != node);
    database.rows.push(Row { node, id: id.0, era, beat: 0, applied, is_settled: false, silence });
    database.rows.sort_by_key(|row| row.node);
    database.is_soft = false;
}

fn beat(setup: &Setup, world: &mut World, index: usize, id: NodeId) -> Option<BeatReply> {
    let link = world.nodes[index].link;
    let present = world.database(link).row(id).map(|row| row.beat);
    if present.is_none() && setup.has(Feature::BeatUpserts) {
        let era = world.database(link).era;
        register(setup, world, index, id, era);
    }
    let next = match setup.has(Feature::TwoDeleters) {
        true => present.map(|beat| world.new_beat(id.0, beat)),
        false => present,
    };
    let database = world.database(link);
    let row = database.row(id)?;
    (row.beat, row.silence) = (next.unwrap_or(0), 0);
    let acknowledged = u64::from(row.applied);
    database.is_soft = false;
    Some(BeatReply { acknowledged, nodes: 1 })
}

/// Lets the member send the read that follows its write. A snapshot that was taken before is its result.
fn send_read(setup: &Setup, world: &mut World, index: usize, taken: Option<Snapshot>) {
    if act(setup, world, index) && taken.is_some() {
        world.nodes[index].flight = Flight::Read(taken);
    }
}

fn apply(setup: &Setup, node: &mut Node) {
    let Flight::Read(Some(snapshot)) = std::mem::replace(&mut node.flight, Flight::None) else { return };
    if setup.has(Feature::TrustFromReply) {
        node.member.map_moments(|_| NOW, |moment| moment);
    }
    let mut read = snapshot.read_above(node.member.applied_number(), setup.has(Feature::NoTokens));
    if setup.has(Feature::TrimmedUnnoticed) {
        conceal_trimming(node.member.applied_number(), &mut read);
    }
    let Application { stale, trust_until, lowest, .. } = node.member.read(NOW, read);
    if setup.has(Feature::ColdReads) {
        let lowest = Effect::Lowest((lowest.0.timeline - 1) as u8, lowest.1 as u8);
        let raise = Effect::Raise(stale != Staleness::Names(Vec::new()));
        let trust = trust_until.map(Effect::Trust);
        node.cold.effects = match (setup.has(Feature::LowestAfterRaise), setup.has(Feature::TrustBeforeRaise))
        {
            (true, _) => trust.into_iter().chain([lowest, raise]).collect(),
            (_, true) => [raise].into_iter().chain(trust).chain([lowest]).collect(),
            _ => trust.into_iter().chain([raise, lowest]).collect(),
        };
        return;
    }
    node.believed = match stale {
        Staleness::Everything => snapshot.changes.set(),
        Staleness::Names(names) => node.believed.with(ChangeSet::named(&names)),
    };
    node.trust = trust_until.map_or(node.trust, |until| node.trust.max(until));
}

/// Makes a read look as if the rows that were trimmed had no names.
fn conceal_trimming(applied: u64, read: &mut gatepost::domain::fleet::LogRead) {
    let first = read.rows.first().map_or(read.last.number + 1, |row| row.seq);
    let missing = (applied + 1..first).map(|seq| gatepost::domain::fleet::LogRow {
        seq,
        token: read.last.token,
        names: Some(Vec::new()),
    });
    read.rows = missing.chain(read.rows.iter().cloned()).collect();
    read.trimmed_below = 1;
}

fn acknowledge_early(world: &mut World, index: usize) -> bool {
    let node = &world.nodes[index];
    let (Flight::Read(Some(snapshot)), Some(id)) = (&node.flight, node.member.id()) else { return false };
    let position = snapshot.read_above(0, false).last;
    if node.link == Link::Old {
        return false;
    }
    let before = world.db.clone();
    world.db.acknowledge(id, position, false);
    world.db != before
}

fn leave(setup: &Setup, world: &mut World, index: usize) -> bool {
    world.db.rows.retain(|row| usize::from(row.node) != index);
    let node = &mut world.nodes[index];
    if setup.has(Feature::LeftBeforeStopping) {
        let (trust, believed) = (node.trust, node.believed);
        *node = Node { trust, believed, ..Node::new(setup) };
        return true;
    }
    node.member.leave();
    let action = node.member.next(NOW, || 0);
    let has_left = matches!(action, MemberAction::Leave { .. });
    node.member.left();
    let is_over = node.member.next(NOW, || 0) == MemberAction::Left;
    *node = Node::new(setup);
    has_left && is_over
}
