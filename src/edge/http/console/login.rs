//! The login of the console, and its end.

use super::answer::{ConsoleAnswer, CookieChange};
use super::return_address;
use super::route::ConsoleRoute;
use super::services::Console;
use crate::domain::{Denial, Entry, Presented, RequestId, SessionCookie};
use crate::edge::http::pages::views::{LoginNotice, LoginProblem, LoginView, Site};
use crate::service::access::{Granted, Peer};
use crate::service::sessions::{BeginOutcome, SessionTerms};
use crate::wire::PageForm;

/// The parameter of the address to which a login leads, until its cookie has come back.
const STARTED: &str = "started";

/// The longest username and password that are checked, in bytes.
const LONGEST_USERNAME: usize = 256;

/// A request for the login page, and the parts that it needs.
pub struct LoginPage<'a> {
    /// The services.
    pub console: &'a Console,
    /// The title and the files of the pages.
    pub site: &'a Site,
    /// The host, as the browser shows it.
    pub place: String,
    /// True if a cookie can be set: over TLS, or on the same machine.
    pub takes_cookies: bool,
    /// The address with HTTPS, if one is known.
    pub encrypted: Option<String>,
    /// The times of a session.
    pub terms: SessionTerms,
    /// The cookie that came with the request, of a session that may have ended.
    pub cookie: Option<&'a SessionCookie>,
    /// The client.
    pub peer: Peer<'a>,
    /// The browser, as it names itself.
    pub browser: &'a str,
    /// The request ID.
    pub request_id: &'a RequestId,
}

/// The content of a login page.
#[derive(Debug, Default)]
pub struct LoginContent {
    /// The username to fill in again.
    pub username: String,
    /// The address to which the login leads.
    pub next: String,
    /// The values of a form to fill in again there, as [`return_address::sealed`] signs them.
    pub resume: String,
    /// The reason for which the login was refused.
    pub problem: Option<LoginProblem>,
    /// The event that led here.
    pub notice: Option<LoginNotice>,
}

impl LoginPage<'_> {
    /// Shows the page. `granted` is the principal of a session that exists already.
    pub fn show(&self, query: &PageForm, granted: Option<&Granted>) -> ConsoleAnswer {
        let next = query.get("next").and_then(return_address::parse).map(|(_, address)| address);
        if granted.is_some() {
            return ConsoleAnswer::see_other(next.unwrap_or_else(|| ConsoleRoute::Start.path()));
        }
        let has_begun = query.get(STARTED).is_some();
        let notice = match query.get("after") {
            Some("logout") => Some(LoginNotice::LoggedOut),
            Some("end") => Some(LoginNotice::Ended),
            Some("password") => Some(LoginNotice::PasswordChanged),
            _ => None,
        };
        let problem = has_begun.then_some(LoginProblem::CookieLost);
        let next = next.unwrap_or_default();
        self.page(200, LoginContent { next, problem, notice, ..LoginContent::default() })
    }

    /// Renders the page.
    pub fn page(&self, status: u16, content: LoginContent) -> ConsoleAnswer {
        let LoginContent { username, next, resume, problem, notice } = content;
        let cleartext = || LoginProblem::Cleartext(self.encrypted.clone());
        let problem = if self.takes_cookies { problem } else { Some(cleartext()) };
        let view = LoginView {
            site: self.site,
            action: ConsoleRoute::Login.path(),
            place: self.place.clone(),
            username,
            next,
            resume,
            problem,
            notice,
            request_id: self.request_id.to_string(),
        };
        ConsoleAnswer::page(status, &view)
    }

    /// Shows the form again that another site has sent, or a page that was opened before a restart of the browser. Nothing was checked, and
    /// the login leads to the first page: another site chooses neither a page nor what is filled in there.
    pub fn stale(&self, form: &PageForm) -> ConsoleAnswer {
        let (next, resume) = (String::new(), String::new());
        self.page(403, LoginContent { next, resume, ..content_of(form, LoginProblem::Stale) })
    }

    /// Logs in with a form that was sent. Returns the principal as well, if there is one now.
    pub async fn log_in(&self, form: &PageForm) -> (ConsoleAnswer, Option<Granted>) {
        let text = |name| form.get(name).unwrap_or_default();
        let (username, password) = (text("username").trim(), text("password"));
        let content = |problem| content_of(form, problem);
        if !self.takes_cookies {
            return (self.page(403, LoginContent::default()), None);
        }
        if username.is_empty() || password.is_empty() || username.len() > LONGEST_USERNAME {
            return (self.page(422, content(LoginProblem::Missing)), None);
        }
        let presented = Presented { username: username.as_bytes(), secret: password.as_bytes() };
        let (sessions, browser, terms) = (&self.console.sessions, self.browser, &self.terms);
        let outcome = sessions.begin(presented, None, Entry::Console, self.peer, browser, terms).await;
        let (status, retry_after, problem) = match outcome {
            BeginOutcome::Begun { cookie, granted } => {
                let resume = return_address::unsealed(text("resume"), self.cookie);
                let next = return_address::after_login(text("next"), &resume, &cookie.form_token());
                let next = super::list_address::encoded(&next);
                let address = format!("{}?{STARTED}&next={next}", ConsoleRoute::Login.path());
                let answer = ConsoleAnswer::see_other(address).with_cookie(CookieChange::Set(cookie));
                return (answer, Some(granted));
            }
            BeginOutcome::Denied(Denial::Throttled(delay)) => {
                let seconds = delay.as_millis().div_ceil(1000).max(1) as u64;
                (429, Some(seconds), LoginProblem::Throttled(seconds))
            }
            BeginOutcome::Denied(Denial::Unknown | Denial::Wrong | Denial::Suspended | Denial::Lacks(_))
            | BeginOutcome::Lacks(_) => (401, None, LoginProblem::Wrong),
            BeginOutcome::Unavailable(_) => (503, Some(1), LoginProblem::Unavailable(1)),
        };
        (ConsoleAnswer { retry_after, ..self.page(status, content(problem)) }, None)
    }
}

/// The values of a form that was sent, with what is wrong. The password is not among them.
fn content_of(form: &PageForm, problem: LoginProblem) -> LoginContent {
    let text = |name| form.get(name).unwrap_or_default();
    LoginContent {
        username: text("username").trim().to_owned(),
        next: return_address::parse(text("next")).map(|(_, address)| address).unwrap_or_default(),
        resume: text("resume").to_owned(),
        problem: Some(problem),
        notice: None,
    }
}
