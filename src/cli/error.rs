//! Failures of commands.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::ConfigErrors;
use crate::service::ManagementError;
use crate::state::cluster::{LeaseError, Unconfirmed};
use crate::state::store::StoreError;

/// The reason for which a command failed. Exit status 1.
#[derive(Debug, Error)]
pub enum CommandError {
    /// The change was refused, or could not be made.
    #[error(transparent)]
    Refused(#[from] ManagementError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database cannot be read or written, for this reason. It is unknown if a change was made.
    #[error("the database {0}: {1}")]
    Unusable(String, String),
    /// The searched name does not exist.
    #[error("there is no account and no credential of that name")]
    NoSuchName,
    /// The two typed passwords differ.
    #[error("the two passwords differ")]
    PasswordsDiffer,
    /// Reading the password failed.
    #[error("cannot read a password: {0} (without a terminal, use --password-stdin)")]
    NoPassword(io::Error),
    /// Standard input contains more than a password.
    #[error("invalid password on standard input: more than one line, or too long")]
    NotAPassword,
    /// The operator did not confirm.
    #[error("not confirmed: nothing was changed")]
    NotConfirmed,
    /// Changes that may not be in effect everywhere.
    #[error("not every change may be in effect in all gateways: {0}")]
    Unsettled(Unconfirmed),
    /// The lease was not changed.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Passwords cannot be hashed.
    #[error("cannot start password hashing: {0}")]
    Hashing(io::Error),
    /// The output could not be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// A file has errors.
    #[error(transparent)]
    BadFile(#[from] ConfigErrors),
    /// Neither the file nor the command line names the account.
    #[error("{0} names no account: write account = \"NAME\" at its beginning, or use --account NAME")]
    NoAccount(String),
    /// A file without credentials for an account that has some.
    #[error("{0} lists no credentials: to remove all {1} of the account, use --allow-empty")]
    EmptyFile(String, usize),
    /// The change of one of several credentials was refused, or could not be made.
    #[error("credential {0}: {1}")]
    OfCredential(String, ManagementError),
    /// The generated password of an added credential could not be printed.
    #[error(
        "credential {0} was added, and its password could not be printed: {1}; set another one with gatepost credential edit"
    )]
    PasswordNotTold(String, io::Error),
    /// The system has no random numbers.
    #[error("cannot generate a password: the system has no random numbers")]
    NoRandom,
    /// A file or directory could not be written.
    #[error("{path}: cannot be written: {1}", path = .0.display())]
    NotWritten(PathBuf, io::Error),
}

impl CommandError {
    /// The error of a change of one of several credentials.
    pub fn of_credential(name: &str, error: ManagementError) -> CommandError {
        match error {
            // The database is named, as for any command.
            ManagementError::Store(_) => CommandError::Refused(error),
            error => CommandError::OfCredential(name.to_owned(), error),
        }
    }
}
