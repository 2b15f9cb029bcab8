//! Accounts and their credentials, as the store knows them.

use std::fmt;

use super::{Permissions, Username};

/// Names an account for good; never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub i64);

/// Names a credential for good; never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId(pub i64);

/// Whether a principal is the account holder itself or one of its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// The account holder.
    Holder,
    /// An additional credential.
    Credential(CredentialId),
}

/// A password hash as stored; it prints as `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash(String);

impl StoredHash {
    /// Takes over what the store holds; checked only when a password is verified against it.
    pub fn new(text: String) -> StoredHash {
        StoredHash(text)
    }

    /// The stored text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash(…)")
    }
}

/// Who a login could turn out to be: one row of the store, with what its account allows.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Account holder or credential.
    pub kind: PrincipalKind,
    /// The account it belongs to; for the holder, the account itself.
    pub account: AccountId,
    /// The account holder's username.
    pub account_name: Username,
    /// Its own username.
    pub name: Username,
    /// What its password is verified against.
    pub hash: StoredHash,
    /// Its own bits; for the holder, the account's rights.
    pub bits: Permissions,
    /// The ceiling of all permissions in the account.
    pub rights: Permissions,
    /// Whether the account is active, that is, not suspended.
    pub active: bool,
}

impl Principal {
    /// Bits AND rights, and nothing while the account is suspended.
    pub fn effective(&self) -> Permissions {
        if self.active { self.bits.and(self.rights) } else { Permissions::NONE }
    }
}

/// A credential as `get` and the command line list it.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its number.
    pub id: CredentialId,
    /// Its username.
    pub name: Username,
    /// Its effective permissions.
    pub effective: Permissions,
    /// When it was added, in seconds since 1970 UTC.
    pub created_at: i64,
    /// When it was last changed, in seconds since 1970 UTC.
    pub updated_at: i64,
}
