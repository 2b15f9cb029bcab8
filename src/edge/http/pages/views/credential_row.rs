//! A credential as a list or a page shows it.

use super::form::meaning;
use super::stamp::Stamp;

/// A credential in words.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// The ID in addresses and forms.
    pub id: String,
    /// The username.
    pub name: String,
    /// The note; empty if it has none.
    pub note: String,
    /// The permissions, in their order.
    pub permissions: Vec<PermissionPill>,
    /// The state.
    pub state: CredentialState,
    /// The time of its addition.
    pub created: Stamp,
    /// The time of its last change; `None` if it never changed.
    pub changed: Option<Stamp>,
    /// The last use that is known.
    pub last_use: Option<LastUse>,
}

impl CredentialRow {
    /// Iterates over the reasons for which permissions have no effect, each once.
    pub fn reasons(&self) -> Vec<&str> {
        let mut reasons: Vec<&str> = Vec::new();
        for reason in self.permissions.iter().filter_map(|pill| pill.without_effect.as_deref()) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }
}

/// A permission that a credential has.
#[derive(Clone, Debug)]
pub struct PermissionPill {
    /// The permission's name: `email`, `api` or `web`.
    pub name: &'static str,
    /// The reason for which it has no effect, such as `The account doesn’t have the permission “web”.`
    pub without_effect: Option<String>,
}

impl PermissionPill {
    /// Returns the sentence that explains the permission.
    pub fn meaning(&self) -> &'static str {
        meaning(self.name)
    }
}

/// The state of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialState {
    /// Used within the last 90 days.
    Active,
    /// Not used for 90 days.
    Unused,
    /// Never used.
    NeverUsed,
    /// None of its permissions has an effect, or it has none.
    WithoutEffect,
}

impl CredentialState {
    /// Returns the state in words.
    pub const fn words(self) -> &'static str {
        match self {
            CredentialState::Active => "Active",
            CredentialState::Unused => "Unused for 90 days",
            CredentialState::NeverUsed => "Never used",
            CredentialState::WithoutEffect => "Without effect",
        }
    }

    /// Returns the class in the stylesheet.
    pub const fn class(self) -> &'static str {
        match self {
            CredentialState::Active => "state-active",
            CredentialState::Unused => "state-unused",
            CredentialState::NeverUsed => "state-never",
            CredentialState::WithoutEffect => "state-without",
        }
    }
}

/// The last use of a credential.
#[derive(Clone, Debug)]
pub struct LastUse {
    /// The time, to about a minute.
    pub when: Stamp,
    /// The entry in words: `mail`, `API`, `dashboard` or `console`.
    pub entry: String,
    /// The client's address or network; empty if it is not known.
    pub address: String,
}

impl LastUse {
    /// Returns entry and address, such as `mail, 203.0.113.47`.
    pub fn place(&self) -> String {
        if self.address.is_empty() { self.entry.clone() } else { format!("{}, {}", self.entry, self.address) }
    }
}
