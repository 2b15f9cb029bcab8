//! The form that changes a credential.

use askama::Template;

use super::credential_row::CredentialRow;
use super::form::{FormErrors, PasswordChoice, PermissionChoice};
use super::frame::ConsoleFrame;

/// The form, with the current values or with errors.
#[derive(Template)]
#[template(path = "edit.html")]
pub struct EditView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The credential as it is now.
    pub current: CredentialRow,
    /// The note in the form.
    pub note: String,
    /// The permissions with their boxes.
    pub permissions: Vec<PermissionChoice>,
    /// The choice of the password.
    pub choice: PasswordChoice,
    /// The version that the form was made for, posted as `version`; empty for none.
    pub version: String,
    /// True if the password of the account is asked for.
    pub asks_confirmation: bool,
    /// The errors.
    pub errors: FormErrors,
    /// The command that does the same.
    pub command: String,
}
