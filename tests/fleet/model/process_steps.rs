//! The steps of a process that revokes or deletes rows: the driver around the real `Revoker`.

use gatepost::domain::Moment;
use gatepost::domain::fleet::{Beat, NodeRow, NodesRead, RevocationVerdict, RevokerAction, WaitReason};

use super::database::{ChangeSet, era, in_ticks};
use super::setup::{Feature, Setup};
use super::world::{CHILD, Link, LookFlight, M, NOW, Process, Stage, World, ticks};

/// A step of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessStep {
    SendsChange,
    /// Its change is committed, and the reply received.
    Commits,
    /// It looks: its statement is sent, takes its snapshot and returns, unless looks are slow.
    Acts,
    /// The same on the old primary.
    ActsOnOldPrimary,
    /// Its look takes its snapshot.
    Looks,
    /// The result of its look is received.
    Receives,
    /// Its DELETE is committed.
    Deletes,
}

/// The steps that a process can take now.
pub fn steps(setup: &Setup, world: &World, index: usize, found: &mut Vec<ProcessStep>) {
    let process = &world.revokers[index];
    let two_steps = setup.has(Feature::WaitFromBeforeCommit) || setup.has(Feature::LongestReadBeforeCommit);
    let is_turn = match (index, setup.has(Feature::TwoDeleters)) {
        (0, _) => true,
        (_, true) => false,
        _ => !matches!(world.revokers[0].stage, Stage::Free | Stage::Sent),
    };
    match (process.stage, two_steps) {
        (Stage::Free, true) if is_turn => found.push(ProcessStep::SendsChange),
        (Stage::Free, false) | (Stage::Sent, _) if is_turn => found.push(ProcessStep::Commits),
        _ => {}
    }
    let is_looking = matches!(process.stage, Stage::Waits(..)) || looks_always(setup);
    match process.flight {
        LookFlight::None if is_looking => {
            found.push(ProcessStep::Acts);
            // A change that the failover lost would be answered there: outside of the promise.
            if world.old.is_some() && !setup.has(Feature::FailoverLoses) {
                found.push(ProcessStep::ActsOnOldPrimary);
            }
        }
        LookFlight::None => {}
        LookFlight::Look => found.push(ProcessStep::Looks),
        LookFlight::Seen(_) => found.push(ProcessStep::Receives),
        LookFlight::Delete { .. } => found.push(ProcessStep::Deletes),
    }
}

/// Takes a step. Returns false if it changes nothing.
pub fn take(setup: &Setup, world: &mut World, index: usize, step: ProcessStep) -> bool {
    match step {
        ProcessStep::SendsChange => {
            let longest = world.db.terms.longest;
            let process = &mut world.revokers[index];
            process.stage = Stage::Sent;
            process.sent_at = NOW;
            process.longest_before = longest;
        }
        ProcessStep::Commits => commit(setup, world, index),
        ProcessStep::Acts => return act(setup, world, index, Link::Primary),
        ProcessStep::ActsOnOldPrimary => return act(setup, world, index, Link::Old),
        ProcessStep::Looks => {
            let read = look(setup, world, index, Link::Primary);
            match setup.has(Feature::SlowLooks) {
                true => world.revokers[index].flight = LookFlight::Seen(read),
                false => {
                    world.revokers[index].flight = LookFlight::None;
                    receive(setup, world, index, &read);
                }
            }
        }
        ProcessStep::Receives => {
            let process = &mut world.revokers[index];
            if let LookFlight::Seen(read) = std::mem::replace(&mut process.flight, LookFlight::None) {
                receive(setup, world, index, &read);
            }
        }
        ProcessStep::Deletes => delete(setup, world, index),
    }
    true
}

/// Tells the process that stays of the era that its own node found.
pub fn tell_era(world: &mut World) {
    let now = era(world.db.era);
    if let Some(process) = world.revokers.first_mut() {
        process.revoker.know_era(now, NOW);
    }
}

fn looks_always(setup: &Setup) -> bool {
    setup.has(Feature::TwoDeleters) || setup.has(Feature::SlowLooks)
}

fn commit(setup: &Setup, world: &mut World, index: usize) {
    let letter = b'1' + index as u8;
    let changes = if index == 1 && setup.has(Feature::Settle) {
        world.db.is_soft &= setup.has(Feature::SettleOnlyReads);
        world.db.changes.set()
    } else {
        world.db.changes.0.push(letter);
        world.db.is_soft = setup.has(Feature::CommittedAsynchronously);
        ChangeSet::of(letter)
    };
    let (number, present) = (u64::from(world.db.changes.number()), world.db.era);
    let process = &mut world.revokers[index];
    let since = match setup.has(Feature::WaitFromBeforeCommit) {
        true => process.sent_at,
        false => NOW,
    };
    let id = process.revoker.wait(since, number, era(present));
    if setup.has(Feature::LookFromBeforeCommit) && process.flight != LookFlight::None {
        // As if the look that is under way had been sent after the commit.
        process.revoker.deleted();
        process.revoker.next(NOW);
    }
    process.stage = Stage::Waits(id, changes);
    process.sent_at = Moment::ZERO;
    process.commit_era = present;
}

