//! The store in SQLite against real files, with real faults. Its statements are tried in tests/fleet/store.

mod database;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Row as _};
use tempfile::TempDir;

use super::*;
use crate::domain::{PermissionEdit, Permissions, Username};

struct Fixture {
    store: Store,
    settings: StoreSettings,
    folder: TempDir,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        url: StoreUrl::Sqlite(folder.path().join("data/gatepost.db")),
        read_connections: 2,
        busy_timeout: Duration::from_millis(300),
        ..StoreSettings::default()
    };
    Fixture { store: Store::open(&settings).await.unwrap(), settings, folder }
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

impl Fixture {
    fn pools(&self) -> &Pools {
        let Database::Sqlite(pools) = &self.store.database else { unreachable!("it is a file") };
        pools
    }

    async fn account(&self, text: &str) -> AccountId {
        self.store.add_account(&name(text), &hash("h"), Permissions::ALL).await.unwrap().value
    }

    async fn add(&self, account: AccountId, text: &str) -> Result<u64, MutationError> {
        self.store.add_credential(account, Authority::Holder, &new(text, "{}")).await.map(|w| w.value)
    }
}

async fn other_connection(f: &Fixture) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(f.store.file().unwrap().0);
    let mut connection = options.connect().await.unwrap();
    connection.ping().await.unwrap();
    connection
}
