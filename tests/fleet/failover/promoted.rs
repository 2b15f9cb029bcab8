//! A standby becomes the primary.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::gateways::*;
use crate::common::backend::Backend;
use crate::common::postgres::Stop;
use crate::common::postgres_pair::{PostgresPair, Replication};
use crate::common::{Gateway, command};

/// The time in which nodes decide again after a promotion: the old primary is given up after 0.9 leases, as is one more attempt there.
const BACK: Duration = Duration::from_secs(5);
/// The metric of revocations that waited since the era was young.
const UNSETTLED: &str = "gatepost_revocation_waits_total{why=\"unsettled_era\"}";
const WENT_BACK: &str = "gatepost_database_went_back_total";

/// The keys of a gateway that knows both servers.
fn both(pair: &PostgresPair) -> String {
    format!("url = \"{0}\"\ndirect_url = \"{0}\"\n", pair.url(DATABASE))
}

/// Removes credentials one after another, each until the removal is answered, by one gateway and the other in turn. Returns the number of
/// calls that were answered with 503.
fn remove_all(gateways: [&Gateway; 2], names: std::ops::Range<usize>, checks: &Checks) -> usize {
    let mut unconfirmed = 0;
    for number in names {
        // 404: an earlier call has done it, and it is in effect everywhere.
        while !matches!(remove(gateways[(number + unconfirmed) % 2], &format!("user{number}")).0, 200 | 404) {
            unconfirmed += 1;
        }
        checks.is_removed(number);
    }
    unconfirmed
}

#[test]
fn a_promotion_beside_a_running_primary_loses_no_answered_removal() {
    let (pair, backend) = (PostgresPair::start(Replication::Synchronous), Backend::hello());
    fill(&pair.primary, &backend, 40);
    let [one, two] = [gateway(&both(&pair), &backend), gateway(&both(&pair), &backend)];
    // The one that stays with the old primary.
    let left = gateway(&url(&pair.primary.url(DATABASE)), &backend);
    wait_until_settled(&pair.primary);
    let all = [&one, &two, &left];
    for gateway in all {
        expect(gateway, "user0", 200);
    }
    // The last ones stay.
    let checks = Checks::new(40);
    std::thread::scope(|scope| {
        let checking = checks.until_dropped();
        for gateway in all {
            let checks = &checks;
            scope.spawn(move || checks.run(gateway));
        }
        assert_eq!(remove_all([&one, &two], 0..10, &checks), 0, "before");
        pair.detach();
        let during = scope.spawn(|| remove_all([&one, &two], 10..12, &checks));
        for gateway in all {
            wait_for(gateway, "user39", 503);
        }
        pair.promote();
        let promoted_at = Instant::now();
        for gateway in [&one, &two] {
            wait_for(gateway, "user39", 200);
        }
        let took = promoted_at.elapsed();
        println!("nodes decide again {took:?} after the promotion");
        assert!(took < BACK, "{took:?}");
        let unconfirmed = during.join().unwrap();
        println!(
            "the first removals were answered {:?} after it, {unconfirmed} calls before",
            promoted_at.elapsed()
        );
        assert!(unconfirmed > 0, "nothing is answered while no standby confirms it");
        remove_all([&one, &two], 12..30, &checks);
        assert_eq!((ready(&one), ready(&two), ready(&left)), (200, 200, 503));
        for number in 0..30 {
            assert_eq!(check(&left, &format!("user{number}")), 503, "user{number}");
        }
        drop(checking);
    });
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (passed, refused, unavailable) =
        (count(&checks.passed), count(&checks.refused), count(&checks.unavailable));
    println!("{passed} checks passed, {refused} were refused, {unavailable} got 503");
    assert!(passed > 10 && refused > 10 && unavailable > 10, "{passed} {refused} {unavailable}");
    assert_eq!((metric(&one, WENT_BACK), metric(&two, WENT_BACK)), (0, 0));
}

