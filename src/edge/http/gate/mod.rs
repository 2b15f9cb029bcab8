//! The gate of `[web]`: sessions of browsers, and the pages for them below the configured prefix.
//!
//! - `session` decides on requests by cookie, and `requester` tells browsers from programs.
//! - `call` answers requests below the prefix: `login`, `logout`, and the files of the pages.
//! - `refusal` answers what is refused elsewhere: with a page, the way to the login, or a 401.

pub mod call;
mod login;
mod logout;
pub mod refusal;
pub mod requester;
pub mod session;
