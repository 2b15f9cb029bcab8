//! The schema on PostgreSQL: changes are logged by the database itself, whoever makes them.

mod logged_names;
mod numbers;
mod servers;
mod settling;
mod views;

use crate::common::postgres::{PostgresDatabase, PostgresServer};
use crate::common::psql::psql_at;

/// A database with the schema on the server that all tests share.
fn migrated() -> PostgresDatabase<'static> {
    migrated_on(PostgresServer::shared())
}

/// The same on another server.
fn migrated_on(server: &PostgresServer) -> PostgresDatabase<'_> {
    let database = server.database();
    migrate(&database, "public");
    database
}

/// Makes the schema there. Each migration is one transaction.
fn migrate(database: &PostgresDatabase<'_>, schema: &str) {
    migrate_at(&database.url(), schema);
}

/// The same by the user of that URL.
fn migrate_at(url: &str, schema: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/state/store/postgres/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let migration = std::fs::read_to_string(file).unwrap();
        psql_at(url, &format!("BEGIN;\nSET LOCAL search_path = {schema};\n{migration}\nCOMMIT;")).unwrap();
    }
}

/// A database with two accounts, of which the first has two credentials. That is change 1.
fn filled() -> PostgresDatabase<'static> {
    let database = migrated();
    database.psql(PRINCIPALS);
    database
}

const PRINCIPALS: &str = "INSERT INTO principal (id, account_id, name, hash, bits, credentials, created_at, updated_at) VALUES
    (1, NULL, 'Acme', 'x', 7, 2, 0, 0), (2, 1, 'acme-Mail', 'x', 1, 0, 0, 0), (3, 1, 'acme-api', 'x', 2, 0, 0, 0),
    (4, NULL, 'other', 'x', 7, 0, 0, 0);
    ALTER TABLE principal ALTER id RESTART WITH 100;";

/// The names of all changes since [`filled`], with a number each.
const CHANGES: &str =
    "SELECT seq, coalesce(names::TEXT, 'all') FROM log WHERE seq IS NULL OR seq > 1 ORDER BY seq;";
