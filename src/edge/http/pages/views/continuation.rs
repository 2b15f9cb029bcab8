//! The page behind a login, which leads on at once.

use askama::Template;

use super::site::Site;

/// The way on from a login. A redirection would belong to the form that was sent, and Chromium applies the policy for forms to all of
/// them, also to the dashboard's own redirection to another origin. This page begins a navigation of its own.
#[derive(Template)]
#[template(path = "continue.html")]
pub struct ContinuationView<'a> {
    /// The entry's title and files.
    pub site: &'a Site,
    /// The address to continue to.
    pub address: String,
}
