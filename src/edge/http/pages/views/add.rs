//! The form for a new credential.

use askama::Template;

use super::form::{FormErrors, PasswordChoice, PermissionChoice};
use super::frame::ConsoleFrame;

/// The form, empty or with its errors.
#[derive(Template)]
#[template(path = "add.html")]
pub struct AddView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The name to fill in again.
    pub name: String,
    /// The note to fill in again.
    pub note: String,
    /// The permissions with their boxes.
    pub permissions: Vec<PermissionChoice>,
    /// The choice of the password. A typed one is never filled in again.
    pub choice: PasswordChoice,
    /// True if the password of the account is asked for.
    pub asks_confirmation: bool,
    /// The errors.
    pub errors: FormErrors,
    /// The command that does the same.
    pub command: String,
}
