//! The store: accounts and credentials on disk. It is the only truth.
//!
//! Reads use a pool of connections. Every write goes through one connection and is one transaction, which is on disk before it is
//! answered. The SQL is in `sql`; everything specific to SQLite is in `sqlite`.

mod accounts;
mod change;
mod credentials;
mod error;
mod fault_log;
pub mod postgres;
mod sql;
mod sqlite;
#[cfg(test)]
mod tests;
mod uses;

use std::fmt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::Row as _;

use crate::config::{StoreSettings, StoreUrl};
use crate::domain::username::RESERVED;
use crate::domain::{
    AccountId, Canonical, CredentialId, Permissions, Principal, PrincipalKind, StoredHash, Username,
};

pub use accounts::Account;
pub use change::{Change, ChangePosition};
pub use credentials::{Authority, CredentialEdit, NewCredential};
pub use error::{MutationError, StoreError};
pub use sqlite::{FileId, check_access};
pub use uses::PrincipalUse;

use change::Effect;
use sqlite::{Connection, Database, Missing, Mutation, Pools, Query, Row, refusal, unavailable};

/// The open store. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Store {
    pools: Pools,
    path: PathBuf,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
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
        let path = file(settings)?;
        Ok(Store { pools: Pools::open(path, settings, missing).await?, path: path.clone() })
    }

    /// Returns true if an account or a credential has the reserved username, as far as the file of the database tells, which is not
    /// opened as a store for that.
    pub async fn has_reserved_name(settings: &StoreSettings) -> bool {
        let StoreUrl::Sqlite(path) = &settings.url else { return false };
        sqlite::untouched::finds(path, sql::PRINCIPAL, RESERVED).await
    }

    /// Opens an existing store for a command that only reads, which migrates nothing: an older version could not use it any more.
    ///
    /// # Errors
    /// The same as for [`Store::open_existing`], and if it was made by an older version.
    pub async fn open_to_read(settings: &StoreSettings) -> Result<Store, StoreError> {
        let path = file(settings)?;
        // Every other reason is told by opening it.
        if sqlite::inspect(path).await == Ok(true) {
            let detail =
                "it was made by an older version of Gatepost: it is migrated when the gateway starts"
                    .to_owned();
            return Err(StoreError::Open { path: path.display().to_string(), detail });
        }
        Store::open_existing(settings).await
    }

    /// Checks the content of an existing file without a change to it. Returns true if it was made by an older version.
    ///
    /// # Errors
    /// The text for the operator.
    pub async fn inspect(settings: &StoreSettings) -> Result<bool, String> {
        let path = file(settings).map_err(|error| error.to_string())?;
        sqlite::inspect(path).await.map_err(|reason| format!("{}: {reason}", path.display()))
    }

    /// Returns true if opening has created it.
    pub fn is_new(&self) -> bool {
        self.pools.made
    }

    /// Reads the principal of that name: one indexed read, with the state of the account.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn principal(&self, name: &Canonical) -> Result<Option<Principal>, StoreError> {
        let query = sqlx::query(sql::PRINCIPAL).bind(name.as_str());
        let row = self.pools.read(query.fetch_optional(&self.pools.readers)).await?;
        let read = row.as_ref().map(principal).transpose();
        read.inspect_err(|fault| self.pools.note_fault(fault))
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
        let mut mutation = Mutation::begin(&self.pools).await?;
        let done = sqlx::query(sql::RENEW_HASH)
            .bind(name.as_str())
            .bind(old.expose())
            .bind(new.expose())
            .execute(mutation.connection())
            .await
            .map_err(unavailable)?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(sqlite::UNCOUNT).execute(mutation.connection()).await.map_err(unavailable)?;
        mutation.commit(*name, Effect::Grants).await?;
        Ok(true)
    }

    /// The number of changes so far. If it differs from the last known one, another process has made changes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn changes(&self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar(sqlite::CHANGES);
        self.pools.read(query.fetch_one(&self.pools.readers)).await
    }

    /// The highest bcrypt cost of all stored hashes, except those above `most`; 0 if there is none. One indexed read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn highest_cost(&self, most: u32) -> Result<u32, StoreError> {
        let query = sqlx::query_scalar(sqlite::HIGHEST_COST).bind(i64::from(most));
        let cost: Option<i64> = self.pools.read(query.fetch_one(&self.pools.readers)).await?;
        Ok(cost.and_then(|cost| u32::try_from(cost).ok()).unwrap_or_default())
    }

    /// Checks that the store answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.pools.read(sqlx::query(sql::PING).execute(&self.pools.readers)).await.map(drop)
    }

    /// Checks that its path still leads to the open files. A decision on files that were replaced would be one on a state that
    /// nobody can change any more.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub fn verify_files(&self) -> Result<(), StoreError> {
        self.pools.verify_files()
    }

    /// Calls `hook` when its files are found replaced, before that is logged. May be set once.
    pub fn on_replaced(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.pools.on_replaced(hook);
    }

    /// The device and inode of its file.
    pub fn file_id(&self) -> FileId {
        self.pools.file_id()
    }

    /// Logs faults of reads from now on, each when it begins.
    pub fn log_faults(&self) {
        self.pools.log_faults();
    }

    /// The path of its file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Moves everything that was written into the open file, although that is no longer at its path: a start after kill -9 finds nothing
    /// of it beside the file that has replaced it. Returns true if it is done.
    pub async fn settle(&self) -> bool {
        self.pools.settle().await
    }

    /// Closes the connections after all running statements have ended. The store is unavailable afterwards.
    pub async fn close(&self) {
        self.pools.close().await;
    }
}

fn file(settings: &StoreSettings) -> Result<&PathBuf, StoreError> {
    match &settings.url {
        StoreUrl::Sqlite(path) => Ok(path),
        StoreUrl::Postgres(url) => Err(StoreError::Open {
            path: url.to_string(),
            detail: "PostgreSQL is not supported yet".to_owned(),
        }),
    }
}

fn principal(row: &Row) -> Result<Principal, StoreError> {
    let id: i64 = read(row, "id")?;
    let credential = read::<Option<i64>>(row, "account_id")?.map(|_| CredentialId(id));
    Ok(Principal {
        kind: credential.map_or(PrincipalKind::Holder, PrincipalKind::Credential),
        account: AccountId(read(row, "holder_id")?),
        account_name: username(row, "holder_name")?,
        name: username(row, "name")?,
        hash: StoredHash::new(read(row, "hash")?),
        bits: permissions(row, "bits")?,
        rights: permissions(row, "rights")?,
        active: read::<i64>(row, "active")? != 0,
    })
}

fn read<'r, T>(row: &'r Row, column: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Database> + sqlx::Type<Database>,
{
    row.try_get(column).map_err(unavailable)
}

fn username(row: &Row, column: &'static str) -> Result<Username, StoreError> {
    Username::parse(read(row, column)?).map_err(|e| StoreError::Unavailable(format!("column {column}: {e}")))
}

fn permissions(row: &Row, column: &'static str) -> Result<Permissions, StoreError> {
    let bits: i64 = read(row, column)?;
    u8::try_from(bits)
        .ok()
        .and_then(Permissions::from_bits)
        .ok_or_else(|| StoreError::Unavailable(format!("column {column}: unknown permission bits")))
}

/// The present time in seconds since 1970 UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
