//! Errors of the store.

use thiserror::Error;

use crate::domain::AccountError;

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
        /// The error of the system or the database.
        detail: String,
    },
}

/// The reason that a mutation was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MutationError {
    /// The accounts as they are do not allow it. Nothing was written.
    #[error(transparent)]
    NotAllowed(#[from] AccountError),
    /// The store can't be asked; it is open whether the change was made.
    #[error(transparent)]
    Store(#[from] StoreError),
}
