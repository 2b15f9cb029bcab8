//! What happens to the database, and what others do there.

use gatepost::domain::fleet::{LeaseAction, LeaseChange};

use super::database::in_ticks;
use super::node_steps::lose_connection;
use super::process_steps::tell_era;
use super::setup::{Feature, Setup};
use super::world::{Link, NOW, Pause, World, ticks};

/// A step of the database, or of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NodePauses,
    NodeContinues,
    /// Some process deletes the row of a node that is silent for the longest lease.
    DeletesRow(usize),
    SecondProcessRegistersOrAcknowledges,
    SecondProcessLeaves,
    SecondProcessAcknowledgesInSameRow,
    /// The row of M is settled in this era.
    Settles,
    PlainSqlCommits,
    BackendsCrash,
    Fails {
        over: Loss,
        row_is_lost: bool,
        node: Fate,
    },
    Restarts {
        cuts: bool,
    },
    Trims {
        below: u8,
    },
    LeaseCommandBegins {
        lease: u8,
    },
    LeaseCommandFinishes(usize),
    LeaseCommandIsInterrupted(usize),
    LeaseBecomes {
        lease: u8,
    },
}

/// The changes that a failover loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Nothing,
    LastChange,
}

/// The connection of the node at a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    IsCut,
    /// A pooler moves it over.
    Moves,
    StaysWithOldPrimary,
}

/// The faults that can happen now.
pub fn faults(setup: &Setup, world: &World, found: &mut Vec<Fault>) {
    let has = |feature| setup.has(feature);
    let trusts = world.nodes[0].trust > NOW;
    if has(Feature::PausedClock) && world.pause == Pause::Before && trusts {
        found.push(Fault::NodePauses);
    }
    if world.pause == Pause::During {
        found.push(Fault::NodeContinues);
    }
    if !has(Feature::TwoDeleters) && !has(Feature::RowsStay) {
        let rows = world.db.rows.iter().enumerate();
        let silent = rows.filter(|(_, row)| row.silence >= world.db.terms.longest);
        found.extend(silent.map(|(index, _)| Fault::DeletesRow(index)));
    }
    if has(Feature::SecondProcess) {
        found.extend([Fault::SecondProcessRegistersOrAcknowledges, Fault::SecondProcessLeaves]);
    }
    if has(Feature::TwoProcessesOneRow) {
        found.push(Fault::SecondProcessAcknowledgesInSameRow);
    }
    let is_settled = world.settled == Some(world.db.era);
    if !is_settled && (world.era_age >= world.db.terms.longest || has(Feature::SettledEarly)) {
        found.push(Fault::Settles);
    }
    if has(Feature::PlainSql) && !world.has_plain && !world.db.is_soft && world.old.is_none() {
        found.push(Fault::PlainSqlCommits);
    }
    if world.db.is_soft {
        found.push(Fault::BackendsCrash);
    }
    if has(Feature::Failover) && !world.has_failed_over {
        failovers(setup, world, found);
    }
    if has(Feature::Restarts) && world.restarts < 2 && world.era_age > 0 {
        found.extend([Fault::Restarts { cuts: false }, Fault::Restarts { cuts: true }]);
    }
    if has(Feature::Trimming) {
        let above = world.db.trimmed_below + 1..=world.db.changes.number();
        found.extend(above.map(|below| Fault::Trims { below }));
    }
    lease_commands(setup, world, found);
}

fn failovers(setup: &Setup, world: &World, found: &mut Vec<Fault>) {
    let loses = setup.has(Feature::FailoverLoses) && world.can_lose_last_change();
    let losses: &[Loss] = if loses { &[Loss::Nothing, Loss::LastChange] } else { &[Loss::Nothing] };
    let is_connected = world.nodes[0].link != Link::None;
    let mut fates = vec![Fate::IsCut];
    if is_connected {
        fates.push(Fate::Moves);
    }
    if is_connected && setup.has(Feature::OldPrimary) {
        fates.push(Fate::StaysWithOldPrimary);
    }
    for over in losses.iter().copied() {
        for node in fates.iter().copied() {
            found.push(Fault::Fails { over, row_is_lost: true, node });
            if !world.db.rows.is_empty() {
                found.push(Fault::Fails { over, row_is_lost: false, node });
            }
        }
    }
}

fn lease_commands(setup: &Setup, world: &World, found: &mut Vec<Fault>) {
    if !setup.has(Feature::Lease) {
        return;
    }
    let terms = world.db.terms;
    for lease in setup.leases.iter().copied() {
        if lease == terms.lease && lease == terms.longest {
            continue;
        }
        let raises = lease > terms.lease && setup.has(Feature::LeaseRaisedAtOnce);
        let lowers = lease < terms.lease && setup.has(Feature::LeaseLoweredAtOnce);
        if raises || lowers {
            found.push(Fault::LeaseBecomes { lease });
        } else if world.commands.len() < 2 {
            found.push(Fault::LeaseCommandBegins { lease });
        }
    }
    for (index, (command, _)) in world.commands.iter().enumerate() {
        if !matches!(command.next(NOW), LeaseAction::WaitUntil(_)) {
            found.push(Fault::LeaseCommandFinishes(index));
        }
        found.push(Fault::LeaseCommandIsInterrupted(index));
    }
}

