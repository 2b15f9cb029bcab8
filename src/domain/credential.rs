//! Principals: account holders and their credentials, as stored.

use std::fmt;

use super::{Permissions, Username};

/// The permanent number of an account; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub i64);

/// The permanent number of a credential; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId(pub i64);

/// The permanent number of a principal: an account's or a credential's, which are of one sequence. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalId(pub i64);

/// The kind of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// The account holder.
    Holder,
    /// A credential of the account.
    Credential(CredentialId),
}

/// A stored password hash. It prints as `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash(String);

impl StoredHash {
    /// Takes a hash from the store. It is checked only when a password is verified against it.
    pub fn new(text: String) -> StoredHash {
        StoredHash(text)
    }

    /// Returns the stored text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash(…)")
    }
}

/// A row of the store: an account holder or a credential, with the state of its account.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The account holder or a credential.
    pub kind: PrincipalKind,
    /// The account to which it belongs.
    pub account: AccountId,
    /// The account holder's username.
    pub account_name: Username,
    /// The username.
    pub name: Username,
    /// The hash of its password.
    pub hash: StoredHash,
    /// The stored permissions; for the holder, the account's rights.
    pub bits: Permissions,
    /// The ceiling for all permissions in the account.
    pub rights: Permissions,
    /// False while the account is suspended.
    pub active: bool,
}

impl Principal {
    /// Returns its number.
    pub fn id(&self) -> PrincipalId {
        match self.kind {
            PrincipalKind::Holder => PrincipalId(self.account.0),
            PrincipalKind::Credential(id) => PrincipalId(id.0),
        }
    }

    /// Returns the effective permissions: those that are also rights of the account, and none while it is suspended.
    pub fn effective(&self) -> Permissions {
        if self.active { self.bits.and(self.rights) } else { Permissions::NONE }
    }
}

/// A credential in the listings of `get` and of the command line.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The number.
    pub id: CredentialId,
    /// The username.
    pub name: Username,
    /// The stored permissions, which are those that it has again once the account's rights allow it.
    pub stored: Permissions,
    /// The effective permissions.
    pub effective: Permissions,
    /// False while the account is suspended.
    pub active: bool,
    /// The time when it was added, in seconds since 1970 UTC.
    pub created_at: i64,
    /// The time of its last change, in seconds since 1970 UTC.
    pub updated_at: i64,
}
