//! Credentials in the store. No function here counts rows or reads more than it was asked for.

use super::statement::Statement;
use super::{ChangeEffect, Mutation, MutationError, Row, Store, StoreError, Written, now, sql};
use crate::domain::{
    AccountError, AccountId, Canonical, ChangeCondition, Credential, CredentialId, CredentialVersion, Note,
    PermissionEdit, Permissions, StoredHash, Username,
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
    /// The username, as it will be shown.
    pub name: Username,
    /// The hash of its password.
    pub hash: StoredHash,
    /// The requested permissions. Those that are left out are granted.
    pub permissions: PermissionEdit,
    /// The note.
    pub note: Option<Note>,
}

/// An edit of a credential. Values that are left out stay.
#[derive(Clone, Debug, Default)]
pub struct CredentialEdit {
    /// The hash of its new password.
    pub hash: Option<StoredHash>,
    /// The permissions that change.
    pub permissions: PermissionEdit,
    /// The new note; a note of `None` removes the present one.
    pub note: Option<Option<Note>>,
    /// The credential that it is meant for.
    pub condition: ChangeCondition,
}

impl CredentialEdit {
    /// Returns false for an edit of the note alone, which no decision depends on.
    fn is_change(&self) -> bool {
        self.hash.is_some() || self.permissions != PermissionEdit::default() || self.note.is_none()
    }
}

pub(super) struct AccountState {
    name: Canonical,
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
            .number(now())
            .optional(new.note.as_ref().map(Note::as_str));
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
        check(&mut mutation, account, name, edit.condition).await?;
        write_edit(&mut mutation, account, name, edit).await?;
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
        self.remove_credential_if(account, by, name, ChangeCondition::default()).await
    }

    /// Does the same, if the credential is the one that is meant.
    ///
    /// # Errors
    /// As [`Store::add_credential`], and [`AccountError::ConditionFailed`].
    pub async fn remove_credential_if(
        &self,
        account: AccountId,
        by: Authority,
        name: &Canonical,
        condition: ChangeCondition,
    ) -> Result<Written<u64>, MutationError> {
        let mut mutation = Mutation::begin(self).await?;
        account_state(&mut mutation, account, by).await?;
        check(&mut mutation, account, name, condition).await?;
        let statement = Statement::new(sql::REMOVE_CREDENTIAL).text(name.as_str()).number(account.0);
        if mutation.execute(statement).await? == 0 {
            return Err(AccountError::NoSuchCredential.into());
        }
        let value = count(&mut mutation, account, -1).await?;
        Ok(Written { value, change: mutation.commit(*name, ChangeEffect::EndsLogin).await? })
    }

    /// Removes credentials in one transaction. Returns for each name whether it was there, in their order; one with another ID than the
    /// given one was not. The change has the name of the
    /// account, which stands for all of its credentials.
    ///
    /// # Errors
    /// As [`Store::add_credential`].
    pub async fn remove_credentials(
        &self,
        account: AccountId,
        by: Authority,
        names: &[(Canonical, Option<CredentialId>)],
    ) -> Result<Written<Vec<bool>>, MutationError> {
        let mut mutation = Mutation::begin(self).await?;
        let state = account_state(&mut mutation, account, by).await?;
        let mut value = Vec::with_capacity(names.len());
        for (name, id) in names {
            let of = |statement| Statement::new(statement).text(name.as_str()).number(account.0);
            let statement = match id {
                Some(id) => of(sql::REMOVE_CREDENTIAL_OF_ID).number(id.0),
                None => of(sql::REMOVE_CREDENTIAL),
            };
            value.push(mutation.execute(statement).await? > 0);
        }
        let removed = value.iter().filter(|was_there| **was_there).count();
        count(&mut mutation, account, -i64::try_from(removed).unwrap_or_default()).await?;
        Ok(Written { value, change: mutation.commit(state.name, ChangeEffect::Revokes).await? })
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
    let (name, rights) = (row.username("name")?.canonical(), row.permissions("bits")?);
    Ok(AccountState { name, rights, credentials: row.number("credentials")? })
}

/// Checks that the credential is the one that a change is meant for.
async fn check(
    mutation: &mut Mutation,
    account: AccountId,
    name: &Canonical,
    condition: ChangeCondition,
) -> Result<(), MutationError> {
    if condition == ChangeCondition::default() {
        return Ok(());
    }
    let statement = Statement::new(sql::CREDENTIAL_VERSION).text(name.as_str()).number(account.0);
    let row = mutation.fetch_locked(statement).await?.ok_or(AccountError::NoSuchCredential)?;
    let (id, version) = (CredentialId(row.number("id")?), CredentialVersion(row.number("version")?));
    let holds = condition.id.is_none_or(|meant| meant == id)
        && condition.version.is_none_or(|meant| meant == version);
    if holds { Ok(()) } else { Err(AccountError::ConditionFailed.into()) }
}

pub(super) async fn write_edit(
    mutation: &mut Mutation,
    account: AccountId,
    name: &Canonical,
    edit: &CredentialEdit,
) -> Result<(), MutationError> {
    let mut rows = 1;
    if edit.is_change() {
        let statement = Statement::new(sql::EDIT_CREDENTIAL)
            .text(name.as_str())
            .number(account.0)
            .optional(edit.hash.as_ref().map(StoredHash::expose))
            .number(edit.permissions.named().bits().into())
            .number(edit.permissions.granted().bits().into())
            .number(now());
        rows = mutation.execute(statement).await?;
    }
    if let Some(note) = &edit.note {
        let statement = Statement::new(sql::EDIT_NOTE).text(name.as_str()).number(account.0);
        let statement = statement.optional(note.as_ref().map(Note::as_str)).number(now());
        rows = rows.min(mutation.execute(statement).await?);
    }
    if rows == 0 { Err(AccountError::NoSuchCredential.into()) } else { Ok(()) }
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

pub(super) fn credential(row: &Row) -> Result<Credential, StoreError> {
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
