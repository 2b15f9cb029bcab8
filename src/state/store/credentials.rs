//! Credentials in the store. No function here counts rows or reads more than it was asked for.

use super::{
    Connection, Effect, Mutation, MutationError, Row, Store, StoreError, Written, now, permissions, read,
    refusal, sql, unavailable, username,
};
use crate::domain::{
    AccountError, AccountId, Canonical, Credential, CredentialId, PermissionEdit, Permissions, StoredHash,
    Username,
};

/// The authority by which the credentials of an account are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The account holder, who may not change any while the account is suspended.
    Holder,
    /// The operator on the machine, who may always change them.
    Operator,
}

/// A credential to be added.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// Its username, as it will be shown.
    pub name: Username,
    /// The hash of its password.
    pub hash: StoredHash,
    /// The requested permissions. Those that are left out are granted.
    pub permissions: PermissionEdit,
}

/// An edit of a credential. Values that are left out stay.
#[derive(Clone, Debug, Default)]
pub struct CredentialEdit {
    /// The hash of its new password.
    pub hash: Option<StoredHash>,
    /// The permissions that change.
    pub permissions: PermissionEdit,
}

struct AccountState {
    rights: Permissions,
    credentials: i64,
}

impl Store {
    /// Adds a credential. Returns the number of credentials that the account has then.
    ///
    /// # Errors
    /// [`MutationError`]. Nothing is written; after [`MutationError::Store`] that is unknown.
    pub async fn add_credential(
        &self,
        account: AccountId,
        by: Authority,
        new: &NewCredential,
    ) -> Result<Written<u64>, MutationError> {
        let mut mutation = Mutation::begin(&self.pools).await?;
        let state = account_state(mutation.connection(), account, by).await?;
        within(new.permissions, state.rights)?;
        sqlx::query(sql::ADD_CREDENTIAL)
            .bind(account.0)
            .bind(new.name.as_str())
            .bind(new.hash.expose())
            .bind(i64::from(new.permissions.for_new().bits()))
            .bind(now())
            .execute(mutation.connection())
            .await
            .map_err(refusal)?;
        let value = count(mutation.connection(), account, 1).await?;
        Ok(Written { value, change: mutation.commit(new.name.canonical(), Effect::Grants).await? })
    }

    /// Edits a credential in one statement. Password and permissions change together, and simultaneous edits have the
    /// result of one of their orders. Returns the number of credentials of the account.
    ///
    /// # Errors
    /// As [`Store::add_credential`].
    pub async fn edit_credential(
        &self,
        account: AccountId,
        by: Authority,
        name: &Canonical,
        edit: &CredentialEdit,
    ) -> Result<Written<u64>, MutationError> {
        let mut mutation = Mutation::begin(&self.pools).await?;
        let state = account_state(mutation.connection(), account, by).await?;
        within(edit.permissions, state.rights)?;
        let done = sqlx::query(sql::EDIT_CREDENTIAL)
            .bind(name.as_str())
            .bind(account.0)
            .bind(edit.hash.as_ref().map(StoredHash::expose))
            .bind(i64::from(edit.permissions.named().bits()))
            .bind(i64::from(edit.permissions.granted().bits()))
            .bind(now())
            .execute(mutation.connection())
            .await
            .map_err(refusal)?;
        if done.rows_affected() == 0 {
            return Err(AccountError::NoSuchCredential.into());
        }
        let value = u64::try_from(state.credentials).unwrap_or_default();
        let effect = match edit.hash {
            Some(_) => Effect::EndsLogin,
            None => Effect::of_taken(edit.permissions.named().minus(edit.permissions.granted())),
        };
        Ok(Written { value, change: mutation.commit(*name, effect).await? })
    }

    /// Removes a credential. Returns the number of credentials that the account still has.
    ///
    /// # Errors
    /// As [`Store::add_credential`].
    pub async fn remove_credential(
        &self,
        account: AccountId,
        by: Authority,
        name: &Canonical,
    ) -> Result<Written<u64>, MutationError> {
        let mut mutation = Mutation::begin(&self.pools).await?;
        account_state(mutation.connection(), account, by).await?;
        let done = sqlx::query(sql::REMOVE_CREDENTIAL)
            .bind(name.as_str())
            .bind(account.0)
            .execute(mutation.connection())
            .await
            .map_err(refusal)?;
        if done.rows_affected() == 0 {
            return Err(AccountError::NoSuchCredential.into());
        }
        let value = count(mutation.connection(), account, -1).await?;
        Ok(Written { value, change: mutation.commit(*name, Effect::EndsLogin).await? })
    }

    /// Reads the credential of that name, if the account has one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn credential(
        &self,
        account: AccountId,
        name: &Canonical,
    ) -> Result<Option<Credential>, StoreError> {
        let query = sqlx::query(sql::CREDENTIAL).bind(account.0).bind(name.as_str());
        let row = self.pools.read(query.fetch_optional(&self.pools.readers)).await?;
        row.as_ref().map(credential).transpose()
    }

    /// Reads a page of the credentials of an account in the order of their addition: at most `limit`, all added after `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn credentials(
        &self,
        account: AccountId,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Vec<Credential>, StoreError> {
        let query = sqlx::query(sql::CREDENTIALS).bind(account.0);
        let query = query.bind(after.map_or(0, |id| id.0)).bind(i64::from(limit));
        let rows = self.pools.read(query.fetch_all(&self.pools.readers)).await?;
        rows.iter().map(credential).collect()
    }
}

async fn account_state(
    connection: &mut Connection,
    account: AccountId,
    by: Authority,
) -> Result<AccountState, MutationError> {
    let row = sqlx::query(sql::ACCOUNT_STATE)
        .bind(account.0)
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?
        .ok_or(AccountError::NoSuchAccount)?;
    if by == Authority::Holder && read::<i64>(&row, "active")? == 0 {
        return Err(AccountError::Suspended.into());
    }
    Ok(AccountState { rights: permissions(&row, "bits")?, credentials: read(&row, "credentials")? })
}

async fn count(
    connection: &mut Connection,
    account: AccountId,
    difference: i64,
) -> Result<u64, MutationError> {
    let row = sqlx::query(sql::COUNT_CREDENTIALS)
        .bind(account.0)
        .bind(difference)
        .fetch_one(connection)
        .await
        .map_err(unavailable)?;
    let count: i64 = read(&row, "credentials")?;
    Ok(u64::try_from(count).unwrap_or_default())
}

fn within(asked: PermissionEdit, rights: Permissions) -> Result<(), MutationError> {
    match asked.granted().minus(rights).iter().next() {
        Some(permission) => Err(AccountError::AboveRights(permission).into()),
        None => Ok(()),
    }
}

fn credential(row: &Row) -> Result<Credential, StoreError> {
    let active = read::<i64>(row, "active")? != 0;
    let stored = permissions(row, "bits")?;
    let held = stored.and(permissions(row, "rights")?);
    Ok(Credential {
        id: CredentialId(read(row, "id")?),
        name: username(row, "name")?,
        stored,
        effective: if active { held } else { Permissions::NONE },
        active,
        created_at: read(row, "created_at")?,
        updated_at: read(row, "updated_at")?,
    })
}
