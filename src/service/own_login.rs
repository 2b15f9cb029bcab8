//! The login of a principal that is logged in: its own credential, and its password.

use super::audit::{AuditAction, Origin, RequestedChange};
use super::credentials::Credentials;
use super::{Effect, Granted, ManagementError};
use crate::domain::{AccountError, CredentialDetails, CredentialId, NewPassword, PrincipalId, PrincipalKind};
use crate::state::hashing::HashShare;
use crate::state::store::OwnLogin;

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
    /// [`AccountError::LoginChanged`] if the session has ended meanwhile, for example by a new password that somebody else has set.
    /// [`ManagementError`]; nothing has changed, unless it says otherwise.
    pub async fn change_own_password(
        &self,
        granted: &Granted,
        password: &[u8],
        origin: Origin,
    ) -> Result<Effect, ManagementError> {
        let is_credential = own_id(granted).is_some();
        let name = granted.name().to_string();
        let asked = RequestedChange {
            action: if is_credential { AuditAction::CredentialEdit } else { AuditAction::AccountPassword },
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
        let (mutations, account) = (self.mutations.clone(), granted.account());
        let session = granted.session().map(|session| session.id);
        let login = OwnLogin { principal: granted.row().clone(), session };
        let work = async move {
            let hash = mutations.hash(&password, HashShare::Account(account)).await?;
            let _turn = mutations.turn(account).await?;
            Ok(mutations.store.change_own_password(&login, &hash).await?)
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
