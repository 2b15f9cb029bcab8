//! The login of a principal that is logged in: its own credential, and its password.

use super::audit::{AuditAction, Origin, RequestedChange};
use super::credentials::Credentials;
use super::{Effect, Granted, ManagementError};
use crate::domain::{
    AccountError, ChangeCondition, CredentialDetails, CredentialId, NewPassword, PermissionEdit, PrincipalId,
    PrincipalKind,
};
use crate::state::hashing::HashShare;
use crate::state::store::{Authority, CredentialEdit, Written};

impl Credentials {
    /// Returns the credential that is logged in.
    ///
    /// # Errors
    /// [`AccountError::NoSuchCredential`] for an account holder, and [`ManagementError::Store`].
    pub async fn own(&self, granted: &Granted) -> Result<CredentialDetails, ManagementError> {
        let id = own_id(granted).ok_or(AccountError::NoSuchCredential)?;
        let found = self.mutations.store.credential_by_id(granted.account(), id).await?;
        let mut details = found.ok_or(AccountError::NoSuchCredential)?;
        details.last_use = self.mutations.last_uses.latest(PrincipalId(id.0), details.last_use);
        Ok(details)
    }

    /// Returns the number of credentials of the account.
    ///
    /// # Errors
    /// [`AccountError::NoSuchAccount`] and [`ManagementError::Store`].
    pub async fn count(&self, granted: &Granted) -> Result<u64, ManagementError> {
        let name = granted.account_name().canonical();
        let account = self.mutations.store.account(&name).await?;
        let account = account.filter(|account| account.id == granted.account());
        Ok(account.ok_or(AccountError::NoSuchAccount)?.credentials)
    }

    /// Gives the principal that is logged in a new password, which a person has chosen. Ends all of its sessions. The caller has checked the
    /// old password.
    ///
    /// # Errors
    /// [`ManagementError`]; nothing has changed, unless it says otherwise.
    pub async fn change_own_password(
        &self,
        granted: &Granted,
        password: &[u8],
        origin: Origin,
    ) -> Result<Effect, ManagementError> {
        let id = own_id(granted);
        let name = granted.name().to_string();
        let asked = RequestedChange {
            action: if id.is_some() { AuditAction::CredentialEdit } else { AuditAction::AccountPassword },
            actor: name.clone(),
            subject: name,
            change: "password".to_owned(),
            origin,
            account: Some(granted.account()),
        };
        let password = match NewPassword::parse_chosen(password) {
            Ok(password) => password,
            Err(error) => return self.mutations.note(&asked, Err(error.into())),
        };
        let (mutations, account, name) = (self.mutations.clone(), granted.account(), *granted.canonical());
        let work = async move {
            let hash = mutations.hash(&password, HashShare::Account(account)).await?;
            let _turn = mutations.turn(account).await?;
            let store = &mutations.store;
            let Some(id) = id else {
                return Ok(store.set_password(&name, &hash).await?);
            };
            let edit = CredentialEdit {
                hash: Some(hash),
                permissions: PermissionEdit::default(),
                note: None,
                condition: ChangeCondition { id: Some(id), version: None },
            };
            let Written { change, .. } =
                store.edit_credential(account, Authority::Holder, &name, &edit).await?;
            Ok(Written { value: (), change })
        };
        let ((), effect) = self.mutations.run(asked, *granted.canonical(), work).await?;
        Ok(effect)
    }
}

/// The number of the credential that is logged in; `None` for an account holder.
fn own_id(granted: &Granted) -> Option<CredentialId> {
    match granted.kind() {
        PrincipalKind::Holder => None,
        PrincipalKind::Credential(id) => Some(id),
    }
}
