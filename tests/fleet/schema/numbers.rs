//! The numbers of changes: in the order of commits, and durable with them.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{CHANGES, filled, migrate, migrated};
use crate::common::postgres::PostgresServer;
use crate::common::psql::psql_at;

#[test]
fn an_open_transaction_blocks_nobody_and_is_numbered_at_its_commit() {
    let database = filled();
    let mut idle = database.session();
    idle.run("BEGIN; UPDATE principal SET bits = 0 WHERE id = 2;");
    database.psql("SET lock_timeout = '30s'; UPDATE principal SET bits = 0 WHERE id = 3");
    assert_eq!(database.psql(CHANGES), "2|{acme-api}");
    idle.run("COMMIT;");
    assert_eq!(database.psql(CHANGES), "2|{acme-api}\n3|{acme-mail}");
}

#[test]
fn the_number_can_be_read_just_before_the_commit() {
    let database = filled();
    let number = database.psql(
        "BEGIN;
         UPDATE principal SET bits = 0 WHERE id = 2;
         SET CONSTRAINTS ALL IMMEDIATE;
         SELECT number, token = (SELECT token FROM log WHERE seq = number) FROM counter;
         COMMIT;",
    );
    assert_eq!(number, "2|t");
    assert_eq!(database.psql(CHANGES), "2|{acme-mail}");
    // What follows it in the same transaction is a change of its own.
    database.psql(
        "BEGIN; UPDATE principal SET bits = 1 WHERE id = 2; SET CONSTRAINTS ALL IMMEDIATE;
         UPDATE principal SET bits = 1 WHERE id = 3; COMMIT;",
    );
    assert_eq!(database.psql(CHANGES), "2|{acme-mail}\n3|{acme-mail}\n4|{acme-api}");
}

#[test]
fn numbers_are_in_the_order_of_commits_and_tokens_differ() {
    const CLIENTS: usize = 8;
    const CHANGES_OF_EACH: usize = 60;
    let database = migrated();
    let url = database.url();
    let add = "INSERT INTO principal (id, name, hash, bits, created_at, updated_at) \
               SELECT n, 'user' || n, 'x', 0, 0, 0 FROM generate_series(0, 99) AS n";
    database.psql(add);
    let ended = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut session = database.session();
            let mut looks = 0;
            // In each snapshot, all changes up to the number are there, and none above.
            let gap = "SELECT number, max(seq), count(seq) FROM counter, log GROUP BY number \
                       HAVING number <> max(seq) OR number + 1 <> count(seq);";
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(session.run(gap), "");
                looks += 1;
            }
            looks
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let script: String = (0..CHANGES_OF_EACH)
                    .map(|n| {
                        // Some change much in one transaction, and some nothing for a while before they commit.
                        let wait = if n % 7 == 0 { "SELECT count(*) FROM generate_series(1, 20000);" } else { "" };
                        let id = client * 10 + n % 10;
                        format!("BEGIN; UPDATE principal SET bits = (bits + 1) % 8 WHERE id = {id}; {wait} COMMIT;\n")
                    })
                    .collect();
                let url = &url;
                scope.spawn(move || psql_at(url, &script).unwrap())
            })
            .collect();
        let ends: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        ended.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
        reader.join().unwrap()
    });
    assert!(looks > 10, "only {looks} looks: too few to see anything");
    let counted = database.psql("SELECT max(seq), count(seq), count(DISTINCT token), count(*) FROM log");
    let last = CLIENTS * CHANGES_OF_EACH + 1;
    assert_eq!(counted, format!("{last}|{0}|{0}|{0}", last + 1));
}

#[test]
fn a_change_waits_for_the_disk_whatever_the_session_has_chosen() {
    let database = filled();
    for (chosen, of_a_change) in [
        ("off", "on"),
        ("local", "on"),
        ("on", "on"),
        ("remote_write", "remote_write"),
        ("remote_apply", "remote_apply"),
    ] {
        let mut session = database.session();
        session.run(&format!(
            "SET synchronous_commit = {chosen}; BEGIN; UPDATE principal SET bits = (bits + 1) % 8;"
        ));
        assert_eq!(session.run("SET CONSTRAINTS ALL IMMEDIATE; SHOW synchronous_commit;"), of_a_change);
        assert_eq!(session.run("COMMIT; SHOW synchronous_commit;"), chosen);
    }
}

#[test]
fn a_change_survives_a_crash_right_after_its_commit() {
    let server = PostgresServer::start(&[("synchronous_commit", "off"), ("wal_writer_delay", "10s")]);
    let database = super::migrated_on(&server);
    database.psql(super::PRINCIPALS);
    let mut session = database.session();
    // Another table, to see that the crash loses something.
    session.run("CREATE TABLE other (n INT); SELECT pg_switch_wal(); CHECKPOINT;");
    session.run("UPDATE principal SET bits = 0 WHERE id = 2;");
    session.run("INSERT INTO other VALUES (1);");
    server.stop(crate::common::postgres::Stop::Immediate);
    server.start_again();
    assert_eq!(database.psql("SELECT bits FROM principal WHERE id = 2; SELECT number FROM counter"), "0\n2");
    assert_eq!(database.psql("SELECT count(*) FROM other"), "0");
}

