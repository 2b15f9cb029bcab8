//! Several servers, and a pooler: what the database does about a change there.

use super::{PRINCIPALS, migrated_on};
use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::{PostgresServer, Stop};
use crate::common::postgres_pair::{PostgresPair, Replication};
use crate::common::psql::psql_at;

#[test]
fn with_a_synchronous_standby_an_answered_change_survives_a_failover() {
    let pair = PostgresPair::start(Replication::Synchronous);
    let database = migrated_on(&pair.primary);
    database.psql(PRINCIPALS);
    let era = database.psql("SELECT gatepost_era()");
    // Also if the session wants to wait for less.
    database.psql("SET synchronous_commit = local; UPDATE principal SET bits = 0 WHERE id = 2;");
    pair.detach();
    let mut session = database.session();
    session.start("SET synchronous_commit = off; UPDATE principal SET bits = 0 WHERE id = 3;");
    database.wait_until(&format!(
        "wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {}",
        session.backend()
    ));
    // It waits, and nobody sees its change.
    assert_eq!(database.psql("SELECT number FROM counter"), "2");
    // Neither is what was seen known to be on the standby.
    let mut settling = database.session();
    settling.run("SET synchronous_commit = off;");
    settling.start("CALL gatepost_settle();");
    database.wait_until(&format!(
        "wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {}",
        settling.backend()
    ));
    pair.promote();
    let promoted = |script: &str| pair.standby.psql(&database.name, script);
    assert_eq!(
        promoted("SELECT number, bits FROM counter, principal WHERE id IN (2, 3) ORDER BY id"),
        "2|0\n2|2"
    );
    assert_eq!(promoted("SELECT gatepost_era() <> '{era}'".replace("{era}", &era).as_str()), "t");
    assert_eq!(promoted("SELECT split_part(gatepost_era(), '.', 2)"), "2");
    // The old primary takes no change, and says success to nobody.
    assert_eq!(database.psql("SELECT number FROM counter"), "2");
    pair.primary.stop(Stop::Kill);
}

#[test]
fn with_an_asynchronous_standby_a_failover_gives_a_number_out_again_with_another_token() {
    let pair = PostgresPair::start(Replication::Asynchronous);
    let database = migrated_on(&pair.primary);
    database.psql(PRINCIPALS);
    pair.wait_until_replayed();
    let refused = pair.standby.try_psql(&database.name, "SELECT gatepost_era()").unwrap_err();
    assert!(refused.contains("recovery is in progress"), "{refused}");
    pair.detach();
    let change = "UPDATE principal SET bits = 0 WHERE id = 2; SELECT number, token FROM counter;";
    let lost = database.psql(change);
    pair.promote();
    let again = pair.standby.psql(&database.name, change);
    let parts = |text: &str| {
        text.split_once('|').map(|(number, token)| (number.to_owned(), token.to_owned())).unwrap()
    };
    let ((number, token), (other_number, other_token)) = (parts(&lost), parts(&again));
    assert_eq!((number.as_str(), other_number.as_str()), ("2", "2"));
    assert_ne!(token, other_token);
}

#[test]
fn a_killed_backend_restarts_the_others_within_the_same_era() {
    let server = PostgresServer::start(&[]);
    let database = migrated_on(&server);
    database.psql(PRINCIPALS);
    let era = database.psql("SELECT gatepost_era()");
    let mut session = database.session();
    session.run("BEGIN; UPDATE principal SET bits = 0 WHERE id = 2; SET CONSTRAINTS ALL IMMEDIATE;");
    server.signal_backend(session.backend(), rustix::process::Signal::KILL);
    server.log().wait_for(&["terminating any other active server processes"]);
    server.log().wait_for(&["all server processes terminated; reinitializing"]);
    while database.try_psql("SELECT 1").is_err() {}
    assert_eq!(database.psql("SELECT gatepost_era(), number FROM counter"), format!("{era}|1"));
}

#[test]
fn changes_pass_through_a_pooler() {
    let server = PostgresServer::shared();
    let database = migrated_on(server);
    let pooler = PgBouncer::start(server.address(), "transaction", "default_pool_size = 1");
    let url = pooler.url(server, &database.name);
    psql_at(&url, PRINCIPALS).unwrap();
    psql_at(&url, "UPDATE credentials SET email = false WHERE username = 'acme-Mail'").unwrap();
    psql_at(&url, "UPDATE lease SET lease_ms = 1, longest_ms = 1").unwrap();
    psql_at(&url, "CALL gatepost_settle()").unwrap();
    // The settings of a change end with its transaction: the next client has the same connection.
    psql_at(&url, "BEGIN; SET LOCAL synchronous_commit = off; DELETE FROM accounts; COMMIT").unwrap();
    assert_eq!(psql_at(&url, "SHOW synchronous_commit").unwrap(), "on");
    assert_eq!(
        database.psql("SELECT names FROM log WHERE seq > 1 ORDER BY seq"),
        "{acme-mail}\n{acme,other}"
    );
}

#[test]
fn nothing_of_a_server_stays_behind() {
    let directory = {
        let server = PostgresServer::start(&[]);
        server.database().psql("SELECT 1");
        server.data()
    };
    assert!(!directory.exists());
    let server = PostgresServer::start(&[]);
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        server.stop(how);
        server.start_again();
        assert_eq!(server.psql("postgres", "SELECT 1"), "1", "{how:?}");
    }
}