#[test]
fn a_removal_right_after_a_promotion_waits_for_the_longest_lease() {
    let (pair, backend) = (PostgresPair::start(Replication::Synchronous), Backend::hello());
    fill(&pair.primary, &backend, 3);
    let [one, two] = [gateway(&both(&pair), &backend), gateway(&both(&pair), &backend)];
    wait_until_settled(&pair.primary);
    assert_eq!(remove(&one, "user0").0, 200);
    pair.detach();
    pair.promote();
    // Long before a lease has passed in the new era.
    one.log().wait_for(&["connected to the cluster again"]);
    let began = Instant::now();
    let (status, text) = remove(&one, "user1");
    let took = began.elapsed();
    assert_eq!(status, 200, "{text}");
    for gateway in [&one, &two] {
        assert_eq!((check(gateway, "user0"), check(gateway, "user1")), (401, 401));
        expect(gateway, "user2", 200);
    }
    println!("the removal took {took:?}");
    assert!(took > LEASE / 2 && took < LEASE * 3, "{took:?}");
    assert_eq!(metric(&one, UNSETTLED), 1);
}

#[test]
fn a_promoted_standby_without_an_answered_removal_is_noticed() {
    let (pair, backend) = (PostgresPair::start(Replication::Asynchronous), Backend::hello());
    fill(&pair.primary, &backend, 4);
    let gateways = [gateway(&both(&pair), &backend), gateway(&both(&pair), &backend)];
    wait_until_settled(&pair.primary);
    assert_eq!(gateways[0].manage("add", "username=early&password=passw0rd-1").0, 200);
    pair.wait_until_replayed();
    pair.detach();
    assert_eq!(gateways[0].manage("add", "username=late&password=passw0rd-1").0, 200);
    assert_eq!(remove(&gateways[1], "user0").0, 200);
    for gateway in &gateways {
        expect(gateway, "user0", 401);
        wait_for(gateway, "late", 200);
        expect(gateway, "early", 200);
    }
    let from = pair.primary.psql(DATABASE, "SELECT number FROM counter");
    let to = pair.standby.psql(DATABASE, "SELECT number FROM counter");
    pair.primary.stop(Stop::Fast);
    pair.promote();
    let promoted_at = Instant::now();
    for gateway in &gateways {
        // What was cached is dropped: it would pass.
        wait_for(gateway, "late", 401);
        expect(gateway, "early", 200);
        // The removal is lost, as it is said.
        expect(gateway, "user0", 200);
        let said = format!("PostgreSQL went back from {from} to {to}: revocations may be lost");
        gateway.log().wait_for(&[&said, "\"ERROR\""]);
        assert_eq!(metric(gateway, WENT_BACK), 1);
    }
    println!("nodes decide again {:?} after the promotion", promoted_at.elapsed());
    let (status, text) = remove(&gateways[0], "user0");
    assert_eq!(status, 200, "{text}");
    for gateway in &gateways {
        expect(gateway, "user0", 401);
        expect(gateway, "user1", 200);
        assert_eq!(metric(gateway, WENT_BACK), 1);
    }
}

#[test]
fn commands_find_the_primary_among_several_servers() {
    let (pair, backend) = (PostgresPair::start(Replication::Asynchronous), Backend::hello());
    fill(&pair.primary, &backend, 1);
    pair.wait_until_replayed();
    let (first, second) = (pair.primary.address().to_string(), pair.standby.address().to_string());
    // The standby is the first, before and after its promotion.
    let url_of_both = pair.primary.url(DATABASE).replace(&first, &format!("{second},{first}"));
    let directory = directory(&url(&url_of_both), &backend);
    let run = |arguments: &[&str]| {
        let output = command(&directory.path().join("gatepost.toml"), arguments, "");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    run(&["account", "list"]);
    run(&["cluster", "nodes"]);
    run(&["cluster", "lease", "2s"]);
    run(&["account", "suspend", "acme"]);
    let active = "SELECT active FROM principal WHERE name = 'acme'";
    assert_eq!(pair.primary.psql(DATABASE, active), "0");
    assert_eq!(pair.primary.psql(DATABASE, "SELECT lease_ms FROM lease"), "2000");
    pair.wait_until_replayed();
    pair.promote();
    // Two servers take changes now, and the first of them is asked.
    run(&["account", "resume", "acme"]);
    assert_eq!(
        (pair.standby.psql(DATABASE, active), pair.primary.psql(DATABASE, active)),
        ("1".into(), "0".into())
    );
}
