//! Errors of changes and lookups that depend on the existing accounts and credentials.

use thiserror::Error;

use super::Permission;

/// The reason for which the existing accounts and credentials do not allow a request. Account holders may see the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AccountError {
    /// An account or a credential has this name, ignoring case.
    #[error("username is already taken")]
    NameTaken,
    /// The account has no credential with this name.
    #[error("no such credential")]
    NoSuchCredential,
    /// Unknown account: none has this name, or it was removed in the meantime.
    #[error("no such account")]
    NoSuchAccount,
    /// The credential is not the one that the change was meant for, or has changed since its caller saw it.
    #[error("the credential was changed in the meantime")]
    ConditionFailed,
    /// More credentials than are removed at once.
    #[error("at most 200 credentials are removed at once")]
    TooManyAtOnce,
    /// The account is suspended, so its holder cannot manage credentials.
    #[error("the account is suspended")]
    Suspended,
    /// The permission to be granted is not among the rights of the account.
    #[error("permissions: {0} is not among the rights of the account")]
    AboveRights(Permission),
    /// The principal has no session of this number, or it has ended.
    #[error("no such session")]
    NoSuchSession,
    /// The password was changed, or the credential was removed, while its login was checked.
    #[error("the login has changed meanwhile")]
    LoginChanged,
}
