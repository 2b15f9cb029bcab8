//! The store: accounts and credentials on disk, in SQLite or PostgreSQL. It is the only truth.
//!
//! Every write is one transaction, which is on disk before it is answered. The SQL that both databases have in common is in `sql`;
//! everything specific to one of them is in `sqlite` and [`postgres`].

mod accounts;
mod change;
mod change_scope;
mod credential_pages;
mod credentials;
mod error;
mod fault_log;
mod last_uses;
mod migrations;
mod mutation;
mod own_password;
pub mod postgres;
mod row;
mod sessions;
mod sql;
mod sqlite;
mod statement;
#[cfg(test)]
mod tests;
mod uses;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

use crate::config::{StoreSettings, StoreUrl};
use crate::domain::username::RESERVED;
use crate::domain::{AccountId, Canonical, CredentialId, Principal, PrincipalKind, StoredHash};

pub use accounts::Account;
pub use change::{Change, ChangePosition};
pub use change_scope::ChangeScope;
pub use credential_pages::{CredentialFilter, CredentialSlice, NameRange};
pub use credentials::{Authority, CredentialEdit, NewCredential};
pub use error::{MutationError, StoreError};
pub use own_password::OwnLogin;
pub use sessions::{BegunSession, MOST_SESSIONS, NewSession, SessionUse, StoredSession};
pub use sqlite::{FileId, check_access};
pub use uses::PrincipalUse;

use change::ChangeEffect;
use mutation::Mutation;
use postgres::{DatabaseFault, PostgresPool, ReadMinimum, SchemaState};
use row::Row;
use sqlite::{Missing, Pools};
use statement::Statement;

/// The open store. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Store {
    database: Database,
    settings: Arc<StoreSettings>,
    /// True if opening has created it.
    is_new: bool,
}

/// The connections to either database.
#[derive(Clone)]
enum Database {
    Sqlite(Pools),
    Postgres(PostgresPool),
}

/// The state of a store that is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// Usable as it is, or still to be created.
    Usable,
    /// Made by an older version, and migrated when it is opened.
    Older,
    /// Without a server that answers, for this reason. A gateway starts nevertheless, and decides once one does.
    Unreachable(String),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.settings.url).finish_non_exhaustive()
    }
}

/// The result of a mutation that is on disk.
#[derive(Clone, Copy, Debug)]
#[must_use = "other processes must be told of the change"]
pub struct Written<T> {
    /// The result for the caller.
    pub value: T,
    /// The change that others must know of.
    pub change: Change,
}

impl Store {
    /// Opens the store, creates it if there is none, and migrates its schema. Reads no accounts, however many there are.
    ///
    /// # Errors
    /// [`StoreError::Open`], with the place and the reason.
    pub async fn open(settings: &StoreSettings) -> Result<Store, StoreError> {
        Store::open_or(settings, Missing::Make).await
    }

    /// Opens an existing store as [`Store::open`] does.
    ///
    /// # Errors
    /// The same as for [`Store::open`], and if there is no store.
    pub async fn open_existing(settings: &StoreSettings) -> Result<Store, StoreError> {
        Store::open_or(settings, Missing::Refuse).await
    }

    async fn open_or(settings: &StoreSettings, missing: Missing) -> Result<Store, StoreError> {
        let (database, is_new) = match &settings.url {
            StoreUrl::Sqlite(path) => {
                let pools = Pools::open(path, settings, missing).await?;
                let is_new = pools.made;
                (Database::Sqlite(pools), is_new)
            }
            StoreUrl::Postgres(url) => {
                let is_new = match postgres::migrate(settings, missing == Missing::Make).await {
                    Ok(is_new) => is_new,
                    Err(DatabaseFault::Unreachable(reason)) if missing == Missing::Make => {
                        warn!(store = %url, reason, "the store cannot be reached yet");
                        false
                    }
                    Err(fault) => return Err(fault.at(url.to_string())),
                };
                (Database::Postgres(PostgresPool::of(settings)?), is_new)
            }
        };
        Ok(Store { database, settings: Arc::new(settings.clone()), is_new })
    }

