//! A request to the console, from its header to its response.

use std::sync::OnceLock;

use http::Method;

use super::answer::{ConsoleAnswer, CookieChange};
use super::api::{self, ApiCall};
use super::browser_request::BrowserRequest;
use super::login::{LoginContent, LoginPage};
use super::page_request::{PageRefusal, PageRequest, PageResult};
use super::problem::ProblemPage;
use super::route::ConsoleRoute;
use super::services::Console;
use super::{dispatch, list_address, return_address};
use crate::domain::{Entry, PrincipalKind, RefusalReason, RequestId};
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::form_body;
use crate::edge::http::pages::response::PageResponse;
use crate::edge::http::pages::site::PageSite;
use crate::edge::http::pages::views::LoginNotice;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::proxy::exchange::Exchange;
use crate::edge::http::refused::{self, log_refusal, status_of};
use crate::edge::http::service::{HttpService, Plan};
use crate::edge::http::target::Target;
use crate::service::Origin;
use crate::service::access::{Granted, Peer, SessionDecision};
use crate::service::sessions::SessionTerms;
use crate::wire::{PageForm, unreserved};

/// A request to the console.
pub struct ConsoleCall<'a> {
    /// The entry that received it.
    pub site: &'a HttpService,
    /// The services.
    pub console: &'a Console,
    /// The client.
    pub client: &'a HttpPeer,
    /// The limits, and the pages as they are configured.
    pub plan: &'a Plan,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// Gets the username that is logged in, or that logs in.
    pub user: &'a OnceLock<String>,
}

impl ConsoleCall<'_> {
    /// Answers the request.
    ///
    /// # Errors
    /// The client is gone, or there are no pages.
    pub async fn answer(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
    ) -> Result<Exchange, Refusal> {
        let ConsoleCall { site, console, client, plan, request_id, user } = *self;
        if api::is_for(&unreserved(&target.path)) {
            let call = ApiCall { site, credentials: &console.credentials, client, plan, request_id, user };
            return Ok(call.answer(session, target).await);
        }
        let Some(pages) = &plan.pages else {
            return Err(Refusal::NotFound("Nothing has this address".into()));
        };
        let within = plan.timeouts.write;
        let is_read = matches!(*session.head().method(), Method::GET | Method::HEAD);
        if let Some(file) = pages.files.find(&target.path).filter(|_| is_read) {
            return Ok(PageResponse::file(file).write(session, client, request_id, within).await);
        }
        let browser = BrowserRequest::of(session.head(), client, plan, pages);
        let route = ConsoleRoute::of_path(&target.path);
        let answer = match self.page(session, target, &browser, pages, route).await {
            Ok(answer) => answer,
            Err(PageRefusal::Request(Refusal::ClientGone)) => return Err(Refusal::ClientGone),
            Err(refusal) => {
                self.note_refused(&browser, &refusal);
                let is_sent = browser.method == Method::POST;
                let username = user.get().map_or("", |user| user);
                ProblemPage { site: &pages.view, route, is_sent, username, request_id }.answer(&refusal)
            }
        };
        Ok(response(answer, &browser).write(session, client, request_id, within).await)
    }

    async fn page(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
        browser: &BrowserRequest,
        pages: &PageSite,
        route: Option<ConsoleRoute>,
    ) -> PageResult {
        let route = route.ok_or(Refusal::NotFound("Nothing has this address".into()))?;
        if !route.takes(&browser.method) {
            return Err(Refusal::Method(route.methods()).into());
        }
        let is_sent = browser.method == Method::POST;
        let is_foreign = is_sent && !browser.is_from_own_page;
        if is_foreign && route != ConsoleRoute::Login {
            return Err(PageRefusal::OtherSite);
        }
        let query = PageForm::parse(target.query.as_deref().unwrap_or_default())
            .map_err(|error| Refusal::Malformed(format!("Invalid query: {error}").into()))?;
        let posted = match is_sent {
            true => Some(form_body::read(self.site, self.plan, self.client, session).await?),
            false => None,
        };
        let granted = self.principal(browser).await?;
        let login = self.login_page(browser, pages);
        let (form, room) =
            posted.map_or((PageForm::default(), None), |posted| (posted.fields, Some(posted.room)));
        if is_foreign {
            // Otherwise another site could have a browser log in as somebody else.
            self.note_refused(browser, &PageRefusal::OtherSite);
            return Ok(login.stale(&form));
        }
        if route == ConsoleRoute::Login {
            return self.login(session, &login, is_sent.then_some(&form), &query, granted).await;
        }
        let (Some(granted), Some(cookie)) = (granted, &browser.cookie) else {
            return Ok(without_session(&login, route, target, is_sent.then_some(&form), browser));
        };
        self.console.access.note_session(&granted);
        self.note_accepted(session, &granted);
        drop(room);
        if route.is_for_holders() && granted.kind() != PrincipalKind::Holder {
            return Err(PageRefusal::NotHolder);
        }
        let form_token = cookie.form_token();
        let request = PageRequest {
            console: self.console,
            site: &pages.view,
            granted,
            cookie,
            form_token,
            route,
            query,
            form,
            is_sent,
            now: browser.now,
            peer: login.peer,
            terms: login.terms,
            browser: &browser.name,
            request_id: self.request_id,
        };
        dispatch::answer(&request).await
    }

    /// The principal whose session the browser has, as it is at this moment; `None` without a session.
    async fn principal(&self, browser: &BrowserRequest) -> Result<Option<Granted>, Refusal> {
        let Some(cookie) = &browser.cookie else { return Ok(None) };
        let (access, peer) = (&self.console.access, self.peer(browser));
        match access.authorize_session(cookie, None, Entry::Console, peer).await {
            SessionDecision::Allowed(granted) => Ok(Some(granted)),
            SessionDecision::NoSession | SessionDecision::Lacks(..) => Ok(None),
            SessionDecision::Unavailable(why) => Err(why.into()),
        }
    }

    fn login_page<'a>(&'a self, browser: &'a BrowserRequest, pages: &'a PageSite) -> LoginPage<'a> {
        let (idle, lifetime) = (pages.settings.session_idle, pages.settings.session_lifetime);
        LoginPage {
            console: self.console,
            site: &pages.view,
            place: browser.place.clone(),
            takes_cookies: browser.cookie_name.is_some(),
            encrypted: self.console.tls_port.and_then(|port| encrypted(&browser.place, port)),
            terms: SessionTerms { idle, lifetime },
            cookie: browser.cookie.as_ref(),
            peer: self.peer(browser),
            browser: &browser.name,
            request_id: self.request_id,
        }
    }

    /// Shows the login, or logs in. A login ends the session that the browser had before.
    async fn login(
        &self,
        session: &mut ClientSession,
        page: &LoginPage<'_>,
        form: Option<&PageForm>,
        query: &PageForm,
        before: Option<Granted>,
    ) -> PageResult {
        let Some(form) = form else { return Ok(page.show(query, before.as_ref())) };
        let (answer, granted) = page.log_in(form).await;
        if let Some(granted) = granted {
            self.note_accepted(session, &granted);
            if let Some(before) = before {
                let request_id = self.request_id.as_str().to_owned();
                let origin = Origin::Remote { entry: Entry::Console, source: page.peer.source, request_id };
                // It ends by its time, if that fails.
                let _ = self.console.sessions.end(&before, origin).await;
            }
        }
        Ok(answer)
    }

    fn note_accepted(&self, session: &mut ClientSession, granted: &Granted) {
        self.user.get_or_init(|| granted.name().to_string());
        self.client.note_accepted();
        session.note_accepted();
    }

    fn peer(&self, browser: &BrowserRequest) -> Peer<'_> {
        Peer { source: browser.source, request_id: self.request_id.as_str(), code: status_of }
    }

    /// Logs why there is no page.
    fn note_refused(&self, browser: &BrowserRequest, refusal: &PageRefusal) {
        let (site, id) = (self.site, self.request_id);
        let user = self.user.get().map_or("", |user| user);
        match refusal {
            PageRefusal::Request(refusal) => log_refusal(site, browser.source, id, user, refusal),
            PageRefusal::OtherSite => {
                let peer = self.peer(browser);
                site.access.note_unchecked(user.as_bytes(), site.entry, peer, "cross-site");
            }
            PageRefusal::NotHolder => {
                refused::log(site, browser.source, id, user, (RefusalReason::NotHolder, "403", ""));
            }
            // The service has logged it.
            PageRefusal::Service(_) => {}
        }
    }
}

