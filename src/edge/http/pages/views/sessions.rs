//! The sessions of the principal that is logged in.

use askama::Template;

use super::frame::ConsoleFrame;
use super::stamp::Stamp;

/// The list of sessions. Its buttons lead to a [`ConfirmView`](super::ConfirmView) where the password is asked for.
#[derive(Template)]
#[template(path = "sessions.html")]
pub struct SessionsView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The sessions, the current one first.
    pub rows: Vec<SessionRow>,
}

impl SessionsView<'_> {
    /// Returns true if there are other sessions than the current one.
    pub fn has_others(&self) -> bool {
        self.rows.iter().any(|row| !row.is_current)
    }
}

/// A session in words.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The ID in forms.
    pub id: String,
    /// The entry in words: `Dashboard` or `Console`.
    pub entry: String,
    /// The browser in words, such as `Firefox on Linux`.
    pub browser: String,
    /// The value of `User-Agent`, as a title.
    pub user_agent: String,
    /// The client's address at the login.
    pub source: String,
    /// The time of the login.
    pub created: Stamp,
    /// The last use, to about a minute.
    pub used: Stamp,
    /// The end, if it is used until then.
    pub ends: Stamp,
    /// True for the session of this page.
    pub is_current: bool,
}