    /// Returns true if an account or a credential has the reserved username, as far as the database tells. A file is not opened as a store
    /// for that.
    pub async fn has_reserved_name(settings: &StoreSettings) -> bool {
        match &settings.url {
            StoreUrl::Sqlite(path) => sqlite::untouched::finds(path, sql::PRINCIPAL, RESERVED).await,
            StoreUrl::Postgres(_) => {
                let Ok(pool) = PostgresPool::of(settings) else { return false };
                let found = pool.fetch(Statement::new(sql::PRINCIPAL).text(RESERVED)).await;
                pool.close().await;
                matches!(found, Ok(Some(_)))
            }
        }
    }

    /// Opens an existing store for a command that only reads, which migrates nothing: an older version could not use it any more.
    ///
    /// # Errors
    /// The same as for [`Store::open_existing`], and if it was made by an older version.
    pub async fn open_to_read(settings: &StoreSettings) -> Result<Store, StoreError> {
        // Every other reason is told by opening it.
        if Store::inspect(settings).await == Ok(StoreState::Older) {
            let detail =
                "it was made by an older version of Gatepost: it is migrated when the gateway starts"
                    .to_owned();
            return Err(StoreError::Open { path: settings.url.to_string(), detail });
        }
        Store::open_existing(settings).await
    }

    /// Checks the content of an existing database without a change to it.
    ///
    /// # Errors
    /// The text for the operator.
    pub async fn inspect(settings: &StoreSettings) -> Result<StoreState, String> {
        let state = match &settings.url {
            StoreUrl::Sqlite(path) => sqlite::inspect(path).await.map(|is_older| match is_older {
                true => StoreState::Older,
                false => StoreState::Usable,
            }),
            StoreUrl::Postgres(_) => match postgres::examine(settings).await {
                Ok(SchemaState::Older) => Ok(StoreState::Older),
                Ok(SchemaState::Missing | SchemaState::Usable) => Ok(StoreState::Usable),
                Err(DatabaseFault::Unreachable(reason)) => Ok(StoreState::Unreachable(reason)),
                Err(DatabaseFault::Unfit(reason)) => Err(reason),
            },
        };
        state.map_err(|reason| format!("{}: {reason}", settings.url))
    }

    /// Brings the schema to the present version, if the database could not be reached when the store was opened.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it cannot be reached yet, [`StoreError::Open`] if it never can be used as it is.
    pub(in crate::state) async fn make_ready(&self) -> Result<(), StoreError> {
        let Database::Postgres(_) = &self.database else { return Ok(()) };
        match postgres::migrate(&self.settings, true).await {
            Ok(_) => Ok(()),
            Err(DatabaseFault::Unreachable(reason)) => Err(StoreError::Unavailable(reason)),
            Err(fault) => Err(fault.at(self.place())),
        }
    }

    /// The state that every read on PostgreSQL must have seen. A node keeps it up to date.
    pub fn read_minimum(&self) -> Arc<ReadMinimum> {
        match &self.database {
            Database::Sqlite(_) => Arc::default(),
            Database::Postgres(pool) => pool.minimum(),
        }
    }

