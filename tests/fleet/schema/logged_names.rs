//! The names that the log has of a change.

use std::time::{Duration, Instant};

use super::{CHANGES, filled, migrated};
use crate::common::PATIENCE;

/// Runs each script in a transaction, and compares the names of its change. Without names, it is none.
fn expect_names(cases: &[(&str, Option<&str>)]) {
    let database = filled();
    let mut number = 1;
    for (script, names) in cases {
        let before = number;
        database.psql(&format!("BEGIN;\n{script};\nCOMMIT;"));
        let logged =
            database.psql(&format!("SELECT seq, coalesce(names::TEXT, 'all') FROM log WHERE seq > {before}"));
        number = database.psql("SELECT number FROM counter").parse().unwrap();
        let expected = names.map(|names| format!("{number}|{names}")).unwrap_or_default();
        assert_eq!(logged, expected, "{script}");
        assert_eq!(number - before, i32::from(names.is_some()), "{script}");
    }
}

#[test]
fn a_change_is_logged_by_what_must_be_read_again() {
    expect_names(&[
        // A credential's own name; an account's stands for its credentials, too.
        ("UPDATE principal SET bits = 0 WHERE id = 2", Some("{acme-mail}")),
        ("UPDATE principal SET bits = 3 WHERE id = 1", Some("{acme}")),
        ("UPDATE principal SET active = 0 WHERE id = 1", Some("{acme}")),
        ("UPDATE principal SET hash = 'y' WHERE id = 2", Some("{acme-mail}")),
        ("UPDATE principal SET expires_at = 1 WHERE id = 3", Some("{acme-api}")),
        // Both names of a rename, also if only the case of its letters is another.
        ("UPDATE principal SET name = 'acme-new' WHERE id = 2", Some("{acme-mail,acme-new}")),
        ("UPDATE principal SET name = 'ACME-NEW' WHERE id = 2", Some("{acme-new}")),
        ("UPDATE principal SET account_id = 4 WHERE id = 2", Some("{acme-new}")),
        ("UPDATE principal SET id = 22 WHERE id = 2", Some("{acme-new}")),
        (
            "INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) VALUES (1, 'added', 'x', 0, 0, 0)",
            Some("{added}"),
        ),
        ("DELETE FROM principal WHERE name = 'added'", Some("{added}")),
        ("DELETE FROM principal WHERE id = 1", Some("{acme}")),
        ("TRUNCATE principal CASCADE", Some("all")),
    ]);
}

#[test]
fn what_no_decision_depends_on_is_not_logged() {
    expect_names(&[
        ("UPDATE principal SET updated_at = 1, credentials = 2 WHERE id = 1", None),
        ("UPDATE principal SET bits = bits, hash = hash", None),
        ("UPDATE principal SET bits = 0 WHERE id = 99", None),
        ("DELETE FROM principal WHERE id = 99", None),
        ("INSERT INTO principal_use VALUES (2, '192.0.2.0/24', 0, 'smtp', '192.0.2.1')", None),
        ("SAVEPOINT a; UPDATE principal SET bits = 0; ROLLBACK TO a", None),
        ("UPDATE principal SET bits = 0; ROLLBACK; BEGIN", None),
    ]);
}

#[test]
fn a_renewed_hash_is_not_logged_and_nothing_else_is_hidden_with_it() {
    expect_names(&[
        ("SET LOCAL gatepost.renewal = 'on'; UPDATE principal SET hash = 'z' WHERE id = 2", None),
        (
            "SET LOCAL gatepost.renewal = 'on'; UPDATE principal SET hash = 'y', bits = 0 WHERE id = 2",
            Some("{acme-mail}"),
        ),
        (
            "SET LOCAL gatepost.renewal = 'on'; UPDATE principal SET hash = 'w' WHERE id IN (2, 3)",
            Some("{acme-api,acme-mail}"),
        ),
        (
            "SET LOCAL gatepost.renewal = 'off'; UPDATE principal SET hash = 'z' WHERE id = 2",
            Some("{acme-mail}"),
        ),
        // The setting has ended with its transaction.
        ("UPDATE principal SET hash = 'x' WHERE id = 2", Some("{acme-mail}")),
    ]);
}

#[test]
fn a_session_that_ends_is_logged_and_one_that_is_cleared_away_is_not() {
    let begin = "INSERT INTO session (principal_id, entry, digest, created_at, confirmed_at, used_at, idle_until, ends_at, source, browser) \
         SELECT 2, 'web', repeat(n::TEXT, 64), 1, 1, 1, 2, 2, '', '' FROM generate_series(1, 4) AS n";
    let delete = "DELETE FROM session WHERE digest LIKE";
    let not_clearing = format!("SET LOCAL gatepost.clearing = 'off'; {delete} '2%'");
    expect_names(&[
        (begin, None),
        (&format!("SET LOCAL gatepost.clearing = 'on'; {delete} '1%'"), None),
        (&not_clearing, Some("{acme-mail}")),
        // The setting has ended with its transaction.
        (&format!("{delete} '3%'"), Some("{acme-mail}")),
        // It hides no other change.
        (
            "SET LOCAL gatepost.clearing = 'on'; DELETE FROM session; UPDATE principal SET bits = 0 WHERE id = 2",
            Some("{acme-mail}"),
        ),
    ]);
}

