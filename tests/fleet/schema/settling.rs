//! `CALL gatepost_settle()`: returns when every process decides on the state of the call or a later one.

use std::time::{Duration, Instant};

use super::{filled, migrated_on};
use crate::common::PATIENCE;
use crate::common::fake_clock::FakeClock;
use crate::common::postgres::{PostgresDatabase, PostgresServer};
use crate::common::psql::Session;

/// Sets the longest lease, in milliseconds.
fn lease(database: &PostgresDatabase<'_>, longest: u32) {
    database.psql(&format!("UPDATE lease SET lease_ms = {longest}, longest_ms = {longest}"));
}

/// Adds a process that has applied so many changes.
fn node(database: &PostgresDatabase<'_>, id: i32, applied: i32, settled: i32) {
    database.psql(&format!(
        "INSERT INTO node (id, era, beat, applied, settled, version) VALUES ({id}, gatepost_era(), 1, {applied}, {settled}, '0')"
    ));
}

fn settle(database: &PostgresDatabase<'_>) -> Duration {
    let begun = Instant::now();
    database.psql("CALL gatepost_settle()");
    begun.elapsed()
}

/// A session in which the procedure waits.
fn settling(database: &PostgresDatabase<'_>) -> Session {
    let mut session = database.session();
    session.start("CALL gatepost_settle();");
    let waits = format!("wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = {}", session.backend());
    database.wait_until(&waits);
    session
}

#[test]
fn it_returns_at_once_if_everybody_has_applied_everything() {
    let database = filled();
    lease(&database, 600_000);
    node(&database, 1, 1, 1);
    node(&database, 2, 5, 0);
    assert!(settle(&database) < PATIENCE);
}

#[test]
fn it_returns_when_the_last_process_has_applied_the_change() {
    let database = filled();
    lease(&database, 600_000);
    node(&database, 1, 1, 1);
    node(&database, 2, 0, 0);
    let mut session = settling(&database);
    // Later changes are not waited for.
    database.psql("UPDATE principal SET bits = 0 WHERE id = 2; UPDATE node SET applied = 1 WHERE id = 2");
    assert_eq!(session.finish(), "");
}

#[test]
fn it_returns_when_the_row_of_a_dead_process_is_deleted() {
    let database = filled();
    lease(&database, 600_000);
    node(&database, 1, 1, 1);
    node(&database, 2, 0, 0);
    let mut session = settling(&database);
    database.psql("DELETE FROM node WHERE id = 2");
    assert_eq!(session.finish(), "");
}

#[test]
fn without_an_answer_it_waits_for_the_longest_lease() {
    const LONGEST: Duration = Duration::from_millis(300);
    let database = filled();
    lease(&database, 300);
    // No process is there that has known this era for long: one of an era before may decide without a row.
    assert!(settle(&database) >= LONGEST);
    node(&database, 1, 1, 0);
    assert!(settle(&database) >= LONGEST);
    database.psql("UPDATE node SET settled = 1, era = 'another'");
    assert!(settle(&database) >= LONGEST);
    // A process that does not answer.
    node(&database, 2, 1, 1);
    node(&database, 3, 0, 0);
    assert!(settle(&database) >= LONGEST);
}

#[test]
fn the_lease_of_the_moment_counts() {
    let database = filled();
    lease(&database, 300);
    let begun = Instant::now();
    let mut session = settling(&database);
    database.psql("UPDATE lease SET longest_ms = 900");
    assert_eq!(session.finish(), "");
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

#[test]
fn it_refuses_to_run_inside_a_transaction() {
    let database = filled();
    node(&database, 1, 1, 1);
    let refused = database.try_psql("BEGIN; CALL gatepost_settle(); COMMIT;").unwrap_err();
    assert!(refused.contains("gatepost_settle() cannot run inside a transaction"), "{refused}");
    let refused = database.try_psql(
        "DO $$ BEGIN BEGIN CALL gatepost_settle(); EXCEPTION WHEN division_by_zero THEN END; END $$",
    );
    assert!(refused.is_err(), "{refused:?}");
    // A block that may commit may call it.
    database.psql("DO $$ BEGIN UPDATE principal SET bits = 0 WHERE id = 2; COMMIT; UPDATE node SET applied = 2; CALL gatepost_settle(); END $$");
}

#[test]
fn what_was_seen_is_on_disk_when_it_returns() {
    let server = PostgresServer::start(&[("synchronous_commit", "off"), ("wal_writer_delay", "10s")]);
    let database = migrated_on(&server);
    node(&database, 1, 0, 1);
    let unflushed = "SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()";
    let mut session = database.session();
    session.run("CREATE TABLE other (n INT); SELECT pg_switch_wal(); CHECKPOINT;");
    assert_eq!(session.run(&format!("INSERT INTO other VALUES (1); {unflushed};")), "t");
    session.run("SELECT pg_current_wal_insert_lsn() AS seen \\gset");
    let flushed = session.run("CALL gatepost_settle(); SELECT pg_current_wal_flush_lsn() >= :'seen';");
    assert_eq!(flushed, "t");
}

#[test]
fn a_clock_that_is_set_meanwhile_does_not_shorten_the_wait() {
    let clock = FakeClock::new();
    let server = PostgresServer::start_with(&[], &clock.environment());
    let database = migrated_on(&server);
    lease(&database, 1000);
    let begun = Instant::now();
    let mut session = settling(&database);
    let now =
        || -> i64 { database.psql("SELECT extract(epoch FROM clock_timestamp())::BIGINT").parse().unwrap() };
    let before = now();
    clock.set("+10m");
    assert!(now() - before > 500);
    assert_eq!(session.finish(), "");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}
