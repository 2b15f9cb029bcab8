//! The page of the login itself.

use askama::Template;

use super::credential_row::{CredentialRow, PermissionPill};
use super::form::FormErrors;
use super::frame::ConsoleFrame;
use super::handover::ServerAddress;

/// The permissions of the login, and the form for its password.
#[derive(Template)]
#[template(path = "own.html")]
pub struct OwnView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The credential; `None` for the account holder.
    pub row: Option<CredentialRow>,
    /// The permissions that the login holds, with the reasons for which some have no effect.
    pub permissions: Vec<PermissionPill>,
    /// The permissions that it does not have.
    pub missing: Vec<&'static str>,
    /// The hosts and ports of the entries that it may use.
    pub servers: Vec<ServerAddress>,
    /// The errors of the form, at `current`, `password` and `again`.
    pub errors: FormErrors,
}
