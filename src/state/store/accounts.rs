//! Accounts in the store; only the operator changes them.

use super::{
    Effect, Mutation, MutationError, Query, Row, Store, StoreError, Written, now, permissions, read, refusal,
    sql, username,
};
use crate::domain::{AccountError, AccountId, Canonical, Permissions, StoredHash, Username};

/// An account as the command line lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its ID.
    pub id: AccountId,
    /// Its holder's username.
    pub name: Username,
    /// The ceiling of the permissions of all its credentials.
    pub rights: Permissions,
    /// True if it is active, that is, not suspended.
    pub active: bool,
    /// The number of its credentials.
    pub credentials: u64,
    /// The time of its addition, in seconds since 1970 UTC.
    pub created_at: i64,
    /// The time of its last change, in seconds since 1970 UTC.
    pub updated_at: i64,
}

impl Store {
    /// Adds an account.
    ///
    /// # Errors
    /// [`AccountError::NameTaken`] and [`MutationError::Store`].
    pub async fn add_account(
        &self,
        name: &Username,
        hash: &StoredHash,
        rights: Permissions,
    ) -> Result<Written<AccountId>, MutationError> {
        let mut mutation = Mutation::begin(&self.pools).await?;
        let row = sqlx::query(sql::ADD_ACCOUNT)
            .bind(name.as_str())
            .bind(hash.expose())
            .bind(i64::from(rights.bits()))
            .bind(now())
            .fetch_one(mutation.connection())
            .await
            .map_err(refusal)?;
        let value = AccountId(read(&row, "id")?);
        Ok(Written { value, change: mutation.commit(name.canonical(), Effect::Grants).await? })
    }

    /// Sets the password of the account holder.
    ///
    /// # Errors
    /// [`AccountError::NoSuchAccount`] and [`MutationError::Store`].
    pub async fn set_password(
        &self,
        name: &Canonical,
        hash: &StoredHash,
    ) -> Result<Written<()>, MutationError> {
        let query = sqlx::query(sql::SET_PASSWORD).bind(name.as_str()).bind(hash.expose()).bind(now());
        self.change_account(name, query, Effect::EndsLogin).await
    }

    /// Sets the rights of the account, the ceiling of all its credentials.
    ///
    /// # Errors
    /// As [`Store::set_password`].
    pub async fn set_rights(
        &self,
        name: &Canonical,
        rights: Permissions,
    ) -> Result<Written<()>, MutationError> {
        let query =
            sqlx::query(sql::SET_RIGHTS).bind(name.as_str()).bind(i64::from(rights.bits())).bind(now());
        self.change_account(name, query, Effect::Revokes).await
    }

    /// Suspends the account (`false`) or resumes it.
    ///
    /// # Errors
    /// As [`Store::set_password`].
    pub async fn set_active(&self, name: &Canonical, active: bool) -> Result<Written<()>, MutationError> {
        let query = sqlx::query(sql::SET_ACTIVE).bind(name.as_str()).bind(i64::from(active)).bind(now());
        let effect = if active { Effect::Grants } else { Effect::Revokes };
        self.change_account(name, query, effect).await
    }

    /// Removes the account and all its credentials. The time grows with their number.
    ///
    /// # Errors
    /// As [`Store::set_password`].
    pub async fn remove_account(&self, name: &Canonical) -> Result<Written<()>, MutationError> {
        let query = sqlx::query(sql::REMOVE_ACCOUNT).bind(name.as_str());
        self.change_account(name, query, Effect::EndsLogin).await
    }

    /// Reads the account whose holder has that name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn account(&self, name: &Canonical) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query(sql::ACCOUNT).bind(name.as_str());
        let row = self.pools.read(query.fetch_optional(&self.pools.readers)).await?;
        row.as_ref().map(account).transpose()
    }

    /// Reads a page of accounts in the order of their addition: at most `limit`, all added after `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn accounts(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>, StoreError> {
        let query = sqlx::query(sql::ACCOUNTS).bind(after.map_or(0, |id| id.0)).bind(i64::from(limit));
        let rows = self.pools.read(query.fetch_all(&self.pools.readers)).await?;
        rows.iter().map(account).collect()
    }

    async fn change_account(
        &self,
        name: &Canonical,
        query: Query<'_>,
        effect: Effect,
    ) -> Result<Written<()>, MutationError> {
        let mut mutation = Mutation::begin(&self.pools).await?;
        let done = query.execute(mutation.connection()).await.map_err(refusal)?;
        if done.rows_affected() == 0 {
            return Err(AccountError::NoSuchAccount.into());
        }
        Ok(Written { value: (), change: mutation.commit(*name, effect).await? })
    }
}

fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId(read(row, "id")?),
        name: username(row, "name")?,
        rights: permissions(row, "bits")?,
        active: read::<i64>(row, "active")? != 0,
        credentials: u64::try_from(read::<i64>(row, "credentials")?).unwrap_or_default(),
        created_at: read(row, "created_at")?,
        updated_at: read(row, "updated_at")?,
    })
}
