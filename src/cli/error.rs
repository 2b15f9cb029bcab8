//! Why a command was not carried out.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::service::ManagementError;
use crate::state::store::StoreError;

/// Why a command was not carried out; for the operator to read. Exit status 1.
#[derive(Debug, Error)]
pub enum CliError {
    /// What was asked for was refused, or could not be done.
    #[error(transparent)]
    Refused(#[from] ManagementError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The second password was another one.
    #[error("the two passwords differ")]
    PasswordsDiffer,
    /// There was no password to be read.
    #[error("no password: {0} (without a terminal, use --password-stdin)")]
    NoPassword(io::Error),
    /// More than a password came from standard input.
    #[error("standard input holds more than one line, or more than a password can be long")]
    NotAPassword,
    /// The operator changed their mind.
    #[error("not confirmed: nothing was changed")]
    NotConfirmed,
    /// Passwords can't be hashed.
    #[error("no threads or random numbers for passwords: {0}")]
    Hashing(io::Error),
    /// The result could not be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// A file or directory could not be written.
    #[error("{path}: cannot be written: {1}", path = .0.display())]
    NotWritten(PathBuf, io::Error),
}
