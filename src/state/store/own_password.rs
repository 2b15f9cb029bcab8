//! The password of a principal that is logged in, changed by itself.

use super::credentials::{account_state, write_edit};
use super::statement::Statement;
use super::{Authority, ChangeEffect, CredentialEdit, Mutation, MutationError, Store, Written, now, sql};
use crate::domain::{AccountError, Principal, PrincipalKind, SessionId, StoredHash};

/// A login that is to change its own password.
#[derive(Clone, Debug)]
pub struct OwnLogin {
    /// The principal, as it was when its password was verified.
    pub principal: Principal,
    /// The session of the request, if it has one.
    pub session: Option<SessionId>,
}

impl Store {
    /// Changes the password of a principal that is logged in, if it is still the same login. A new password, a suspension and a removal
    /// end its session in the same transaction, so the session is the proof. Without one, the hash is: it may also differ because it
    /// was renewed.
    ///
    /// # Errors
    /// [`AccountError::LoginChanged`], [`AccountError::Suspended`], [`AccountError::NoSuchAccount`]: nothing has changed.
    /// [`MutationError::Store`].
    pub async fn change_own_password(
        &self,
        login: &OwnLogin,
        hash: &StoredHash,
    ) -> Result<Written<()>, MutationError> {
        let mut mutation = Mutation::begin(self).await?;
        // The account first, as where credentials are changed: another change of this login is committed before, or after this one.
        account_state(&mut mutation, login.principal.account, Authority::Holder).await?;
        check(&mut mutation, login).await?;
        let (account, name) = (login.principal.account, login.principal.name.canonical());
        match login.principal.kind {
            PrincipalKind::Holder => {
                let statement = Statement::new(sql::SET_PASSWORD).text(name.as_str());
                if mutation.execute(statement.text(hash.expose()).number(now())).await? == 0 {
                    return Err(AccountError::LoginChanged.into());
                }
            }
            PrincipalKind::Credential(_) => {
                let edit = CredentialEdit { hash: Some(hash.clone()), ..CredentialEdit::default() };
                write_edit(&mut mutation, account, &name, &edit).await?;
            }
        }
        Ok(Written { value: (), change: mutation.commit(name, ChangeEffect::EndsLogin).await? })
    }
}

/// Checks that it is still the same login.
async fn check(mutation: &mut Mutation, login: &OwnLogin) -> Result<(), MutationError> {
    let principal = login.principal.id();
    let is_same = match login.session {
        Some(session) => {
            let statement = Statement::new(sql::CONFIRMED_AT).number(principal.0).number(session.0);
            mutation.fetch_locked(statement).await?.is_some()
        }
        None => {
            let statement = Statement::new(sql::SESSION_PRINCIPAL).number(principal.0);
            match mutation.fetch_locked(statement).await? {
                Some(row) => row.text("hash")? == login.principal.hash.expose(),
                None => false,
            }
        }
    };
    if is_same { Ok(()) } else { Err(AccountError::LoginChanged.into()) }
}
