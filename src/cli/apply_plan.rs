//! The changes that make the credentials of an account equal to a file.

use std::collections::BTreeMap;

use crate::config::{ConfigError, CredentialFile, ListedCredential};
use crate::domain::{
    Canonical, ChangeCondition, Credential, CredentialDetails, CredentialVersion, Note, PermissionEdit,
    Permissions, Secret,
};

/// A listed credential with the password of its file.
#[derive(Debug)]
pub struct WantedCredential {
    /// The credential.
    pub listed: ListedCredential,
    /// The password that it should have; `None` without a file.
    pub password: Option<Secret>,
    /// True if it has that password already.
    pub has_password: bool,
}

/// A credential that is edited.
#[derive(Debug)]
pub struct PlannedEdit {
    /// The name, as it is stored.
    pub name: String,
    /// The permissions before and after.
    pub permissions: (Permissions, Permissions),
    /// The note before and after.
    pub notes: (Option<Note>, Option<Note>),
    /// The new password.
    pub password: Option<Secret>,
    /// The credential that was compared with the file.
    pub condition: ChangeCondition,
}

/// A credential that is removed.
#[derive(Debug)]
pub struct PlannedRemoval {
    /// The name.
    pub name: String,
    /// The permissions.
    pub permissions: Permissions,
    /// The credential that was compared with the file.
    pub condition: ChangeCondition,
}

/// The changes, in their order.
#[derive(Debug, Default)]
pub struct ApplyPlan {
    /// The credentials that are added.
    pub additions: Vec<WantedCredential>,
    /// The credentials that are edited.
    pub edits: Vec<PlannedEdit>,
    /// The credentials that are removed.
    pub removals: Vec<PlannedRemoval>,
    /// The number of those that stay as they are.
    pub unchanged: usize,
}

impl PlannedEdit {
    /// The change of permissions: only those that differ, since others may be above the rights of the account.
    pub fn permission_edit(&self) -> PermissionEdit {
        let (before, after) = self.permissions;
        let mut edit = PermissionEdit::default();
        for (set, bit) in [(after.minus(before), "1"), (before.minus(after), "0")] {
            for permission in set.iter() {
                // A permission differs in one direction only.
                let _ = edit.name(permission.as_str(), bit);
            }
        }
        edit
    }

    /// The new note, if it changes; empty to remove it.
    pub fn note(&self) -> Option<&str> {
        let (before, after) = &self.notes;
        (before != after).then(|| after.as_ref().map_or("", Note::as_str))
    }

    fn is_change(&self) -> bool {
        self.permissions.0 != self.permissions.1 || self.note().is_some() || self.password.is_some()
    }
}

impl ApplyPlan {
    /// Compares the credentials of an account with those that it should have.
    pub fn new(wanted: Vec<WantedCredential>, current: Vec<CredentialDetails>) -> ApplyPlan {
        let mut current: BTreeMap<String, CredentialDetails> =
            current.into_iter().map(|details| (key(details.credential.name.canonical()), details)).collect();
        let mut plan = ApplyPlan::default();
        for wanted in wanted {
            let Some(details) = current.remove(&key(wanted.listed.name.canonical())) else {
                plan.additions.push(wanted);
                continue;
            };
            let WantedCredential { listed, password, has_password } = wanted;
            let condition = condition_of(&details);
            let Credential { name, stored, .. } = details.credential;
            let edit = PlannedEdit {
                name: name.as_str().to_owned(),
                permissions: (stored, listed.permissions),
                notes: (details.note, listed.note),
                password: password.filter(|_| !has_password),
                condition,
            };
            match edit.is_change() {
                true => plan.edits.push(edit),
                false => plan.unchanged += 1,
            }
        }
        plan.removals = current
            .into_values()
            .map(|details| PlannedRemoval {
                condition: condition_of(&details),
                name: details.credential.name.as_str().to_owned(),
                permissions: details.credential.stored,
            })
            .collect();
        plan
    }

    /// Returns true if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.additions.is_empty() && self.edits.is_empty() && self.removals.is_empty()
    }

    /// The permissions that the account lacks, and that the file grants anew, with their lines.
    pub fn above_rights(&self, file: &CredentialFile, rights: Permissions) -> Vec<ConfigError> {
        let granted = |listed: &ListedCredential| {
            let name = listed.name.canonical();
            let edit = self.edits.iter().find(|edit| Canonical::of(edit.name.as_bytes()) == Some(name));
            let is_added = self.additions.iter().any(|wanted| wanted.listed.name.canonical() == name);
            match edit {
                Some(edit) => edit.permissions.1.minus(edit.permissions.0),
                None if is_added => listed.permissions,
                None => Permissions::NONE,
            }
        };
        let mut errors = Vec::new();
        for listed in &file.credentials {
            for permission in granted(listed).minus(rights).iter() {
                let reason = format!("'{permission}' is not among the rights of the account");
                errors.push(ConfigError::at(&listed.permissions_place, reason));
            }
        }
        errors
    }
}

fn key(name: Canonical) -> String {
    name.as_str().to_owned()
}

fn condition_of(details: &CredentialDetails) -> ChangeCondition {
    let version: CredentialVersion = details.version;
    ChangeCondition { id: Some(details.credential.id), version: Some(version) }
}
