//! Rules of cold reads. Their counterexamples are long, so each is written down here: it must be possible step by step,
//! and break the promise without the rule, but not with it.

use stateright::Model;

use super::cold_steps::{self, ColdStep, Source};
use super::faults::{Fate, Fault, Loss};
use super::node_steps::NodeStep;
use super::process_steps::ProcessStep;
use super::setup::{Feature, Setup};
use super::{Protocol, Step};
use ColdStep::*;
use Feature::*;
use NodeStep::*;

const JOINS: [Step; 4] =
    [Step::Node(0, Acts), Step::Node(0, Commits), Step::Node(0, Reads), Step::Node(0, Applies)];
const IS_TOLD: [Step; 3] = [Step::Node(0, IsRung), Step::Node(0, Reads), Step::Node(0, Applies)];
const ACKNOWLEDGES: [Step; 2] = [Step::Node(0, Acts), Step::Node(0, Commits)];
const REVOKES: Step = Step::Process(0, ProcessStep::Commits);
const LOOKS: Step = Step::Process(0, ProcessStep::Acts);
const EFFECT: Step = Step::Cold(TakesEffect);

/// The steps of a check that reads its row from `source`.
fn check(source: Source) -> [Step; 4] {
    [CheckBegins, CheckLoadsLowest, CheckReads(source), CheckEnds].map(Step::Cold)
}

/// Follows the steps, and returns true if a check passes on the old state. `None` if a step is not possible.
fn is_violated(features: &[Feature], steps: &[Step]) -> Option<bool> {
    let protocol = Protocol(Setup::of_one(features));
    let mut world = protocol.init_states().remove(0);
    for step in steps {
        let mut possible = Vec::new();
        protocol.actions(&world, &mut possible);
        possible.contains(step).then_some(())?;
        world = protocol.next_state(&world, *step)?;
    }
    Some(cold_steps::is_violated(&world))
}

/// The rule `broken` is needed on this way: with it, the promise holds, or the way is barred.
fn is_needed(features: &[Feature], broken: Feature, steps: &[Step]) {
    let without = [features, &[broken]].concat();
    assert_eq!(is_violated(&without, steps), Some(true), "{without:?}");
    assert_ne!(is_violated(features, steps), Some(true), "{features:?}");
}

#[test]
fn a_row_with_a_lower_number_is_not_used() {
    let steps = [&JOINS[..], &[REVOKES], &IS_TOLD, &ACKNOWLEDGES, &[LOOKS], &check(Source::Replica(0))];
    is_needed(&[ColdReads, EffectsAtOnce, Replica, RowsOfAnyEra], RowsOfAnyNumber, &steps.concat());
}

#[test]
fn a_row_of_another_era_is_not_used() {
    // A failover loses a change, and its number is given out again.
    let fails = Fault::Fails { over: Loss::LastChange, row_is_lost: true, node: Fate::IsCut };
    let begins = [Step::Fault(Fault::PlainSqlCommits), Step::Fault(fails), Step::Tick, Step::Tick];
    let steps = [&begins, &JOINS[..], &[REVOKES], &IS_TOLD, &ACKNOWLEDGES, &[LOOKS]];
    let steps = [&steps.concat()[..], &check(Source::OldPrimary)].concat();
    let features = [ColdReads, EffectsAtOnce, PlainSql, Failover, FailoverLoses, OldPrimary];
    is_needed(&features, RowsOfAnyEra, &steps);
}

#[test]
fn a_check_begins_with_trust() {
    // The node is cut off, and the check reads from the old primary before the node is back.
    let fails = Fault::Fails { over: Loss::Nothing, row_is_lost: true, node: Fate::IsCut };
    let is_answered = [Step::Fault(fails), Step::Tick, Step::Tick, REVOKES, LOOKS];
    let [begins, loads, reads, ends] = check(Source::OldPrimary);
    let steps = [&JOINS[..], &is_answered, &[begins, loads, reads], &JOINS, &[ends]].concat();
    let features = [ColdReads, EffectsAtOnce, Failover, OldPrimary];
    is_needed(&features, CheckedWithoutTrust, &steps);
}

#[test]
fn the_lowest_number_is_published_before_the_raise() {
    let joins = [&JOINS[..], &[EFFECT, EFFECT, EFFECT]].concat();
    let check = check(Source::Replica(0));
    let steps = [&joins[..], &[REVOKES], &IS_TOLD, &[EFFECT], &check, &[EFFECT], &ACKNOWLEDGES, &[LOOKS]];
    is_needed(&[ColdReads, Replica, RowsOfAnyEra], LowestAfterRaise, &steps.concat());
}

#[test]
fn trust_is_extended_after_the_raise() {
    let joins = [&JOINS[..], &[EFFECT, EFFECT, EFFECT]].concat();
    let is_answered = [REVOKES, Step::Tick, Step::Tick, LOOKS];
    let steps = [&joins[..], &check(Source::Primary), &is_answered, &JOINS, &[EFFECT, EFFECT]];
    is_needed(&[ColdReads], TrustBeforeRaise, &steps.concat());
}