/// Lets a fault happen. Returns false if it changes nothing.
pub fn happen(setup: &Setup, world: &mut World, fault: Fault) -> bool {
    let number = world.db.changes.number();
    match fault {
        Fault::NodePauses => world.pause = Pause::During,
        Fault::NodeContinues => world.pause = Pause::After,
        Fault::DeletesRow(index) => {
            world.db.rows.remove(index);
        }
        Fault::SecondProcessRegistersOrAcknowledges => world.child = Some(number),
        Fault::SecondProcessLeaves => world.child = None,
        Fault::SecondProcessAcknowledgesInSameRow => {
            world.db.rows.iter_mut().for_each(|row| row.applied = number);
        }
        Fault::Settles => world.settled = Some(world.db.era),
        Fault::PlainSqlCommits => {
            world.db.changes.0.push(b'P');
            world.db.is_soft = true;
            world.has_plain = true;
        }
        Fault::BackendsCrash => {
            world.db.changes.0.pop();
            world.db.is_soft = false;
            world.cap_applied();
        }
        Fault::Fails { over, row_is_lost, node } => fail_over(setup, world, over, row_is_lost, node),
        Fault::Restarts { cuts } => {
            world.restarts += 1;
            begin_era(world);
            if setup.has(Feature::EraForgetsLongest) {
                world.db.terms.longest = world.db.terms.lease;
                world.commands.clear();
            }
            if cuts {
                world.nodes.iter_mut().filter(|node| node.link != Link::None).for_each(lose_connection);
            }
        }
        Fault::Trims { below } => world.db.trimmed_below = below,
        Fault::LeaseCommandBegins { lease } => begin_lease(world, lease),
        Fault::LeaseCommandFinishes(index) => finish_lease(setup, world, index),
        Fault::LeaseCommandIsInterrupted(index) => {
            world.commands.remove(index);
        }
        Fault::LeaseBecomes { lease } => {
            (world.db.terms.lease, world.db.terms.longest) = (lease, lease);
            world.commands.clear();
        }
    }
    true
}

fn begin_era(world: &mut World) {
    world.db.era += 1;
    world.era_age = 0;
    tell_era(world);
}

fn fail_over(setup: &Setup, world: &mut World, over: Loss, row_is_lost: bool, fate: Fate) {
    let old = world.db.clone();
    world.has_failed_over = true;
    world.old = setup.has(Feature::OldPrimary).then_some(old);
    begin_era(world);
    if over == Loss::LastChange {
        world.db.changes.0.pop();
    }
    world.db.is_soft = false;
    world.cap_applied();
    if row_is_lost {
        world.db.rows.clear();
    }
    // Perhaps with an older beat.
    world.db.rows.iter_mut().for_each(|row| row.silence = setup.longest());
    for node in world.nodes.iter_mut().filter(|node| node.link != Link::None) {
        match fate {
            Fate::IsCut => lose_connection(node),
            Fate::Moves => {}
            Fate::StaysWithOldPrimary => node.link = Link::Old,
        }
    }
}

fn begin_lease(world: &mut World, lease: u8) {
    let known = |version: u8| world.commands.iter().any(|(_, of)| *of == version);
    let version = (1..).find(|version| !known(*version)).unwrap_or(0);
    let mut command = LeaseChange::new(ticks(lease));
    let LeaseAction::Begin { lease } = command.next(NOW) else { return };
    let terms = &mut world.db.terms;
    terms.lease = terms.lease.min(in_ticks(lease));
    terms.longest = terms.longest.max(in_ticks(lease));
    terms.version = version;
    command.begun(NOW, terms.as_read());
    world.commands.push((command, version));
}

fn finish_lease(setup: &Setup, world: &mut World, index: usize) {
    let (command, _) = world.commands.remove(index);
    let LeaseAction::Finish { lease, version } = command.next(NOW) else { return };
    let terms = &mut world.db.terms;
    if i64::from(terms.version) == version || setup.has(Feature::LeaseWithoutVersion) {
        (terms.lease, terms.longest) = (in_ticks(lease), in_ticks(lease));
    }
}

impl World {
    /// Returns true if the last change may be lost: nobody was answered for it.
    fn can_lose_last_change(&self) -> bool {
        let last = self.db.changes.at(self.db.changes.number());
        let is_answered = |process: &super::world::Process| {
            matches!(process.stage, super::world::Stage::Done(changes)
                if changes.contains(super::database::ChangeSet::of(last)))
        };
        last != 0 && !self.revokers.iter().any(is_answered)
    }

    /// The log is written in order, so acknowledgements of lost changes are lost with them.
    fn cap_applied(&mut self) {
        let number = self.db.changes.number();
        self.db.rows.iter_mut().for_each(|row| row.applied = row.applied.min(number));
        let trimmed_below = &mut self.db.trimmed_below;
        *trimmed_below = (*trimmed_below).min(number + 1);
        self.child = self.child.map(|applied| applied.min(number));
    }
}