#[test]
fn a_change_is_announced_unless_that_is_switched_off() {
    let database = filled();
    let mut listener = database.session();
    listener.run("LISTEN gatepost;");
    database.psql("UPDATE principal SET bits = 0 WHERE id = 2; UPDATE principal SET updated_at = 1;");
    let heard = listener.run("SELECT 1;");
    assert_eq!(heard.matches("\"gatepost\"").count(), 1, "{heard}");
    database.psql("UPDATE lease SET notify = 0; UPDATE principal SET bits = 1 WHERE id = 2;");
    assert_eq!(listener.run("SELECT 1;"), "1");
    assert_eq!(database.psql(CHANGES), "2|{acme-mail}\n3|{acme-mail}");
}

/// System identifier and database, timeline and start of the server.
#[test]
fn an_era_is_one_life_of_one_server() {
    let server = PostgresServer::start(&[]);
    let database = super::migrated_on(&server);
    let era = || database.psql("SELECT gatepost_era()");
    let first = era();
    let life = "SELECT '1.' || (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::BIGINT";
    let (place, rest) = first.split_once('.').unwrap();
    assert_eq!((rest.to_owned(), first.clone()), (database.psql(life), era()));
    // Another database of the same server is another place.
    let other = super::migrated_on(&server).psql("SELECT gatepost_era()");
    assert!(other.ends_with(rest) && !other.starts_with(place), "{first} {other}");
    server.stop(crate::common::postgres::Stop::Fast);
    server.start_again();
    assert_ne!(era(), first);
    assert_eq!(era().rsplit_once('.').unwrap().0, first.rsplit_once('.').unwrap().0);
}

#[test]
fn a_lost_counter_refuses_changes() {
    let database = filled();
    database.psql("DELETE FROM counter");
    let refused = database.try_psql("UPDATE principal SET bits = 0").unwrap_err();
    assert!(refused.contains("table counter has lost its row"), "{refused}");
}

#[test]
fn a_name_is_taken_in_any_case_whatever_the_locale_is() {
    let database = filled();
    let insert =
        "INSERT INTO principal (name, hash, bits, created_at, updated_at) VALUES ('aCME', 'x', 0, 0, 0)";
    let refused = database.try_psql(insert).unwrap_err();
    assert!(refused.contains("unique constraint \"principal_name_taken\""), "{refused}");
    assert_eq!(
        database.psql("SELECT lower(name), lower('É' COLLATE \"C\") FROM principal WHERE id = 1"),
        "acme|É"
    );
}

#[test]
fn the_highest_cost_is_read_from_an_index() {
    let database = migrated();
    let bcrypt = |start: &str, cost: &str| format!("{start}{cost}${}", "a".repeat(53));
    let hashes =
        [&bcrypt("$2b$", "12"), &bcrypt("prefix$2y$", "05"), &bcrypt("$2b$", "ab"), "x", "$6$other$hash"];
    for (n, hash) in hashes.iter().enumerate() {
        let values = format!("('user{n}', '{hash}', 0, 0, 0)");
        database.psql(&format!(
            "INSERT INTO principal (name, hash, bits, created_at, updated_at) VALUES {values}"
        ));
    }
    let cost = "CAST(substring(hash FROM '([0-9]{2})[$].{53}$') AS BIGINT)";
    let highest = format!("SELECT max({cost}) FROM principal WHERE {cost} <= ");
    assert_eq!(database.psql(&format!("{highest} 31; {highest} 11")), "12\n5");
    let plan = database.psql(&format!("SET enable_seqscan = off; EXPLAIN {highest} 31"));
    assert!(plan.contains("Index Scan Backward using principal_cost"), "{plan}");
}

#[test]
fn it_works_in_any_schema_and_with_any_search_path() {
    let database = PostgresServer::shared().database();
    database.psql("CREATE SCHEMA \"Gate Post\"");
    migrate(&database, "\"Gate Post\"");
    let names = database.psql(
        "SET search_path = '';
         INSERT INTO \"Gate Post\".principal (name, hash, bits, created_at, updated_at) VALUES ('acme', 'x', 7, 0, 0);
         UPDATE \"Gate Post\".accounts SET active = false;
         CREATE TEMP TABLE log (seq INT); CREATE TEMP TABLE counter (number INT); CREATE TEMP TABLE principal (id INT);
         SET search_path = pg_temp;
         DELETE FROM \"Gate Post\".accounts;
         UPDATE \"Gate Post\".lease SET lease_ms = 1, longest_ms = 1;
         CALL \"Gate Post\".gatepost_settle();
         SELECT names FROM \"Gate Post\".log WHERE seq > 0 ORDER BY seq;",
    );
    assert_eq!(names, "{acme}\n{acme}\n{acme}");
}
