//! A new password, shown once, with what a client needs to use it.

use askama::Template;

use super::credential_row::PermissionPill;
use super::frame::ConsoleFrame;

/// The page after a credential was added, or got a new password.
#[derive(Template)]
#[template(path = "handover.html")]
pub struct HandoverView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The reason for which there is a password.
    pub kind: Handover,
    /// The ID in addresses; `None` if it is not known.
    pub id: Option<String>,
    /// The username.
    pub name: String,
    /// The password.
    pub password: String,
    /// The permissions.
    pub permissions: Vec<PermissionPill>,
    /// The hosts and ports of the entries that the credential may use.
    pub servers: Vec<ServerAddress>,
    /// Lines to paste.
    pub snippets: Vec<Snippet>,
    /// The words of [`effect_words`](super::effect_words()).
    pub effect: String,
    /// The reason for which it is not known that the password is valid everywhere; `None` if it is.
    pub doubt: Option<&'static str>,
}

/// The reason for which a password is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The credential is new.
    Added,
    /// The credential has a new password; the old one is refused.
    NewPassword,
}

/// The address of an entry.
#[derive(Clone, Debug)]
pub struct ServerAddress {
    /// The entry in words: `Mail (SMTP)`, `API` or `Dashboard`.
    pub entry: String,
    /// The host.
    pub host: String,
    /// The port, with what a client has to choose, such as `587, STARTTLS`.
    pub port: String,
}

/// Lines to paste into a terminal or a file.
#[derive(Clone, Debug)]
pub struct Snippet {
    /// The name of the program or file: `curl`, `swaks`, `.env`.
    pub title: &'static str,
    /// The lines.
    pub text: String,
}
