//! A credential as the console and the API v1 show it, and the version by which they change it.

use super::{Credential, CredentialId, LatestUse, Note, Permission, UseState};

/// The number of a credential's version. Each change of its row raises it, whoever makes it and by whatever tool; its uses don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialVersion(pub i64);

/// The credential that a change is meant for. It is compared in the transaction of the change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCondition {
    /// The number, so that another one that was given the name later is not changed.
    pub id: Option<CredentialId>,
    /// The version, so that a change that its caller hasn't seen is not overwritten.
    pub version: Option<CredentialVersion>,
}

/// The reason for which a permission that a credential holds has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEffect {
    /// The account is suspended.
    Suspended,
    /// The account lacks the right.
    RightMissing,
}

/// A credential with all that may be shown of it.
#[derive(Clone, Debug)]
pub struct CredentialDetails {
    /// The number, name, permissions and times.
    pub credential: Credential,
    /// The note.
    pub note: Option<Note>,
    /// The version.
    pub version: CredentialVersion,
    /// The last use.
    pub last_use: Option<LatestUse>,
}

impl CredentialDetails {
    /// The reason for which that permission has no effect; `None` if it has one, or is not held.
    pub fn without_effect(&self, permission: Permission) -> Option<NoEffect> {
        let Credential { stored, effective, active, .. } = &self.credential;
        match stored.contains(permission) && !effective.contains(permission) {
            true if !active => Some(NoEffect::Suspended),
            true => Some(NoEffect::RightMissing),
            false => None,
        }
    }

    /// The state by the last use, at `now` in seconds since 1970 UTC.
    pub fn use_state(&self, now: i64) -> UseState {
        UseState::of(self.last_use.as_ref(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Permissions, Username};

    #[test]
    fn a_permission_without_effect_has_a_reason() {
        let details = |effective: &str, active| CredentialDetails {
            credential: Credential {
                id: CredentialId(2),
                name: Username::parse("cred").unwrap(),
                stored: "email,api".parse().unwrap(),
                effective: effective.parse().unwrap(),
                active,
                created_at: 0,
                updated_at: 0,
            },
            note: None,
            version: CredentialVersion(1),
            last_use: None,
        };
        let lacks = details("api", true);
        assert_eq!(lacks.without_effect(Permission::Email), Some(NoEffect::RightMissing));
        assert_eq!(lacks.without_effect(Permission::Api), None);
        assert_eq!(lacks.without_effect(Permission::Web), None, "it is not held");
        let suspended = CredentialDetails {
            credential: Credential { effective: Permissions::NONE, ..details("api", false).credential },
            ..details("api", false)
        };
        assert_eq!(suspended.without_effect(Permission::Api), Some(NoEffect::Suspended));
    }
}
