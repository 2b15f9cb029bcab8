//! A check that does not find its principal in the cache, on a node: it reads a row, decides by it, and caches it. The
//! effects of a read of the log are carried out one at a time, with the steps of the check in between.

use gatepost::domain::Moment;

use super::database::{ChangeSet, Changes};
use super::setup::{Feature, Setup};
use super::world::{Link, NOW, World};

/// The part of a node that cold reads depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ColdReads {
    /// The era and the number below which a row is not used; `None` until the first read of the log.
    lowest: Option<(u8, u8)>,
    /// The effects of the last read of the log that are not carried out yet, the next one last.
    pub effects: Vec<Effect>,
    check: Option<Check>,
    entry: Option<Entry>,
    /// True once a check passed on the state before a change that had been answered when it began.
    pub is_violated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Lowest(u8, u8),
    /// The epoch is raised, if anything changed.
    Raise(bool),
    Trust(Moment),
}

/// A check that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Check {
    /// The changes that were answered when it began.
    answered: ChangeSet,
    /// True while no epoch was raised since it took the epoch of its entry.
    is_fresh: bool,
    lowest: Option<(u8, u8)>,
    row: Option<ChangeSet>,
}

/// A cached row, by the changes that it includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    includes: ChangeSet,
    is_fresh: bool,
}

/// A step of cold reads on the first node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColdStep {
    /// The next effect of a read of the log is carried out.
    TakesEffect,
    CheckBegins,
    CheckLoadsLowest,
    CheckReads(Source),
    CheckEnds,
}

/// The server that a row is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Primary,
    OldPrimary,
    /// A replica that has this many changes.
    Replica(u8),
}

/// The steps that the first node can take now.
pub fn steps(setup: &Setup, world: &World, found: &mut Vec<ColdStep>) {
    let cold = &world.nodes[0].cold;
    if !setup.has(Feature::ColdReads) {
        return;
    }
    if !cold.effects.is_empty() {
        found.push(ColdStep::TakesEffect);
    }
    let has_trust = world.nodes[0].trust > NOW;
    match cold.check {
        None if has_trust || setup.has(Feature::CheckedWithoutTrust) => found.push(ColdStep::CheckBegins),
        None => {}
        Some(Check { lowest: None, .. }) => found.push(ColdStep::CheckLoadsLowest),
        Some(Check { row: Some(_), .. }) => found.push(ColdStep::CheckEnds),
        Some(_) => {
            found.push(ColdStep::CheckReads(Source::Primary));
            if world.old.is_some() {
                found.push(ColdStep::CheckReads(Source::OldPrimary));
            }
            if setup.has(Feature::Replica) {
                let numbers = 0..=world.db.changes.number();
                found.extend(numbers.map(|number| ColdStep::CheckReads(Source::Replica(number))));
            }
        }
    }
}

/// Takes a step. Returns false if it changes nothing.
pub fn take(setup: &Setup, world: &mut World, step: ColdStep) -> bool {
    let answered = world.answered();
    match step {
        ColdStep::TakesEffect => return take_effect(world),
        ColdStep::CheckBegins => {
            let check = Check { answered, is_fresh: true, lowest: None, row: None };
            world.nodes[0].cold.check = Some(check);
        }
        ColdStep::CheckLoadsLowest => {
            let cold = &mut world.nodes[0].cold;
            match cold.lowest {
                Some(_) => cold.check.iter_mut().for_each(|check| check.lowest = cold.lowest),
                // Unavailable.
                None => cold.check = None,
            }
        }
        ColdStep::CheckReads(source) => read(setup, world, source),
        ColdStep::CheckEnds => end(world),
    }
    true
}

/// Returns true if a check passed, or would pass, on the state before a change that was answered.
pub fn is_violated(world: &World) -> bool {
    let node = &world.nodes[0];
    let is_stale = |entry: &Entry| entry.is_fresh && !entry.includes.contains(world.answered());
    node.cold.is_violated || node.trust > NOW && node.cold.entry.is_some_and(|entry| is_stale(&entry))
}

/// Carries out the next effect of a read of the log. Returns false if there is none.
pub fn take_effect(world: &mut World) -> bool {
    let node = &mut world.nodes[0];
    match node.cold.effects.pop() {
        Some(Effect::Lowest(era, number)) => node.cold.lowest = Some((era, number)),
        Some(Effect::Raise(true)) => {
            // An entry that is stale is the same as none.
            node.cold.entry = None;
            node.cold.check.iter_mut().for_each(|check| check.is_fresh = false);
        }
        Some(Effect::Trust(until)) => node.trust = node.trust.max(until),
        Some(Effect::Raise(false)) => {}
        None => return false,
    }
    true
}

fn read(setup: &Setup, world: &mut World, source: Source) {
    let database = match source {
        Source::OldPrimary => world.database(Link::Old).clone(),
        _ => world.db.clone(),
    };
    let (era, changes) = match source {
        // It was started at another time.
        Source::Replica(number) => (u8::MAX, Changes(database.changes.0[..usize::from(number)].to_vec())),
        _ => (database.era, database.changes),
    };
    let cold = &mut world.nodes[0].cold;
    let Some(check) = &mut cold.check else { return };
    let (lowest_era, lowest) = check.lowest.unwrap_or_default();
    let is_number_right = changes.number() >= lowest || setup.has(Feature::RowsOfAnyNumber);
    let is_era_right = era == lowest_era || setup.has(Feature::RowsOfAnyEra);
    check.row = Some(changes.set());
    if !is_number_right || !is_era_right {
        // Unavailable.
        cold.check = None;
    }
}

fn end(world: &mut World) {
    let node = &mut world.nodes[0];
    let Some(Check { answered, is_fresh, row: Some(includes), .. }) = node.cold.check.take() else { return };
    if node.trust > NOW {
        node.cold.is_violated |= !includes.contains(answered);
    }
    if is_fresh {
        node.cold.entry = Some(Entry { includes, is_fresh });
    }
}
