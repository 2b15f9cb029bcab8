//! Servers that can be read and not written.

use super::gateways::*;
use crate::common::Gateway;
use crate::common::backend::Backend;
use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::PostgresServer;
use crate::common::postgres_pair::{PostgresPair, Replication};

#[test]
fn reads_that_are_routed_to_a_standby_are_unavailable() {
    let (pair, backend) = (PostgresPair::start(Replication::Asynchronous), Backend::hello());
    fill(&pair.primary, &backend, 5);
    let direct = format!("direct_url = \"{}\"\n", pair.url(DATABASE));
    let one = gateway(&url(&pair.url(DATABASE)), &backend);
    let standby_only = gateway(&(url(&pair.standby.url(DATABASE)) + &direct), &backend);
    // The connections stay, and lead elsewhere from some transaction on.
    let pooler = PgBouncer::start(pair.primary.address(), "transaction", "");
    let pooled = gateway(&(url(&pooler.url(&pair.primary, DATABASE)) + &direct), &backend);
    wait_until_settled(&pair.primary);
    for gateway in [&one, &pooled] {
        assert_eq!((check(gateway, "user0"), check(gateway, "user1")), (200, 200));
    }
    assert_eq!((check(&standby_only, "user0"), ready(&one), ready(&pooled)), (503, 200, 200));

    pair.wait_until_replayed();
    pair.standby.psql(DATABASE, "SELECT pg_wal_replay_pause()");
    pooler.lead_to(pair.standby.address());
    // What is cached is as good as before; rows are not used.
    assert_eq!((check(&pooled, "user1"), check(&pooled, "user3")), (200, 503));
    assert_eq!(remove(&one, "user0").0, 200);
    assert_eq!(pair.standby.psql(DATABASE, "SELECT count(*) FROM credentials WHERE username = 'user0'"), "1");
    for gateway in [&pooled, &standby_only] {
        for _ in 0..20 {
            assert_eq!((check(gateway, "user0"), check(gateway, "user4")), (503, 503));
        }
    }
    assert_eq!((check(&one, "user0"), check(&one, "user4")), (401, 200));
    // The removed one was told of by the primary, and the other name is still cached.
    assert_eq!(check(&pooled, "user1"), 200);

    pooler.lead_to(pair.primary.address());
    wait_for(&pooled, "user4", 200);
    assert_eq!((check(&pooled, "user0"), check(&pooled, "user3")), (401, 200));
}

/// Checks that a gateway decides nothing once its trust has ended, and again after `mend`.
fn is_cut_off_until(gateway: &Gateway, mend: impl FnOnce()) {
    let took = wait_for(gateway, "user0", 503);
    assert!(took < LEASE * 2, "{took:?}");
    // Neither what is cached nor what can be read.
    assert_eq!((check(gateway, "user0"), check(gateway, "user1"), ready(gateway)), (503, 503, 503));
    assert_eq!(remove(gateway, "user2").0, 503);
    mend();
    let took = wait_for(gateway, "user0", 200);
    println!("back after {took:?}");
    assert!(took < LEASE * 3, "{took:?}");
    assert_eq!((check(gateway, "user1"), ready(gateway)), (200, 200));
}

#[test]
fn a_database_that_is_set_to_read_only_is_unavailable_until_it_can_be_written() {
    let (server, backend) = (PostgresServer::start(&[]), Backend::hello());
    fill(&server, &backend, 3);
    let one = gateway(&url(&server.url(DATABASE)), &backend);
    expect(&one, "user0", 200);
    server.set(&[("default_transaction_read_only", "on")]);
    is_cut_off_until(&one, || server.set(&[("default_transaction_read_only", "off")]));
    one.log().wait_for(&["this is not the primary, or it is set to read-only"]);
    assert_eq!(remove(&one, "user2").0, 200);
    expect(&one, "user2", 401);
}

#[test]
fn a_primary_without_its_synchronous_standby_is_unavailable_until_that_is_back() {
    let (pair, backend) = (PostgresPair::start(Replication::Synchronous), Backend::hello());
    fill(&pair.primary, &backend, 3);
    let one = gateway(&url(&pair.url(DATABASE)), &backend);
    expect(&one, "user0", 200);
    pair.detach();
    is_cut_off_until(&one, || pair.attach());
    // One that was under way may be done by now.
    let (status, text) = remove(&one, "user2");
    assert!(matches!(status, 200 | 404), "{status}: {text}");
    expect(&one, "user2", 401);
}
