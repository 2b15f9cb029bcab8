//! Broken rules: for each there is a counterexample, which the model must find. Other steps are left out where the
//! counterexample does not need them.

use super::setup::{Feature, Setup};
use super::{explore, steps_of};
use Feature::*;

fn is_broken(setup: Setup) {
    let features = format!("{:?}", setup.features);
    let exploration = explore(setup, None);
    let Some(path) = exploration.counterexample else { panic!("{features}: no counterexample") };
    println!("{} states: {features}\n  {}", exploration.states, steps_of(path));
}

fn each_is_broken(setups: &[&[Feature]]) {
    for features in setups {
        is_broken(Setup::of_one(features));
    }
}

#[test]
fn rules_of_a_node() {
    each_is_broken(&[
        &[RegistrationAndReadInOneTransaction],
        &[ReadBeforeRegistration],
        &[TrustFromReply],
        &[AcknowledgedBeforeApplied],
        &[LeftBeforeStopping],
        &[TwoProcessesOneRow],
        &[PausedClock],
        &[BellExtendsTrust, CalmNode],
    ]);
}

#[test]
fn rules_of_a_revoker() {
    each_is_broken(&[
        &[SilentNodeIgnored],
        &[ShortWait],
        &[WaitFromBeforeCommit],
        &[SlowLooks, LookFromBeforeCommit],
        &[CommittedAsynchronously],
    ]);
    is_broken(Setup::new(&[PlainSql, Settle, SettleOnlyReads]));
}

#[test]
fn rules_of_deleting_rows() {
    is_broken(Setup::new(&[DeletedAtWaitEnd]));
    each_is_broken(&[
        &[TwoDeleters, DeletedWhateverBeat, CalmNode],
        &[TwoDeleters, DeletedFromSending, CalmNode],
        &[TwoDeleters, DeletedInTwoStatements, CalmNode],
        &[TwoDeleters, IdComesBack],
    ]);
}

#[test]
fn rules_of_eras() {
    is_broken(Setup::new(&[Failover, NoGraceOfShortLived]));
    each_is_broken(&[
        &[Failover, NoGrace],
        &[Failover, SettledInAnyEra],
        &[Failover, SettledEarly],
        &[Failover, FailoverLoses, WaitsInAnyEra],
        &[Failover, OldPrimary, OldPrimaryCommits, CalmNode],
        &[Lease, Failover, SettledAfterPresentLease, CalmNode],
    ]);
}

#[test]
fn rules_of_the_log() {
    each_is_broken(&[
        &[PlainSql, NoTokens],
        &[PlainSql, AcknowledgedByNumber],
        &[PlainSql, RegisteredAsApplied],
    ]);
    is_broken(Setup::new(&[PlainSql, Trimming, TrimmedUnnoticed, CalmNode]));
}

#[test]
fn rules_of_the_lease() {
    let longer = |features| Setup { leases: vec![1, 2], ..Setup::of_one(features) };
    is_broken(longer(&[Lease, LeaseRaisedAtOnce, CalmNode]));
    is_broken(longer(&[Lease, LongestReadBeforeCommit, CalmNode]));
    each_is_broken(&[
        &[Lease, LeaseLoweredAtOnce],
        &[Lease, Restarts, EraForgetsLongest, CalmNode],
        &[Lease, LeaseWithoutVersion, CalmNode],
    ]);
}