#[test]
fn a_transaction_is_one_change() {
    expect_names(&[
        (
            "UPDATE principal SET bits = 0 WHERE id = 2; UPDATE principal SET bits = 0 WHERE id = 4",
            Some("{acme-mail,other}"),
        ),
        (
            "UPDATE principal SET bits = 1 WHERE id = 2; SAVEPOINT a; UPDATE principal SET bits = 1 WHERE id = 3; ROLLBACK TO a",
            Some("{acme-mail}"),
        ),
        (
            "SAVEPOINT a; UPDATE principal SET bits = 6 WHERE id = 3; RELEASE a; DELETE FROM principal WHERE id = 2",
            Some("{acme-api,acme-mail}"),
        ),
        ("UPDATE principal SET bits = 1 WHERE id = 3; TRUNCATE principal CASCADE", Some("all")),
    ]);
}

#[test]
fn every_kind_of_statement_is_logged() {
    expect_names(&[
        ("COPY principal (id, name, hash, bits, created_at, updated_at) FROM STDIN;\n90\tcopied\tx\t0\t0\t0\n\\.\n",
            Some("{copied}")),
        ("INSERT INTO principal (id, name, hash, bits, created_at, updated_at) VALUES (91, 'COPIED', 'x', 0, 0, 0)
          ON CONFLICT (lower(name)) DO UPDATE SET bits = 7", Some("{copied}")),
        ("MERGE INTO principal p USING (VALUES ('copied')) AS n (name) ON lower(p.name) = n.name
          WHEN MATCHED THEN UPDATE SET bits = 1", Some("{copied}")),
        ("WITH gone AS (DELETE FROM principal WHERE id = 90 RETURNING id) UPDATE principal SET bits = 0 WHERE id = 2",
            Some("{acme-mail,copied}")),
        ("SET LOCAL session_replication_role = replica; UPDATE principal SET bits = 1 WHERE id = 2", Some("{acme-mail}")),
        ("SET LOCAL session_replication_role = replica; TRUNCATE principal CASCADE", Some("all")),
    ]);
}

#[test]
fn a_large_change_is_logged_as_all() {
    let database = migrated();
    let add = |first: i32, last: i32| {
        format!(
            "INSERT INTO principal (name, hash, bits, created_at, updated_at) \
             SELECT 'user' || n, 'x', 7, 0, 0 FROM generate_series({first}, {last}) AS n;"
        )
    };
    database.psql(&format!("{}\n{}", add(1, 500), add(501, 1001)));
    database.psql(&format!("BEGIN;\n{}\n{}\nCOMMIT;", add(2001, 2300), add(2301, 2600)));
    let lengths = database.psql("SELECT seq, cardinality(names) FROM log WHERE seq > 0 ORDER BY seq");
    assert_eq!(lengths, "1|500\n2|\n3|");
}

#[test]
fn the_work_grows_with_the_rows_and_the_statements() {
    let database = migrated();
    let timed = |what: &str, script: &str| {
        let begun = Instant::now();
        database.psql(script);
        let elapsed = begun.elapsed();
        println!("{what}: {elapsed:?}");
        // By a trigger for each row, 16,000 rows took 18 s, and 100,000 would take a quarter of an hour.
        assert!(elapsed < PATIENCE, "{what}: {elapsed:?}");
        elapsed
    };
    timed(
        "add",
        "INSERT INTO principal (name, hash, bits, created_at, updated_at) VALUES ('holder', 'x', 7, 0, 0);
         INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at)
         SELECT id, 'user' || n, 'x', 7, 0, 0 FROM principal, generate_series(1, 100000) AS n;",
    );
    timed("update", "UPDATE principal SET bits = 0");
    timed(
        "update by statements",
        "DO $$ BEGIN FOR n IN 1..5000 LOOP UPDATE principal SET bits = 1 WHERE lower(name) = 'user' || n; END LOOP; END $$",
    );
    // One change of an account is one name, however many credentials go with it.
    timed("remove", "DELETE FROM principal WHERE name = 'holder'");
    let logged = "SELECT seq, coalesce(names::TEXT, 'all') FROM log WHERE seq > 1 ORDER BY seq";
    assert_eq!(database.psql(logged), "2|all\n3|all\n4|all\n5|{holder}");
    assert!(timed("nothing", CHANGES) < Duration::from_secs(5));
}
