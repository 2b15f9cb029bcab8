//! The question before a logout.

use askama::Template;

use super::site::Site;

/// The question whether to log out, for those who open the address of the logout.
#[derive(Template)]
#[template(path = "logout.html")]
pub struct LogoutView<'a> {
    /// The entry's title and files.
    pub site: &'a Site,
    /// The address that the form is posted to.
    pub action: String,
    /// The token of the session for forms.
    pub token: String,
    /// The username that is logged in.
    pub username: String,
    /// The address to stay at.
    pub back: String,
}
