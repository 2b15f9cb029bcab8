//! Setups in which the promise holds, whatever happens. Those with too many states for every run of the tests are explored
//! to a bounded depth, and as a whole in `all_states_of_large_setups`.

use super::setup::{Feature, Setup};
use super::{explore, steps_of};
use Feature::*;

/// Explores a setup and returns the number of its states.
fn holds(setup: Setup, depth: Option<usize>) -> usize {
    let features = format!("{:?}", setup.features);
    let start = std::time::Instant::now();
    let exploration = explore(setup, depth);
    if let Some(path) = exploration.counterexample {
        panic!("{features}: broken:\n  {}", steps_of(path));
    }
    assert!(!exploration.is_vacuous, "{features}: no node ever trusts after an answer");
    println!("{} states, {:?}: {features}", exploration.states, start.elapsed());
    exploration.states
}

#[test]
fn one_node_and_two_revokers() {
    assert!(holds(Setup::new(&[]), None) > 30_000);
    holds(Setup::new(&[RowsStay, BeatInOneTransaction]), None);
    holds(Setup::new(&[BeatUpserts, Leave, SilentBell]), None);
    holds(Setup::of_one(&[SecondProcess]), None);
}

#[test]
fn changes_that_are_lost_in_a_crash() {
    holds(Setup::of_one(&[PlainSql, Trimming]), None);
    holds(Setup::new(&[PlainSql, Settle]), Some(12));
}

#[test]
fn failovers() {
    holds(Setup::of_one(&[Failover, FailoverLoses]), None);
    holds(Setup::of_one(&[Failover, OldPrimary, CalmNode]), None);
    holds(Setup::new(&[Failover]), Some(12));
}

#[test]
fn changes_of_the_lease() {
    holds(Setup::of_one(&[Lease]), Some(13));
    holds(Setup::of_one(&[Lease, Restarts]), Some(9));
    holds(Setup::of_one(&[Lease, Failover]), Some(9));
}

#[test]
fn rows_that_are_read_for_a_check() {
    // A number that is compared is enough where nothing is lost.
    holds(Setup::of_one(&[ColdReads, Replica, RowsOfAnyEra, CalmNode]), None);
    holds(Setup::of_one(&[ColdReads, Failover, OldPrimary, FailoverLoses, CalmNode]), Some(15));
}

#[test]
fn two_processes_that_delete_rows() {
    holds(Setup::new(&[TwoDeleters]), Some(12));
}

#[test]
fn two_nodes() {
    holds(Setup { nodes: 2, ..Setup::new(&[]) }, Some(10));
}

/// Millions of states: `cargo test --test fleet all_states -- --ignored --nocapture`.
#[test]
#[ignore = "takes a quarter of an hour"]
fn all_states_of_large_setups() {
    for features in [
        &[Failover][..],
        &[PlainSql],
        &[PlainSql, Settle],
        &[Failover, OldPrimary],
        &[Failover, FailoverLoses],
        &[SlowLooks],
        &[ColdReads, Replica],
        &[ColdReads, Failover, OldPrimary, FailoverLoses, CalmNode],
        &[Lease],
        &[TwoDeleters],
        &[Lease, Restarts],
        &[Lease, Failover],
    ] {
        holds(Setup::new(features), None);
    }
    holds(Setup { leases: vec![3, 1, 2], ..Setup::of_one(&[Lease]) }, None);
    holds(Setup { nodes: 2, ..Setup::of_one(&[]) }, None);
}
