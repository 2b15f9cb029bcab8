//! The login page, of the gate and of the console.

use askama::Template;

use super::site::Site;

/// The login form.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginView<'a> {
    /// The entry's title and files.
    pub site: &'a Site,
    /// The address that the form is posted to.
    pub action: String,
    /// The host, or what else the login is for, such as `dashboard.example.com`.
    pub place: String,
    /// The username to fill in again.
    pub username: String,
    /// The address to continue to, posted as `next`; empty for the start page.
    pub next: String,
    /// The form to continue with after the login, in a form that only the console reads; posted as `resume`. Empty for none.
    pub resume: String,
    /// The reason for which a login was refused, if this is the answer to one.
    pub problem: Option<LoginProblem>,
    /// The event that led here, if there is one.
    pub notice: Option<LoginNotice>,
    /// The request ID, shown beside a problem.
    pub request_id: String,
}

impl LoginView<'_> {
    /// Returns true if there is no form, since a password must not be sent.
    pub fn hides_form(&self) -> bool {
        self.problem.as_ref().is_some_and(LoginProblem::hides_form)
    }

    /// Returns true if the username is known, so that the cursor belongs into the password.
    pub fn has_username(&self) -> bool {
        !self.username.is_empty()
    }
}

/// The reason for which a login was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginProblem {
    /// Unknown username, wrong password, or suspended account: the answer is the same.
    Wrong,
    /// A field was empty.
    Missing,
    /// Too many failures. The number of seconds to wait.
    Throttled(u64),
    /// The password check could not be made. The number of seconds to wait.
    Unavailable(u64),
    /// The cookie of the login did not come back.
    CookieLost,
    /// The form is too old, or was sent by another site. Nothing was checked.
    Stale,
    /// The browser sent the form from another origin than the request is for, as it does behind a proxy that rewrites `Host`. Nothing was
    /// checked.
    OtherOrigin,
    /// The connection is unencrypted and not on loopback. There is no form; the address with HTTPS, if one is known.
    Cleartext(Option<String>),
}

impl LoginProblem {
    /// Returns true if a form makes no sense with this problem.
    pub fn hides_form(&self) -> bool {
        matches!(self, LoginProblem::Cleartext(_))
    }
}

/// The event that led to the login page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginNotice {
    /// A logout.
    LoggedOut,
    /// The session had ended: by its time, from another session, or by a change of the password.
    Ended,
    /// The session had ended while a form was filled in. Nothing was changed.
    NothingChanged,
    /// The password was changed, which ended all sessions.
    PasswordChanged,
}
