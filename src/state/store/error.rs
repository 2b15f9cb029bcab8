//! Errors of the store.

use thiserror::Error;

use crate::domain::AccountError;

/// The store is unavailable. Never a denial, and never a reason to panic.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Silence, or an error of the database: locked, full, read-only, damaged, I/O. The detail is for the
    /// log, not for a client. After a mutation it is unknown whether the change was made.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The files of the database are no longer those that are open. The text is for log and operator.
    #[error("the store is unavailable: {0}")]
    Replaced(String),
    /// The connection was lost during a commit: it is unknown whether the change was made.
    #[error("the store is unavailable: {0}")]
    Uncertain(String),
    /// A store that cannot be opened.
    #[error("the store {path} cannot be opened: {detail}")]
    Open {
        /// The file.
        path: String,
        /// The error of the system or the database.
        detail: String,
    },
}

impl StoreError {
    /// The fault alone, for a message that names the store.
    pub fn reason(&self) -> &str {
        match self {
            StoreError::Unavailable(reason)
            | StoreError::Replaced(reason)
            | StoreError::Uncertain(reason) => reason,
            StoreError::Open { detail, .. } => detail,
        }
    }
}

/// The reason that a mutation was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MutationError {
    /// The accounts as they are do not allow it. Nothing was written.
    #[error(transparent)]
    NotAllowed(#[from] AccountError),
    /// The store is unavailable. It is unknown whether the change was made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MutationError {
    /// The error of a mutation that no rule about accounts can refuse.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            MutationError::NotAllowed(refusal) => StoreError::Unavailable(refusal.to_string()),
            MutationError::Store(error) => error,
        }
    }
}
