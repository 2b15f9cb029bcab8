//! Pages that say why there is no other page.

use askama::Template;

use super::site::Site;

/// A page with an explanation, the request ID, and at most one link onwards.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct ProblemView<'a> {
    /// The entry's title and files.
    pub site: &'a Site,
    /// The status, shown small.
    pub status: u16,
    /// The heading.
    pub heading: &'static str,
    /// The paragraphs.
    pub paragraphs: Vec<String>,
    /// The link onwards.
    pub link: Option<ProblemLink>,
    /// A second, quiet link.
    pub other_link: Option<ProblemLink>,
    /// The request ID.
    pub request_id: String,
}

/// A link of a [`ProblemView`].
#[derive(Clone, Debug)]
pub struct ProblemLink {
    /// The address.
    pub address: String,
    /// The text.
    pub text: &'static str,
}

impl<'a> ProblemView<'a> {
    fn new(site: &'a Site, status: u16, heading: &'static str, request_id: &str) -> ProblemView<'a> {
        ProblemView {
            site,
            status,
            heading,
            paragraphs: Vec::new(),
            link: None,
            other_link: None,
            request_id: request_id.to_owned(),
        }
    }

    fn saying(mut self, paragraph: impl Into<String>) -> ProblemView<'a> {
        self.paragraphs.push(paragraph.into());
        self
    }

    fn linking(mut self, address: &str, text: &'static str) -> ProblemView<'a> {
        self.link = Some(ProblemLink { address: address.to_owned(), text });
        self
    }

    /// Returns the page for a login without the required permission. `login` and `logout` are addresses of the gate.
    pub fn forbidden(
        site: &'a Site,
        username: &str,
        permission: &str,
        logout: &str,
        request_id: &str,
    ) -> ProblemView<'a> {
        let what = use_of(permission);
        let said = format!("You are logged in as {username}, which is not allowed to {what}.");
        ProblemView::lacking(site, said, permission, logout, request_id)
    }

    /// Returns the page for a right password without the required permission: no session has begun.
    pub fn not_permitted(
        site: &'a Site,
        username: &str,
        permission: &str,
        login: &str,
        request_id: &str,
    ) -> ProblemView<'a> {
        let what = use_of(permission);
        let said =
            format!("The password is right, but {username} is not allowed to {what}. You are not logged in.");
        ProblemView::lacking(site, said, permission, login, request_id)
    }

    fn lacking(
        site: &'a Site,
        said: String,
        permission: &str,
        address: &str,
        request_id: &str,
    ) -> ProblemView<'a> {
        let mut view =
            ProblemView::new(site, 403, "You can’t open this page", request_id).saying(said).saying(format!(
                "The permission “{permission}” is missing. Ask the account holder to grant it; it is in effect at once."
            ));
        view.other_link =
            Some(ProblemLink { address: address.to_owned(), text: "Log in with another username" });
        view
    }

    /// Returns the page for a logout that was not stored. `logout` is the address that asks again.
    pub fn logout_failed(site: &'a Site, seconds: u64, logout: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 503, "The logout failed", request_id)
            .saying("You are still logged in.")
            .saying(format!("Try again in {}.", seconds_in_words(seconds)))
            .linking(logout, "Try again")
    }

    /// Returns the page for a logout that is stored, but not yet in effect on every node.
    pub fn logout_unconfirmed(site: &'a Site, login: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 503, "The logout is not in effect everywhere", request_id)
            .saying("The session has ended, and this browser has forgotten it.")
            .saying("Another gateway has not confirmed it yet, and may accept the session for a moment.")
            .linking(login, "Log in")
    }

    /// Returns the page for a credential that opens a page of the account holder.
    pub fn for_holders(site: &'a Site, username: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 403, "Only the account holder can open this page", request_id)
            .saying(format!("You are logged in as {username}, which is a credential of the account."))
            .linking("/own", "To your own page")
    }

    /// Returns the page for a form that was sent without a session: nothing was forwarded.
    pub fn not_sent(site: &'a Site, login: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 401, "Nothing was sent", request_id)
            .saying("Your session has ended, so the form that you sent was not forwarded.")
            .saying("Log in, go back to the form, and send it again. Most browsers keep what you typed.")
            .linking(login, "Log in")
    }

    /// Returns the page for a form of the console that has the wrong token, or came from another site. Nothing was changed.
    pub fn not_accepted(site: &'a Site, back: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 403, "Nothing was changed", request_id)
            .saying("The form was not made for this session, or it was sent by another site.")
            .saying("Open the page again, and send the form from there.")
            .linking(back, "Open the page again")
    }

    /// Returns the page for a decision that could not be made.
    pub fn unavailable(site: &'a Site, seconds: u64, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 503, "Temporarily unavailable", request_id)
            .saying("Gatepost can’t check logins at the moment. A session that is open stays open.")
            .saying(format!("Try again in {}.", seconds_in_words(seconds)))
    }

    /// Returns the page for a backend that cannot be reached.
    pub fn no_backend(site: &'a Site, status: u16, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, status, "The dashboard doesn’t answer", request_id)
            .saying("The dashboard behind this address can’t be reached.")
            .saying("Try again in a moment. If it lasts, tell the operator the request ID below.")
    }

    /// Returns the page for too many failures or requests.
    pub fn throttled(site: &'a Site, seconds: u64, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 429, "Too many attempts", request_id)
            .saying(format!("Try again in {}.", seconds_in_words(seconds)))
    }

    /// Returns the page for an address that does not exist.
    pub fn not_found(site: &'a Site, home: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 404, "Page not found", request_id)
            .saying("Nothing is at this address. What you looked for may have been removed.")
            .linking(home, "To the start page")
    }

    /// A credential that is gone, when it was to be changed or removed. Every node knows so by now.
    pub fn removed(site: &'a Site, list: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 404, "Page not found", request_id)
            .saying("This credential is removed, and refused on every node.")
            .linking(list, "To the credentials")
    }

    /// Returns the page for a method that the address does not have.
    pub fn wrong_method(site: &'a Site, home: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, 405, "This address can’t be used like that", request_id)
            .saying("The page was opened in a way that it isn’t made for. Nothing was changed.")
            .linking(home, "To the start page")
    }

    /// Returns the page for a form that is too large or cannot be read.
    pub fn unreadable_form(site: &'a Site, status: u16, back: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, status, "The form could not be read", request_id)
            .saying("It was too large, incomplete, or not made by this page. Nothing was changed.")
            .linking(back, "Open the page again")
    }

    /// Returns the page for a request that is refused for its form.
    pub fn refused(site: &'a Site, status: u16, reason: &str, request_id: &str) -> ProblemView<'a> {
        ProblemView::new(site, status, "This request was refused", request_id).saying(reason)
    }
}

/// The use of a permission, in words.
fn use_of(permission: &str) -> &'static str {
    match permission {
        "web" => "open this dashboard",
        "email" => "send mail",
        _ => "use this part of the API",
    }
}

/// Returns `1 second` or `30 seconds`.
pub fn seconds_in_words(seconds: u64) -> String {
    if seconds == 1 { "1 second".to_owned() } else { format!("{seconds} seconds") }
}
