//! Credentials in the store. No function here counts rows or reads more than it was asked for.

use super::statement::Statement;
use super::{ChangeEffect, Mutation, MutationError, Row, Store, StoreError, Written, now, sql};
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

pub(super) struct AccountState {
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
        let mut mutation = Mutation::begin(self).await?;
        let state = account_state(&mut mutation, account, by).await?;
        within(new.permissions, state.rights)?;
        let statement = Statement::new(sql::ADD_CREDENTIAL)
            .number(account.0)
            .text(new.name.as_str())
            .text(new.hash.expose())
            .number(new.permissions.for_new().bits().into())
            .number(now());
        mutation.execute(statement).await?;
        let value = count(&mut mutation, account, 1).await?;
        Ok(Written { value, change: mutation.commit(new.name.canonical(), ChangeEffect::Grants).await? })
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
        let mut mutation = Mutation::begin(self).await?;
        let state = account_state(&mut mutation, account, by).await?;
        within(edit.permissions, state.rights)?;
        let statement = Statement::new(sql::EDIT_CREDENTIAL)
            .text(name.as_str())
            .number(account.0)
            .optional(edit.hash.as_ref().map(StoredHash::expose))
            .number(edit.permissions.named().bits().into())
            .number(edit.permissions.granted().bits().into())
            .number(now());
        if mutation.execute(statement).await? == 0 {
            return Err(AccountError::NoSuchCredential.into());
        }
        let value = u64::try_from(state.credentials).unwrap_or_default();
        let effect = match edit.hash {
            Some(_) => ChangeEffect::EndsLogin,
            None => ChangeEffect::of_taken(edit.permissions.named().minus(edit.permissions.granted())),
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
        let mut mutation = Mutation::begin(self).await?;
        account_state(&mut mutation, account, by).await?;
        let statement = Statement::new(sql::REMOVE_CREDENTIAL).text(name.as_str()).number(account.0);
        if mutation.execute(statement).await? == 0 {
            return Err(AccountError::NoSuchCredential.into());
        }
        let value = count(&mut mutation, account, -1).await?;
        Ok(Written { value, change: mutation.commit(*name, ChangeEffect::EndsLogin).await? })
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
        let statement = Statement::new(sql::CREDENTIAL).number(account.0).text(name.as_str());
        let row = self.fetch(statement).await?;
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
        let statement = Statement::new(sql::CREDENTIALS).number(account.0);
        let statement = statement.number(after.map_or(0, |id| id.0)).number(limit.into());
        let rows = self.fetch_all(statement).await?;
        rows.iter().map(credential).collect()
    }
}

/// Reads and locks the state of an account that is to be changed.
pub(super) async fn account_state(
    mutation: &mut Mutation,
    account: AccountId,
    by: Authority,
) -> Result<AccountState, MutationError> {
    let row = mutation.fetch_locked(Statement::new(sql::ACCOUNT_STATE).number(account.0)).await?;
    let row = row.ok_or(AccountError::NoSuchAccount)?;
    if by == Authority::Holder && !row.flag("active")? {
        return Err(AccountError::Suspended.into());
    }
    Ok(AccountState { rights: row.permissions("bits")?, credentials: row.number("credentials")? })
}

async fn count(mutation: &mut Mutation, account: AccountId, difference: i64) -> Result<u64, MutationError> {
    let statement = Statement::new(sql::COUNT_CREDENTIALS).number(account.0).number(difference);
    let row = mutation.fetch(statement).await?.ok_or(AccountError::NoSuchAccount)?;
    Ok(u64::try_from(row.number("credentials")?).unwrap_or_default())
}

fn within(asked: PermissionEdit, rights: Permissions) -> Result<(), MutationError> {
    match asked.granted().minus(rights).iter().next() {
        Some(permission) => Err(AccountError::AboveRights(permission).into()),
        None => Ok(()),
    }
}

fn credential(row: &Row) -> Result<Credential, StoreError> {
    let active = row.flag("active")?;
    let stored = row.permissions("bits")?;
    let held = stored.and(row.permissions("rights")?);
    Ok(Credential {
        id: CredentialId(row.number("id")?),
        name: row.username("name")?,
        stored,
        effective: if active { held } else { Permissions::NONE },
        active,
        created_at: row.number("created_at")?,
        updated_at: row.number("updated_at")?,
    })
}
