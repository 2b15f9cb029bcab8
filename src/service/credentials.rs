//! The credentials of an account: get, add, edit, remove (docs/api.md), for the API and the command line.

use super::audit::{AuditAction, Origin, RequestedChange, operator};
use super::{Effect, Granted, ManagementError, Mutations};
use crate::domain::{
    AccountError, AccountId, Canonical, ChangeCondition, Credential, CredentialId, Note, PasswordRules,
    PermissionEdit, PrincipalKind, Username,
};
use crate::state::hashing::HashShare;
use crate::state::store::{Authority, CredentialEdit, NewCredential};

/// The management of the credentials of all accounts. Cloning is cheap.
#[derive(Clone)]
pub struct Credentials {
    pub(super) mutations: Mutations,
}

/// The manager of the credentials of one account: its holder, or the operator.
#[derive(Clone, Debug)]
pub struct Manager {
    account: AccountId,
    authority: Authority,
    actor: String,
    origin: Origin,
    rules: PasswordRules,
}

/// A request to add a credential.
#[derive(Clone, Copy, Default)]
pub struct Addition<'a> {
    /// The username.
    pub username: &'a str,
    /// The password.
    pub password: &'a [u8],
    /// The permissions; omitted ones are granted.
    pub permissions: PermissionEdit,
    /// The note; empty for none.
    pub note: &'a str,
}

/// A request to edit a credential; omitted values stay as they are.
#[derive(Clone, Copy, Default)]
pub struct Edit<'a> {
    /// The username of the credential.
    pub username: &'a str,
    /// The new password.
    pub password: Option<&'a [u8]>,
    /// The permissions that change.
    pub permissions: PermissionEdit,
    /// The new note; empty to remove it.
    pub note: Option<&'a str>,
    /// The credential that the change is meant for.
    pub condition: ChangeCondition,
}

/// A change of a credential that is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialChange {
    /// The number of credentials that the account has now.
    pub count: u64,
    /// The time that it took, and where it is in effect.
    pub effect: Effect,
}

impl From<(u64, Effect)> for CredentialChange {
    fn from((count, effect): (u64, Effect)) -> CredentialChange {
        CredentialChange { count, effect }
    }
}

impl Manager {
    /// Returns the manager for an account holder; `None` for a credential, which manages nothing, whatever its permissions. New passwords
    /// have to meet the rules of the original API only: see [`Manager::with_rules_for_people`].
    pub fn holder(granted: &Granted, origin: Origin) -> Option<Manager> {
        let (account, authority) = (granted.account(), Authority::Holder);
        let actor = granted.name().to_string();
        let rules = PasswordRules::OriginalApi;
        (granted.kind() == PrincipalKind::Holder).then_some(Manager {
            account,
            authority,
            actor,
            origin,
            rules,
        })
    }

    /// The same manager, whose new passwords are chosen by people: common ones are refused, and long ones need no digit.
    pub fn with_rules_for_people(self) -> Manager {
        Manager { rules: PasswordRules::People, ..self }
    }

    /// The account.
    pub fn account(&self) -> AccountId {
        self.account
    }

    pub(super) fn authority(&self) -> Authority {
        self.authority
    }

    pub(super) fn is_at_command_line(&self) -> bool {
        self.origin == Origin::CommandLine
    }

    pub(super) fn asked(&self, action: AuditAction, subject: &str, change: String) -> RequestedChange {
        let (actor, subject) = (self.actor.clone(), subject.to_owned());
        RequestedChange {
            action,
            actor,
            subject,
            change,
            origin: self.origin.clone(),
            account: Some(self.account),
        }
    }
}

impl Credentials {
    /// Creates the service.
    pub fn new(mutations: Mutations) -> Credentials {
        Credentials { mutations }
    }

    /// Returns the operator as the manager of the account with this name, even while it is suspended.
    ///
    /// # Errors
    /// [`AccountError::NoSuchAccount`] and [`ManagementError::Store`].
    pub async fn operator(&self, account: &str, origin: Origin) -> Result<Manager, ManagementError> {
        let name = Canonical::of(account.as_bytes()).ok_or(AccountError::NoSuchAccount)?;
        let found = self.mutations.store.account(&name).await?.ok_or(AccountError::NoSuchAccount)?;
        let actor = format!("{} for {}", operator(), found.name);
        let (authority, rules) = (Authority::Operator, PasswordRules::OriginalApi);
        Ok(Manager { account: found.id, authority, actor, origin, rules })
    }

    /// Does the same before a revocation. That there is no such account is then true in every running gateway, too.
    ///
    /// # Errors
    /// As [`Credentials::operator`], and [`ManagementError::Unconfirmed`].
    pub async fn revoking_operator(&self, account: &str, origin: Origin) -> Result<Manager, ManagementError> {
        self.mutations.find(self.operator(account, origin)).await
    }

