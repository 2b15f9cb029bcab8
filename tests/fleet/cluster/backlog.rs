//! A long log: it is trimmed as far as every node has applied it.

use super::gateways::gateway;
use crate::common::backend::Backend;
use crate::common::postgres::{PostgresDatabase, PostgresServer};

/// Adds so many changes of an hour ago, with one name each.
fn add_old_changes(database: &PostgresDatabase<'_>, count: u32) {
    database.psql(&format!(
        "WITH last AS (UPDATE counter SET number = number + {count} RETURNING number, token) \
         INSERT INTO log (seq, token, names, logged_at) SELECT n, CASE WHEN n = number THEN token ELSE n END, \
         ARRAY['user' || n], now() - interval '1 hour' FROM last, generate_series(number - {count} + 1, number) AS n"
    ));
}

// Each node trims once a minute, so this test takes as long.
#[test]
fn it_is_trimmed_below_the_node_that_has_applied_least() {
    let (database, backend) = (PostgresServer::shared().database(), Backend::hello());
    let one = gateway(&database.url(), &backend);
    one.account("email,api,web");
    add_old_changes(&database, 40_000);
    database.wait_until("(SELECT min(applied) FROM node) = (SELECT number FROM counter)");
    // A node that is slow. Nobody deletes its row as long as it beats.
    database.psql(
        "INSERT INTO node (id, era, beat, applied, settled, version) \
         SELECT 1, gatepost_era(), 1, number - 10000, 0, 'slow' FROM counter",
    );
    let mut slow = database.session();
    slow.start(
        "DO $$ BEGIN FOR n IN 1..9000 LOOP UPDATE node SET beat = beat + 1 WHERE id = 1; COMMIT; PERFORM pg_sleep(0.01); \
         EXIT WHEN (SELECT number FROM log_trimmed_below) > 0; END LOOP; END $$;",
    );
    assert_eq!(slow.finish(), "");
    let trimmed = "SELECT (SELECT number FROM log_trimmed_below) = applied, \
                   (SELECT count(*) FROM log WHERE seq < applied AND logged_at < now() - interval '10 minutes'), \
                   (SELECT count(*) FROM log WHERE seq >= applied) FROM node WHERE id = 1";
    assert_eq!(database.psql(trimmed), "t|0|10001");
    // The other one continues by what is left.
    one.credential("late:passw0rd-1", "email");
    database.wait_until("(SELECT max(applied) FROM node) = (SELECT number FROM counter)");
}
