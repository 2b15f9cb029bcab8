//! Changes and look-ups that the accounts and credentials of the moment do not allow.

use thiserror::Error;

use super::Permission;

/// The reason that accounts and credentials as they are do not allow what was asked for. The texts may be shown to everybody who
/// may manage them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AccountError {
    /// An account or a credential has that name, whatever its case.
    #[error("username is already taken")]
    NameTaken,
    /// The account has no credential of that name.
    #[error("no such credential")]
    NoSuchCredential,
    /// There is no account of that name, or it was removed in the meantime.
    #[error("no such account")]
    NoSuchAccount,
    /// The account is suspended, so its holder manages nothing.
    #[error("the account is suspended")]
    Suspended,
    /// The permission was to be granted, and is not among the rights of the account.
    #[error("permissions: {0} is not among the rights of the account")]
    AboveRights(Permission),
}
