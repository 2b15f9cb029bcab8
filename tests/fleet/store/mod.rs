//! The store by its public interface, in SQLite and in PostgreSQL: each test runs on both.

mod changes;
mod details;
mod pages;
mod server;
mod sessions;
mod uses;
mod waits;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::config::{Config, StoreSettings, StoreUrl};
use gatepost::domain::{
    AccountError, AccountId, Canonical, Permission, PermissionEdit, Permissions, PrincipalKind, StoredHash,
    Username,
};
use gatepost::state::store::{
    Authority, ChangePosition, CredentialEdit, MutationError, NewCredential, Store,
};
use sqlx::{ConnectOptions, Row};
use tempfile::TempDir;

use crate::common::postgres::{PostgresDatabase, PostgresServer};

/// A store of its own in one of the databases.
pub struct Fixture {
    pub store: Store,
    pub settings: StoreSettings,
    place: Place,
}

enum Place {
    File(TempDir),
    Server(PostgresDatabase<'static>),
}

/// The settings of a store in PostgreSQL.
pub fn postgres_settings(url: &str) -> StoreSettings {
    let config = Config::parse(&format!("[store]\nurl = '{url}'\nbusy_timeout = '10s'\n[ops]\n"), "test");
    config.unwrap().store
}

/// A store in SQLite, and one in PostgreSQL.
async fn both() -> [Fixture; 2] {
    let folder = tempfile::tempdir().unwrap();
    let file = StoreSettings {
        url: StoreUrl::Sqlite(folder.path().join("data/gatepost.db")),
        read_connections: 2,
        busy_timeout: Duration::from_secs(10),
        ..StoreSettings::default()
    };
    let database = PostgresServer::shared().database();
    let server = postgres_settings(&database.url());
    let (in_file, in_server) = (Store::open(&file).await.unwrap(), Store::open(&server).await.unwrap());
    assert!(in_file.is_new() && in_server.is_new());
    [
        Fixture { store: in_file, settings: file, place: Place::File(folder) },
        Fixture { store: in_server, settings: server, place: Place::Server(database) },
    ]
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn canonical(text: &str) -> Canonical {
    name(text).canonical()
}

fn hash(text: &str) -> StoredHash {
    StoredHash::new(text.into())
}

fn new(text: &str, permissions: &str) -> NewCredential {
    NewCredential {
        name: name(text),
        hash: hash("h"),
        permissions: PermissionEdit::from_json(permissions).unwrap(),
        note: None,
    }
}

fn edit(password: Option<&str>, permissions: &str) -> CredentialEdit {
    let permissions = PermissionEdit::from_json(permissions).unwrap();
    CredentialEdit { hash: password.map(hash), permissions, ..CredentialEdit::default() }
}

/// The present time in seconds since 1970 UTC.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

impl Fixture {
    pub async fn account(&self, text: &str) -> AccountId {
        self.store.add_account(&name(text), &hash("h"), Permissions::ALL).await.unwrap().value
    }

    async fn add(&self, account: AccountId, text: &str) -> Result<u64, MutationError> {
        self.store.add_credential(account, Authority::Holder, &new(text, "{}")).await.map(|w| w.value)
    }

    /// Runs a statement as an operator does, past the store. Returns the rows, one a line, their columns separated by `|`.
    async fn query(&self, sql: &str) -> String {
        let folder = match &self.place {
            Place::Server(database) => return database.psql(sql),
            Place::File(folder) => folder,
        };
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("data/gatepost.db"));
        let mut connection = options.connect().await.unwrap();
        let rows =
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
        let shown = rows.iter().map(|row| {
            let columns = (0..row.len()).map(|column| row.get_unchecked::<String, _>(column));
            columns.collect::<Vec<_>>().join("|")
        });
        shown.collect::<Vec<_>>().join("\n")
    }
}
