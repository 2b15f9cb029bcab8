//! The schema on PostgreSQL: changes are logged by the database itself, whoever makes them.

use crate::common::postgres::{PostgresDatabase, PostgresServer};

/// The migrations, in their order.
const MIGRATIONS: [&str; 1] = [include_str!("../../src/state/store/postgres/migrations/0001_principal.sql")];

/// A database with the schema. Each migration is one transaction.
fn migrated() -> PostgresDatabase<'static> {
    let database = PostgresServer::shared().database();
    for migration in MIGRATIONS {
        database.psql(&format!("BEGIN;\n{migration}\nCOMMIT;"));
    }
    database
}

#[test]
fn a_change_gets_the_next_number() {
    let database = migrated();
    let number = database.psql(
        "INSERT INTO principal (name, hash, bits, created_at, updated_at) VALUES ('Acme', 'x', 7, 0, 0);
         SELECT number FROM counter; SELECT seq, names, token = (SELECT token FROM counter) FROM log ORDER BY seq;",
    );
    assert_eq!(number, "1\n0|{}|f\n1|{acme}|t");
}
