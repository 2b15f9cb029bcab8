//! What can go wrong with the store.

use thiserror::Error;

use crate::domain::Permission;

/// The store can't be asked. Never a denial, and never a reason to panic.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It did not answer, or answered with an error of its own: locked, full, read-only, damaged, I/O. The detail is
    /// for the log, not for a peer. After a mutation it is open whether the change was made.
    #[error("the store can't be asked: {0}")]
    Unavailable(String),
    /// It can't be opened at all.
    #[error("the store {path} can't be opened: {detail}")]
    Open {
        /// The file.
        path: String,
        /// What the system or the database said.
        detail: String,
    },
}

/// Why a mutation was not made. All but [`MutationError::Store`] are answers to the caller; nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MutationError {
    /// An account or a credential has that name, whatever its case.
    #[error("username is already taken")]
    NameTaken,
    /// The account has no such credential.
    #[error("no such credential")]
    NoSuchCredential,
    /// There is no such account (any more).
    #[error("no such account")]
    NoSuchAccount,
    /// The account is suspended, so its holder manages nothing.
    #[error("the account is suspended")]
    Suspended,
    /// Asked for with a 1, and the account itself doesn't have it.
    #[error("permissions: {0} is not among the rights of the account")]
    AboveRights(Permission),
    /// The store can't be asked; open whether the change was made.
    #[error(transparent)]
    Store(#[from] StoreError),
}