    /// Returns a page of the credentials in the order of their addition: at most `limit`, all added after `after`.
    ///
    /// # Errors
    /// [`ManagementError::Store`].
    pub async fn list(
        &self,
        by: &Manager,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Vec<Credential>, ManagementError> {
        let page =
            self.mutations.store.credentials(by.account, after, limit).await.map_err(ManagementError::from);
        page.or_else(|refusal| self.not_shown(by, "", refusal))
    }

    /// Returns the credential with this name.
    ///
    /// # Errors
    /// [`AccountError::NoSuchCredential`], also if it belongs to another account, and [`ManagementError::Store`].
    pub async fn get(&self, by: &Manager, username: &str) -> Result<Credential, ManagementError> {
        let found = match Canonical::of(username.as_bytes()) {
            Some(name) => {
                self.mutations.store.credential(by.account, &name).await.map_err(ManagementError::from)
            }
            None => Ok(None),
        };
        let found = found.and_then(|found| found.ok_or(AccountError::NoSuchCredential.into()));
        found.or_else(|refusal| self.not_shown(by, username, refusal))
    }

    /// Adds a credential.
    ///
    /// # Errors
    /// [`ManagementError`]; nothing has changed, unless it says otherwise.
    pub async fn add(
        &self,
        by: &Manager,
        addition: Addition<'_>,
    ) -> Result<CredentialChange, ManagementError> {
        let has_note = !addition.note.is_empty();
        let asked = in_words(None, addition.permissions, has_note);
        let asked = by.asked(AuditAction::CredentialAdd, addition.username, asked);
        let checked = Username::parse_new(addition.username)
            .map_err(ManagementError::from)
            .and_then(|name| Ok((name, by.rules.parse(addition.password)?, Note::parse(addition.note)?)));
        let (name, password, note) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return self.mutations.note(&asked, Err(refusal)),
        };
        let (mutations, account, authority) = (self.mutations.clone(), by.account, by.authority);
        let permissions = addition.permissions;
        self.mutations
            .run(asked, name.canonical(), async move {
                let hash = mutations.hash(&password, HashShare::Account(account)).await?;
                let new = NewCredential { name, hash, permissions, note };
                let _turn = mutations.turn(account).await?;
                Ok(mutations.store.add_credential(account, authority, &new).await?)
            })
            .await
            .map(CredentialChange::from)
    }

    /// Edits a credential.
    ///
    /// # Errors
    /// As [`Credentials::add`].
    pub async fn edit(&self, by: &Manager, edit: Edit<'_>) -> Result<CredentialChange, ManagementError> {
        let asked = in_words(edit.password, edit.permissions, edit.note.is_some());
        let asked = by.asked(AuditAction::CredentialEdit, edit.username, asked);
        let checked = Canonical::of(edit.username.as_bytes())
            .ok_or(AccountError::NoSuchCredential.into())
            .and_then(|name| {
                let password = edit.password.map(|password| by.rules.parse(password)).transpose()?;
                Ok((name, password, edit.note.map(Note::parse).transpose()?))
            });
        let (name, password, note) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return self.mutations.note(&asked, Err(refusal)),
        };
        let (mutations, account, authority) = (self.mutations.clone(), by.account, by.authority);
        let (permissions, condition) = (edit.permissions, edit.condition);
        self.mutations
            .run(asked, name, async move {
                let hash = match &password {
                    Some(password) => Some(mutations.hash(password, HashShare::Account(account)).await?),
                    None => None,
                };
                let edit = CredentialEdit { hash, permissions, note, condition };
                let _turn = mutations.turn(account).await?;
                Ok(mutations.store.edit_credential(account, authority, &name, &edit).await?)
            })
            .await
            .map(CredentialChange::from)
    }

    /// Removes a credential.
    ///
    /// # Errors
    /// As [`Credentials::add`].
    pub async fn remove(&self, by: &Manager, username: &str) -> Result<CredentialChange, ManagementError> {
        self.remove_if(by, username, ChangeCondition::default()).await
    }

    /// Removes a credential, if it is the one that is meant.
    ///
    /// # Errors
    /// As [`Credentials::add`], and [`AccountError::ConditionFailed`].
    pub async fn remove_if(
        &self,
        by: &Manager,
        username: &str,
        condition: ChangeCondition,
    ) -> Result<CredentialChange, ManagementError> {
        let asked = by.asked(AuditAction::CredentialRemove, username, String::new());
        let Some(name) = Canonical::of(username.as_bytes()) else {
            return self.mutations.note(&asked, Err(AccountError::NoSuchCredential.into()));
        };
        let (mutations, account, authority) = (self.mutations.clone(), by.account, by.authority);
        let work = async move {
            let _turn = mutations.turn(account).await?;
            Ok(mutations.store.remove_credential_if(account, authority, &name, condition).await?)
        };
        self.mutations.run(asked, name, work).await.map(CredentialChange::from)
    }

    /// Records a request that was refused before it reached this service, for example because of invalid parameters.
    pub fn refused(&self, by: &Manager, action: AuditAction, username: &str, refusal: &ManagementError) {
        let _: Result<(), _> =
            self.mutations.note(&by.asked(action, username, String::new()), Err(refusal.clone()));
    }

    /// Records that credentials were asked for and are not shown.
    pub(super) fn not_shown<T>(
        &self,
        by: &Manager,
        username: &str,
        refusal: ManagementError,
    ) -> Result<T, ManagementError> {
        self.mutations.note(&by.asked(AuditAction::CredentialGet, username, String::new()), Err(refusal))
    }
}

/// Formats a change for the audit trail: `password email=0 web=1 note`.
fn in_words(password: Option<&[u8]>, permissions: PermissionEdit, has_note: bool) -> String {
    let mut words: Vec<String> = password.iter().map(|_| "password".to_owned()).collect();
    words.extend(permissions.named().iter().map(|permission| {
        let value = u8::from(permissions.granted().contains(permission));
        format!("{permission}={value}")
    }));
    words.extend(has_note.then(|| "note".to_owned()));
    words.join(" ")
}
