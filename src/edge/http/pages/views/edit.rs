//! The form that changes a credential.

use super::credential_row::CredentialRow;
use super::form::{FormErrors, PasswordChoice, PermissionChoice};
use super::frame::ConsoleFrame;

/// The form, with the current values or with errors.
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
    /// True if the password of the account is asked for.
    pub asks_confirmation: bool,
    /// The errors.
    pub errors: FormErrors,
    /// The command that does the same.
    pub command: String,
}
