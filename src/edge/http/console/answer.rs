//! The answer of a page: HTML, or the address of the next page.

use askama::Template;

use super::form_fault::FormFault;
use crate::domain::SessionCookie;

/// An answer to a browser.
#[derive(Debug)]
pub struct ConsoleAnswer {
    /// The status.
    pub status: u16,
    /// The page; empty with `location`.
    pub html: String,
    /// The address of the next page.
    pub location: Option<String>,
    /// The value of `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// The change of the session's cookie.
    pub cookie: CookieChange,
    /// The value of `Allow`.
    pub allow: Option<&'static str>,
}

/// A change of the session's cookie.
#[derive(Debug, Default)]
pub enum CookieChange {
    /// None.
    #[default]
    Keep,
    /// Another session.
    Set(SessionCookie),
    /// The end of the session.
    Remove,
}

impl ConsoleAnswer {
    /// Renders a page.
    pub fn page(status: u16, view: &impl Template) -> ConsoleAnswer {
        // Rendering into a string fails only if a template does, and none does.
        let html = view.render().unwrap_or_default();
        ConsoleAnswer { html, ..ConsoleAnswer::with_status(status) }
    }

    /// Renders a form with its error.
    pub fn form(fault: Option<&FormFault>, view: &impl Template) -> ConsoleAnswer {
        let retry_after = fault.and_then(|fault| fault.retry_after);
        let status = fault.map_or(200, |fault| fault.status);
        ConsoleAnswer { retry_after, ..ConsoleAnswer::page(status, view) }
    }

    /// Leads to another page, which is read by GET.
    pub fn see_other(location: impl Into<String>) -> ConsoleAnswer {
        ConsoleAnswer { location: Some(location.into()), ..ConsoleAnswer::with_status(303) }
    }

    /// The same answer with a change of the cookie.
    pub fn with_cookie(self, cookie: CookieChange) -> ConsoleAnswer {
        ConsoleAnswer { cookie, ..self }
    }

    fn with_status(status: u16) -> ConsoleAnswer {
        ConsoleAnswer {
            status,
            html: String::new(),
            location: None,
            retry_after: None,
            cookie: CookieChange::Keep,
            allow: None,
        }
    }
}
