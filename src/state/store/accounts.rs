//! Accounts in the store; only the operator changes them.

use super::statement::Statement;
use super::{ChangeEffect, Mutation, MutationError, Row, Store, StoreError, Written, now, sql};
use crate::domain::{AccountError, AccountId, Canonical, Permissions, StoredHash, Username};

/// An account as the command line lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The ID.
    pub id: AccountId,
    /// The holder's username.
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
        let mut mutation = Mutation::begin(self).await?;
        let statement = Statement::new(sql::ADD_ACCOUNT).text(name.as_str()).text(hash.expose());
        let statement = statement.number(rights.bits().into()).number(now());
        let row = mutation.fetch(statement).await?;
        let id = row.map(|row| row.number("id")).transpose()?;
        let value = AccountId(id.ok_or_else(|| StoreError::Unavailable("a new row has no ID".to_owned()))?);
        Ok(Written { value, change: mutation.commit(name.canonical(), ChangeEffect::Grants).await? })
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
        let statement =
            Statement::new(sql::SET_PASSWORD).text(name.as_str()).text(hash.expose()).number(now());
        self.change_account(name, statement, ChangeEffect::EndsLogin).await
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
        let mut mutation = Mutation::begin(self).await?;
        let before = mutation.fetch_locked(Statement::new(sql::ACCOUNT_RIGHTS).text(name.as_str())).await?;
        before.ok_or(AccountError::NoSuchAccount)?;
        let statement = Statement::new(sql::SET_RIGHTS).text(name.as_str());
        mutation.execute(statement.number(rights.bits().into()).number(now())).await?;
        // By what is asked for, and not by the difference: perhaps a call before this one has made it, and was not answered.
        let effect = ChangeEffect::of_taken(Permissions::ALL.minus(rights));
        Ok(Written { value: (), change: mutation.commit(*name, effect).await? })
    }

    /// Suspends the account (`false`) or resumes it.
    ///
    /// # Errors
    /// As [`Store::set_password`].
    pub async fn set_active(&self, name: &Canonical, active: bool) -> Result<Written<()>, MutationError> {
        let statement =
            Statement::new(sql::SET_ACTIVE).text(name.as_str()).number(active.into()).number(now());
        let effect = if active { ChangeEffect::Grants } else { ChangeEffect::Revokes };
        self.change_account(name, statement, effect).await
    }

    /// Removes the account and all its credentials. The time grows with their number.
    ///
    /// # Errors
    /// As [`Store::set_password`].
    pub async fn remove_account(&self, name: &Canonical) -> Result<Written<()>, MutationError> {
        let statement = Statement::new(sql::REMOVE_ACCOUNT).text(name.as_str());
        self.change_account(name, statement, ChangeEffect::EndsLogin).await
    }

    /// Reads the account whose holder has that name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn account(&self, name: &Canonical) -> Result<Option<Account>, StoreError> {
        let row = self.fetch(Statement::new(sql::ACCOUNT).text(name.as_str())).await?;
        row.as_ref().map(account).transpose()
    }

    /// Reads a page of accounts in the order of their addition: at most `limit`, all added after `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn accounts(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>, StoreError> {
        let statement = Statement::new(sql::ACCOUNTS).number(after.map_or(0, |id| id.0)).number(limit.into());
        let rows = self.fetch_all(statement).await?;
        rows.iter().map(account).collect()
    }

    async fn change_account(
        &self,
        name: &Canonical,
        statement: Statement,
        effect: ChangeEffect,
    ) -> Result<Written<()>, MutationError> {
        let mut mutation = Mutation::begin(self).await?;
        if mutation.execute(statement).await? == 0 {
            return Err(AccountError::NoSuchAccount.into());
        }
        Ok(Written { value: (), change: mutation.commit(*name, effect).await? })
    }
}

fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId(row.number("id")?),
        name: row.username("name")?,
        rights: row.permissions("bits")?,
        active: row.flag("active")?,
        credentials: u64::try_from(row.number("credentials")?).unwrap_or_default(),
        created_at: row.number("created_at")?,
        updated_at: row.number("updated_at")?,
    })
}
