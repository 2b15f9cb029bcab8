//! The pages that ask before credentials are removed.

use askama::Template;

use super::credential_row::CredentialRow;
use super::form::FormErrors;
use super::frame::ConsoleFrame;

/// The question before one credential is removed.
#[derive(Template)]
#[template(path = "remove.html")]
pub struct RemoveView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The credential.
    pub row: CredentialRow,
    /// True if the password of the account is asked for.
    pub asks_confirmation: bool,
    /// The errors.
    pub errors: FormErrors,
    /// The command that does the same.
    pub command: String,
}

/// A credential in the question before several are removed.
pub struct BulkRemoveRow {
    /// The credential.
    pub row: CredentialRow,
    /// The reason for which it was not removed, after the form was sent.
    pub failure: Option<String>,
}

/// The question before several credentials are removed, or those that were left by it.
#[derive(Template)]
#[template(path = "bulk-remove.html")]
pub struct BulkRemoveView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The credentials.
    pub rows: Vec<BulkRemoveRow>,
    /// True if the password of the account is asked for.
    pub asks_confirmation: bool,
    /// The errors.
    pub errors: FormErrors,
}

impl BulkRemoveView<'_> {
    /// Returns `1 credential` or `12 credentials`.
    pub fn count(&self) -> String {
        match self.rows.len() {
            1 => "1 credential".to_owned(),
            count => format!("{count} credentials"),
        }
    }
}
