//! Accounts. Only the operator adds, lists and changes them.

use super::audit::{AuditAction, Origin, RequestedChange, operator};
use super::{ManagementError, Mutations};
use crate::domain::{
    AccountError, AccountId, Canonical, PasswordRules, Permissions, Principal, Secret, Username,
};
use crate::state::hashing::HashShare;
use crate::state::store::{Account, Written};

/// The management of accounts. Cloning is cheap.
#[derive(Clone)]
pub struct Accounts {
    mutations: Mutations,
    origin: Origin,
    rules: PasswordRules,
}

impl Accounts {
    /// Creates the service; `origin` is the place of the operator.
    pub fn new(mutations: Mutations, origin: Origin) -> Accounts {
        Accounts { mutations, origin, rules: PasswordRules::default() }
    }

    /// The same service for passwords that people choose.
    pub fn with_rules_for_people(self) -> Accounts {
        Accounts { rules: PasswordRules::People, ..self }
    }

    /// Returns a page of accounts in the order of their addition: at most `limit`, all added after `after`.
    ///
    /// # Errors
    /// [`ManagementError::Store`].
    pub async fn list(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>, ManagementError> {
        Ok(self.mutations.store.accounts(after, limit).await?)
    }

    /// Returns the account with this name.
    ///
    /// # Errors
    /// [`AccountError::NoSuchAccount`] and [`ManagementError::Store`].
    pub async fn get(&self, name: &str) -> Result<Account, ManagementError> {
        let name = Canonical::of(name.as_bytes()).ok_or(AccountError::NoSuchAccount)?;
        self.mutations.store.account(&name).await?.ok_or(AccountError::NoSuchAccount.into())
    }

    /// Does the same before a change. That there is no such account is then true in every running gateway, too.
    ///
    /// # Errors
    /// As [`Accounts::get`], and [`ManagementError::Unconfirmed`].
    pub async fn get_for_change(&self, name: &str) -> Result<Account, ManagementError> {
        self.mutations.find(self.get(name)).await
    }

    /// Returns the account holder or credential with this name, if there is one.
    ///
    /// # Errors
    /// [`ManagementError::Store`].
    pub async fn find(&self, name: &str) -> Result<Option<Principal>, ManagementError> {
        match Canonical::of(name.as_bytes()) {
            Some(name) => Ok(self.mutations.store.principal(&name).await?),
            None => Ok(None),
        }
    }

    /// Returns true if the secret is the password of an account holder or credential.
    ///
    /// # Errors
    /// [`ManagementError::Busy`].
    pub async fn has_password(
        &self,
        principal: &Principal,
        secret: &Secret,
    ) -> Result<bool, ManagementError> {
        self.mutations.verifies(secret, &principal.hash).await
    }

    /// Adds an account.
    ///
    /// # Errors
    /// [`ManagementError`]; nothing has changed, unless it says otherwise.
    pub async fn add(
        &self,
        name: &str,
        password: &[u8],
        rights: Permissions,
    ) -> Result<AccountId, ManagementError> {
        let asked = self.asked(AuditAction::AccountAdd, name, format!("rights={rights}"));
        let checked = Username::parse_new(name)
            .map_err(ManagementError::from)
            .and_then(|name| Ok((name, self.rules.parse(password)?)));
        let (name, password) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return self.mutations.note(&asked, Err(refusal)),
        };
        let mutations = self.mutations.clone();
        let work = {
            let name = name.clone();
            async move {
                let hash = mutations.hash(&password, HashShare::Operator).await?;
                Ok(mutations.store.add_account(&name, &hash, rights).await?)
            }
        };
        self.mutations.run(asked, name.canonical(), work).await.map(|(id, _)| id)
    }

    /// Sets the password of the account holder.
    ///
    /// # Errors
    /// As [`Accounts::add`].
    pub async fn set_password(&self, name: &str, password: &[u8]) -> Result<(), ManagementError> {
        let asked = self.asked(AuditAction::AccountPassword, name, "password".to_owned());
        let password = match self.rules.parse(password) {
            Ok(password) => password,
            Err(error) => return self.mutations.note(&asked, Err(error.into())),
        };
        let mutations = self.mutations.clone();
        self.change(asked, |name| async move {
            let hash = mutations.hash(&password, HashShare::Operator).await?;
            Ok(mutations.store.set_password(&name, &hash).await?)
        })
        .await
    }

    /// Sets the rights of the account, the ceiling for all its credentials.
    ///
    /// # Errors
    /// As [`Accounts::add`].
    pub async fn set_rights(&self, name: &str, rights: Permissions) -> Result<(), ManagementError> {
        let asked = self.asked(AuditAction::AccountRights, name, format!("rights={rights}"));
        let store = self.mutations.store.clone();
        self.change(asked, |name| async move { Ok(store.set_rights(&name, rights).await?) }).await
    }

    /// Suspends the account: its holder and its credentials are denied everything.
    ///
    /// # Errors
    /// As [`Accounts::add`].
    pub async fn suspend(&self, name: &str) -> Result<(), ManagementError> {
        self.set_active(AuditAction::AccountSuspend, name, false).await
    }

    /// Ends the suspension of the account.
    ///
    /// # Errors
    /// As [`Accounts::add`].
    pub async fn resume(&self, name: &str) -> Result<(), ManagementError> {
        self.set_active(AuditAction::AccountResume, name, true).await
    }

    /// Removes the account and all its credentials.
    ///
    /// # Errors
    /// As [`Accounts::add`].
    pub async fn remove(&self, name: &str) -> Result<(), ManagementError> {
        let asked = self.asked(AuditAction::AccountRemove, name, String::new());
        let store = self.mutations.store.clone();
        self.change(asked, |name| async move { Ok(store.remove_account(&name).await?) }).await
    }

    async fn set_active(&self, action: AuditAction, name: &str, active: bool) -> Result<(), ManagementError> {
        let asked = self.asked(action, name, String::new());
        let store = self.mutations.store.clone();
        self.change(asked, |name| async move { Ok(store.set_active(&name, active).await?) }).await
    }

    /// Makes a change of the account that the request names.
    async fn change<F>(
        &self,
        asked: RequestedChange,
        work: impl FnOnce(Canonical) -> F,
    ) -> Result<(), ManagementError>
    where
        F: Future<Output = Result<Written<()>, ManagementError>> + Send + 'static,
    {
        match Canonical::of(asked.subject.as_bytes()) {
            Some(name) => self.mutations.run(asked, name, work(name)).await.map(drop),
            None => self.mutations.note(&asked, Err(AccountError::NoSuchAccount.into())),
        }
    }

    fn asked(&self, action: AuditAction, subject: &str, change: String) -> RequestedChange {
        let (actor, subject) = (operator(), subject.to_owned());
        RequestedChange { action, actor, subject, change, origin: self.origin.clone(), account: None }
    }
}