fn act(setup: &Setup, world: &mut World, index: usize, link: Link) -> bool {
    let process = &mut world.revokers[index];
    let soon = NOW.after(ticks(if looks_always(setup) { setup.longest() + 1 } else { 1 }));
    let mut action = process.revoker.next(NOW);
    if matches!(action, RevokerAction::WaitUntil(until) if until < soon) {
        process.revoker.map_moments(|moment| moment, |_| Moment::ZERO);
        action = process.revoker.next(NOW);
    }
    let is_slow = setup.has(Feature::SlowLooks) || setup.has(Feature::DeletedFromSending);
    match action {
        RevokerAction::Look if is_slow => {
            process.flight = LookFlight::Look;
            process.sent_at = match setup.has(Feature::DeletedFromSending) {
                true => NOW,
                false => Moment::ZERO,
            };
        }
        RevokerAction::Look => {
            let read = look(setup, world, index, link);
            receive(setup, world, index, &read);
            // What a look leaves behind is only the age of rows and of the era, which are followed elsewhere.
            return looks_always(setup) || !matches!(world.revokers[index].stage, Stage::Waits(..));
        }
        RevokerAction::Delete { id, beat, silence } => {
            process.flight = LookFlight::Delete { id: id.0, beat: beat.0, silence };
        }
        RevokerAction::WaitUntil(_) => return false,
    }
    true
}

/// The snapshot of a look, as the driver passes it on.
fn look(setup: &Setup, world: &mut World, index: usize, link: Link) -> NodesRead {
    let (settled, child) = (world.settled, world.child);
    let database = world.database(link).clone();
    let others = |id, era_of, applied, settled| NodeRow { id, era: era_of, beat: Beat(0), applied, settled };
    let is_settled = match settled {
        _ if setup.has(Feature::NoGrace) => true,
        _ if setup.has(Feature::NoGraceOfShortLived) && index == 1 => true,
        Some(_) if setup.has(Feature::SettledInAnyEra) => true,
        settled => settled == Some(database.era),
    };
    let mut nodes: Vec<NodeRow> = database.rows.iter().map(|row| row.as_read()).collect();
    nodes.push(others(M, Some(era(database.era)), u64::MAX, is_settled));
    nodes.extend(child.map(|applied| others(CHILD, None, u64::from(applied), false)));
    let process = &world.revokers[index];
    if setup.has(Feature::SilentNodeIgnored) {
        nodes.retain(|node| node.id == M);
    }
    if setup.has(Feature::DeletedWhateverBeat) {
        nodes.iter_mut().for_each(|node| node.beat = Beat(0));
    }
    let mut terms = database.terms.as_read();
    if setup.has(Feature::ShortWait) {
        terms.longest -= ticks(1);
    }
    if setup.has(Feature::LongestReadBeforeCommit) {
        terms.longest = ticks(process.longest_before);
    }
    let present = match setup.has(Feature::WaitsInAnyEra) {
        true => process.commit_era,
        false => database.era,
    };
    NodesRead { era: era(present), terms, nodes }
}

fn receive(setup: &Setup, world: &mut World, index: usize, read: &NodesRead) {
    let terms = world.db.terms;
    let era_age = ticks(world.era_age + terms.longest - terms.lease);
    let process = &mut world.revokers[index];
    if setup.has(Feature::SettledAfterPresentLease) && index == 0 {
        process.revoker.know_era(read.era, NOW.before(era_age));
    }
    let now = match setup.has(Feature::DeletedFromSending) {
        true => process.sent_at,
        false => NOW,
    };
    process.sent_at = Moment::ZERO;
    let ended = process.revoker.looked(now, read, None);
    if setup.has(Feature::TwoDeleters) {
        process.seen = read.nodes.iter().map(|row| (row.id.0, row.beat.0)).collect();
    }
    let Stage::Waits(id, changes) = process.stage else { return };
    let Some((_, verdict)) = ended.into_iter().find(|(ended, _)| *ended == id) else { return };
    process.stage = match verdict {
        RevocationVerdict::InForce(_) => Stage::Done(changes),
        RevocationVerdict::Unknown => Stage::Unknown,
    };
    if !setup.has(Feature::TwoDeleters) {
        *process = Process { stage: process.stage, ..Process::new() };
    }
    if setup.has(Feature::DeletedAtWaitEnd) && verdict == RevocationVerdict::InForce(WaitReason::SilentNode) {
        world.db.rows.clear();
    }
}

fn delete(setup: &Setup, world: &mut World, index: usize) {
    let flight = std::mem::replace(&mut world.revokers[index].flight, LookFlight::None);
    let LookFlight::Delete { id, beat, silence } = flight else { return };
    let is_by_id = setup.has(Feature::DeletedInTwoStatements) || setup.has(Feature::DeletedWhateverBeat);
    if in_ticks(silence) >= world.db.terms.longest {
        world.db.rows.retain(|row| row.id != id || row.beat != beat && !is_by_id);
    }
    world.revokers[index].revoker.deleted();
}