    /// Returns true if opening has created it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Reads the principal of that name: one indexed read, with the state of the account.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn principal(&self, name: &Canonical) -> Result<Option<Principal>, StoreError> {
        let row = self.fetch(Statement::new(sql::PRINCIPAL).text(name.as_str())).await?;
        let read = row.as_ref().map(principal).transpose();
        read.inspect_err(|fault| self.note_fault(fault))
    }

    /// Logs a fault of a row that was read.
    fn note_fault(&self, fault: &StoreError) {
        match &self.database {
            Database::Sqlite(pools) => pools.note_fault(fault),
            Database::Postgres(pool) => pool.note_fault(fault),
        }
    }

    /// Replaces `old` by another hash of the same password. Returns false and writes nothing if the hash is no longer
    /// `old`. This does not count as a change, see [`Store::changes`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn renew_hash(
        &self,
        name: &Canonical,
        old: &StoredHash,
        new: &StoredHash,
    ) -> Result<bool, StoreError> {
        let renewed = async {
            let mut mutation = Mutation::begin(self).await?;
            let statement = Statement::new(sql::RENEW_HASH).text(name.as_str());
            let rows = mutation.renew(statement.text(old.expose()).text(new.expose())).await?;
            if rows > 0 {
                mutation.finish().await?;
            }
            Ok::<bool, MutationError>(rows > 0)
        };
        renewed.await.map_err(MutationError::into_store_error)
    }

    /// The number of changes so far. If it differs from the last known one, another process has made changes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn changes(&self) -> Result<i64, StoreError> {
        let sql = match &self.database {
            Database::Sqlite(_) => sqlite::CHANGES,
            Database::Postgres(_) => postgres::CHANGES,
        };
        self.fetch(Statement::new(sql)).await?.map_or(Ok(0), |row| row.number("number"))
    }

    /// The highest bcrypt cost of all stored hashes, except those above `most`; 0 if there is none. One indexed read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn highest_cost(&self, most: u32) -> Result<u32, StoreError> {
        let sql = match &self.database {
            Database::Sqlite(_) => sqlite::HIGHEST_COST,
            Database::Postgres(_) => postgres::HIGHEST_COST,
        };
        let row = self.fetch(Statement::new(sql).number(most.into())).await?;
        let cost = row.map(|row| row.optional_number("cost")).transpose()?.flatten();
        Ok(cost.and_then(|cost| u32::try_from(cost).ok()).unwrap_or_default())
    }

    /// Checks that the store answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.fetch(Statement::new(sql::PING)).await.map(drop)
    }

    /// Reads the only row of a statement, if it has one.
    async fn fetch(&self, statement: Statement) -> Result<Option<Row>, StoreError> {
        match &self.database {
            Database::Sqlite(pools) => pools.fetch(statement).await,
            Database::Postgres(pool) => pool.fetch(statement).await,
        }
    }

    /// Reads all rows of a statement that orders them by their column `id`.
    async fn fetch_all(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match &self.database {
            Database::Sqlite(pools) => pools.fetch_all(statement).await,
            Database::Postgres(pool) => pool.fetch_all(statement).await,
        }
    }

    /// Checks that its path still leads to the open files. A decision on files that were replaced would be one on a state that
    /// nobody can change any more. PostgreSQL has no such files.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub fn verify_files(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(pools) => pools.verify_files(),
            Database::Postgres(_) => Ok(()),
        }
    }

    /// Calls `hook` when its files are found replaced, before that is logged. May be set once.
    pub fn on_replaced(&self, hook: impl Fn() + Send + Sync + 'static) {
        if let Database::Sqlite(pools) = &self.database {
            pools.on_replaced(hook);
        }
    }

    /// The file, and the device and inode of it; `None` in PostgreSQL.
    pub fn file(&self) -> Option<(&Path, FileId)> {
        match &self.database {
            Database::Sqlite(pools) => Some((pools.path(), pools.file_id())),
            Database::Postgres(_) => None,
        }
    }

    /// Logs faults of reads from now on, each when it begins.
    pub fn log_faults(&self) {
        match &self.database {
            Database::Sqlite(pools) => pools.log_faults(),
            Database::Postgres(pool) => pool.log_faults(),
        }
    }

    /// The path of its file, or the URL of the database without the password.
    pub fn place(&self) -> String {
        self.settings.url.to_string()
    }

    /// Moves everything that was written into the open file, although that is no longer at its path: a start after kill -9 finds nothing
    /// of it beside the file that has replaced it. Returns true if it is done.
    pub async fn settle(&self) -> bool {
        match &self.database {
            Database::Sqlite(pools) => pools.settle().await,
            Database::Postgres(_) => true,
        }
    }

    /// Closes the connections after all running statements have ended. The store is unavailable afterwards.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite(pools) => pools.close().await,
            Database::Postgres(pool) => pool.close().await,
        }
    }
}

fn principal(row: &Row) -> Result<Principal, StoreError> {
    let id = row.number("id")?;
    let credential = row.optional_number("account_id")?.map(|_| CredentialId(id));
    Ok(Principal {
        kind: credential.map_or(PrincipalKind::Holder, PrincipalKind::Credential),
        account: AccountId(row.number("holder_id")?),
        account_name: row.username("holder_name")?,
        name: row.username("name")?,
        hash: StoredHash::new(row.text("hash")?),
        bits: row.permissions("bits")?,
        rights: row.permissions("rights")?,
        active: row.flag("active")?,
    })
}

/// The present time in seconds since 1970 UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