/// The answer to a browser without a session: the login, which leads back to the page. Nothing of a form that was sent is changed; it is
/// filled in again afterwards.
fn without_session(
    login: &LoginPage<'_>,
    route: ConsoleRoute,
    target: &Target<'_>,
    form: Option<&PageForm>,
    browser: &BrowserRequest,
) -> ConsoleAnswer {
    let path = ConsoleRoute::Login.path();
    if route == ConsoleRoute::Logout {
        return ConsoleAnswer::see_other(format!("{path}?after=logout"));
    }
    if let Some(form) = form {
        let (next, resume) = return_address::of_form(route, form);
        let resume = browser.cookie.as_ref().map(|ended| return_address::sealed(&resume, ended));
        let resume = resume.unwrap_or_default();
        let notice = Some(LoginNotice::NothingChanged);
        return login.page(401, LoginContent { next, resume, notice, ..LoginContent::default() });
    }
    let query = target.query.as_deref().map(String::from_utf8_lossy);
    let asked = query.map_or_else(|| route.path(), |query| format!("{}?{query}", route.path()));
    let next = return_address::parse(&asked).filter(|(route, _)| *route != ConsoleRoute::Start);
    let mut parameters = Vec::new();
    parameters.extend(browser.cookie.as_ref().map(|_| "after=end".to_owned()));
    parameters.extend(next.map(|(_, address)| format!("next={}", list_address::encoded(&address))));
    match parameters.is_empty() {
        true => ConsoleAnswer::see_other(path),
        false => ConsoleAnswer::see_other(format!("{path}?{}", parameters.join("&"))),
    }
}

/// The address with HTTPS, if the host is one that can stand in an address.
fn encrypted(place: &str, port: u16) -> Option<String> {
    let host = match place.rsplit_once(':') {
        Some((host, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => place,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    (!host.is_empty() && host.bytes().all(is_plain)).then(|| format!("https://{host}{port}/"))
}

fn response(answer: ConsoleAnswer, browser: &BrowserRequest) -> PageResponse {
    let response = match answer.location {
        Some(address) => PageResponse::see_other(address),
        None => PageResponse::html(answer.status, answer.html),
    };
    let response = match answer.retry_after {
        Some(seconds) => response.with_retry_after(seconds),
        None => response,
    };
    let response = match answer.allow {
        Some(methods) => response.with("Allow", methods),
        None => response,
    };
    match (answer.cookie, browser.cookie_name) {
        (CookieChange::Keep, Some(name)) if browser.is_ambiguous => response.without_partitioned_cookie(name),
        (CookieChange::Keep, _) | (_, None) => response,
        (CookieChange::Set(cookie), Some(name)) => {
            response.with_cookie(browser.way, name, &cookie.to_value())
        }
        (CookieChange::Remove, Some(name)) => response.without_cookie(browser.way, name).clearing_site_data(),
    }
}
