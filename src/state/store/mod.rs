//! The store: accounts and credentials on disk, the only truth there is.
//!
//! Reads go to a pool of connections; everything that writes goes through one connection and is one transaction, on disk
//! when it is answered. The SQL is in `sql`, what is particular to SQLite in `sqlite`.

mod accounts;
mod credentials;
mod error;
mod sql;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::Row as _;

use crate::config::{StoreSettings, StoreUrl};
use crate::domain::{
    AccountId, Canonical, CredentialId, Permissions, Principal, PrincipalKind, StoredHash, Username,
};

pub use accounts::Account;
pub use credentials::{Authority, CredentialEdit, NewCredential};
pub use error::{MutationError, StoreError};

use sqlite::{Connection, Database, Missing, Mutation, Pools, Query, Row, refusal, unavailable};

/// The open store. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Store {
    pools: Pools,
    path: PathBuf,
}

/// A committed mutation, for processes that remember the state before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The number of changes before it: it made the changes from `after + 1` to `upto`.
    pub after: i64,
    /// The number of changes with it.
    pub upto: i64,
    /// Whose epoch has to be raised: a credential's name, or the account's for it and all its credentials.
    pub name: Canonical,
    /// Nothing that was verified under that name is of any more use: it was removed, or has another password.
    pub ends_login: bool,
}

/// The result of a mutation that is on disk.
#[derive(Clone, Copy, Debug)]
#[must_use = "others have to be told of the change"]
pub struct Written<T> {
    /// The result for the caller.
    pub value: T,
    /// The news for the other processes.
    pub change: Change,
}

impl Store {
    /// Opens the store, makes it where there is none, and brings its schema up to date. Reads no accounts, however many
    /// there are.
    ///
    /// # Errors
    /// [`StoreError::Open`], with the place and the reason.
    pub async fn open(settings: &StoreSettings) -> Result<Store, StoreError> {
        Store::open_or(settings, Missing::Make).await
    }

    /// As [`Store::open`], where there is one already.
    ///
    /// # Errors
    /// As [`Store::open`], also where there is none.
    pub async fn open_existing(settings: &StoreSettings) -> Result<Store, StoreError> {
        Store::open_or(settings, Missing::Refuse).await
    }

    async fn open_or(settings: &StoreSettings, missing: Missing) -> Result<Store, StoreError> {
        let StoreUrl::Sqlite(path) = &settings.url;
        Ok(Store { pools: Pools::open(path, settings, missing).await?, path: path.clone() })
    }

    /// Returns true if opening has created it.
    pub fn is_new(&self) -> bool {
        self.pools.made
    }

    /// Reads the principal with this name, together with the state of its account: one indexed read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn principal(&self, name: &Canonical) -> Result<Option<Principal>, StoreError> {
        let query = sqlx::query(sql::PRINCIPAL).bind(name.as_str());
        let row = self.pools.read(query.fetch_optional(&self.pools.readers)).await?;
        row.as_ref().map(principal).transpose()
    }

    /// Puts a hash of the same password in place of `old`; `false` where the hash is no longer `old`, and then nothing is
    /// written. No change in the sense of [`Store::changes`].
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
        mutation.commit(*name).await?;
        Ok(true)
    }

    /// Returns the number of changes so far. If it is not the last known one, somebody else has changed the store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn changes(&self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar(sqlite::CHANGES);
        self.pools.read(query.fetch_one(&self.pools.readers)).await
    }

    /// The highest bcrypt cost of all stored hashes, those beyond `most` left out; 0 where there is none. One indexed read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn highest_cost(&self, most: u32) -> Result<u32, StoreError> {
        let query = sqlx::query_scalar(sqlite::HIGHEST_COST).bind(i64::from(most));
        let cost: Option<i64> = self.pools.read(query.fetch_one(&self.pools.readers)).await?;
        Ok(cost.and_then(|cost| u32::try_from(cost).ok()).unwrap_or_default())
    }

    /// Checks that the store can be read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it doesn't.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.pools.read(sqlx::query(sql::PING).execute(&self.pools.readers)).await.map(drop)
    }

    /// The file that it was opened with.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Closes the connections, once what is under way has ended. Asked afterwards, the store is unavailable.
    pub async fn close(&self) {
        self.pools.close().await;
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

/// Seconds since 1970 UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
