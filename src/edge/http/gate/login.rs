//! The login page, and logins by it.

use std::time::Duration;

use http::Method;

use super::call::{GateCall, page};
use crate::config::Need;
use crate::domain::{Denial, Permission, Presented};
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::form_body::{self, PostedForm};
use crate::edge::http::pages::origin::{CookieWay, is_local_origin};
use crate::edge::http::pages::presented_session::PresentedSession;
use crate::edge::http::pages::response::PageResponse;
use crate::edge::http::pages::views::{ContinuationView, LoginNotice, LoginProblem, LoginView, ProblemView};
use crate::edge::http::refused::log_refusal;
use crate::edge::http::target::Target;
use crate::service::sessions::{BeginOutcome, SessionTerms};
use crate::service::{Origin, Sessions};
use crate::wire::{FieldKind, GATE_COOKIE, NextAddress, PageForm, Readings, RequestHead};

/// The most bytes of `User-Agent` that are kept with a session.
const LONGEST_BROWSER: usize = 512;

impl GateCall<'_> {
    /// The login page, or the way back of somebody who is logged in.
    pub(super) async fn login_page(
        &self,
        session: &ClientSession,
        query: &PageForm,
    ) -> Result<PageResponse, Refusal> {
        if let Some(refused) = self.refuse_cleartext(session) {
            return Ok(refused);
        }
        let next = self.next(query);
        if self.guard.current(session).await?.is_some() {
            let address = next.as_str().to_owned();
            return Ok(match query.get("sent") {
                Some(_) => page(200, &ContinuationView { site: self.view(), address }),
                None => PageResponse::see_other(address),
            });
        }
        let mut view = self.login_view(session, &next, "");
        if query.get("sent").is_some() {
            // It follows a login at once, and a browser that keeps no cookies would go around in circles.
            view.problem = Some(LoginProblem::CookieLost);
            return Ok(self.without_ambiguity(session, page(401, &view)));
        }
        view.notice = match query.get("out") {
            Some(_) => Some(LoginNotice::LoggedOut),
            None if self.guard.has_cookie(session.head()) => Some(LoginNotice::Ended),
            None => None,
        };
        Ok(self.without_ambiguity(session, page(200, &view)))
    }

    /// Has the browser forget the cookie that a script has put beside the session's.
    fn without_ambiguity(&self, session: &ClientSession, response: PageResponse) -> PageResponse {
        let request = session.head();
        match (self.guard.presented(request), self.guard.origin(request).cookie_name(GATE_COOKIE)) {
            (PresentedSession::Ambiguous, Some(name)) => response.without_partitioned_cookie(name),
            _ => response,
        }
    }

    /// Checks the login of a form, and begins a session.
    pub(super) async fn log_in(&self, session: &mut ClientSession) -> Result<PageResponse, Refusal> {
        if let Some(refused) = self.refuse_cleartext(session) {
            return Ok(refused);
        }
        let guard = self.guard;
        let PostedForm { fields, room } =
            form_body::read(guard.site, guard.plan, guard.client, session).await?;
        let (username, password) =
            (fields.get("username").unwrap_or(""), fields.get("password").unwrap_or(""));
        let next = self.next(&fields);
        let refused = |status, problem| {
            let mut view = self.login_view(session, &next, username);
            view.problem = Some(problem);
            page(status, &view)
        };
        if let Some(problem) = self.foreign(session.head()) {
            return Ok(refused(403, problem));
        }
        if username.is_empty() || password.is_empty() {
            return Ok(refused(400, LoginProblem::Missing));
        }
        let Some(sessions) = &guard.site.sessions else { return Err(not_served()) };
        let before = guard.current(session).await?;
        let presented = Presented { username: username.as_bytes(), secret: password.as_bytes() };
        let outcome = self.begin(sessions, session, presented, &next).await;
        drop(room);
        match outcome {
            BeginOutcome::Begun { cookie, granted } => {
                guard.client.note_accepted();
                session.note_accepted();
                guard.user.get_or_init(|| granted.name().as_str().to_owned());
                if let Some((_, old)) = before {
                    self.end_replaced(sessions, &old, session).await;
                }
                let address = self.login_address(&next);
                let sign = if next.is_home() { '?' } else { '&' };
                let origin = guard.origin(session.head());
                let name = origin.cookie_name(GATE_COOKIE).unwrap_or(GATE_COOKIE);
                Ok(PageResponse::see_other(format!("{address}{sign}sent=1")).with_cookie(
                    origin.way,
                    name,
                    &cookie.to_value(),
                ))
            }
            BeginOutcome::Lacks(permission) | BeginOutcome::Denied(Denial::Lacks(permission)) => {
                guard.user.get_or_init(|| username.to_owned());
                let login = self.login_address(&next);
                let permission = permission.as_str();
                let (site, id) = (self.view(), self.id());
                Ok(self.problem(ProblemView::not_permitted(site, username, permission, &login, id)))
            }
            BeginOutcome::Denied(Denial::Throttled(delay)) => {
                let seconds = whole_seconds(delay);
                Ok(refused(429, LoginProblem::Throttled(seconds)).with_retry_after(seconds))
            }
            BeginOutcome::Denied(Denial::Unknown | Denial::Wrong | Denial::Suspended) => {
                Ok(refused(401, LoginProblem::Wrong))
            }
            BeginOutcome::Unavailable(unavailable) => {
                guard.user.get_or_init(|| username.to_owned());
                let refusal = Refusal::Unavailable(unavailable);
                log_refusal(guard.site, guard.source(session), guard.request_id, username, &refusal);
                Ok(refused(503, LoginProblem::Unavailable(1)).with_retry_after(1))
            }
        }
    }

    /// Begins a session, if the login holds the permission of the page behind it, or that for the dashboard. With the latter alone, that
    /// page says what is missing, and a logout is possible.
    async fn begin(
        &self,
        sessions: &Sessions,
        session: &ClientSession,
        presented: Presented<'_>,
        next: &NextAddress,
    ) -> BeginOutcome {
        let guard = self.guard;
        let settings = &guard.pages.settings;
        let terms = SessionTerms { idle: settings.session_idle, lifetime: settings.session_lifetime };
        let (browser, entry) = (browser_of(session), guard.site.entry);
        let begin =
            |needed| sessions.begin(presented, Some(needed), entry, guard.peer(session), &browser, &terms);
        let needed = self.permission_of(next);
        match begin(needed).await {
            BeginOutcome::Lacks(_) if needed != Permission::Web => match begin(Permission::Web).await {
                BeginOutcome::Lacks(_) => BeginOutcome::Lacks(needed),
                outcome => outcome,
            },
            outcome => outcome,
        }
    }

    /// The reason not to check the login of a form that a page of another origin may have sent: another site could have a browser log in
    /// as somebody else.
    fn foreign(&self, request: &RequestHead) -> Option<LoginProblem> {
        let (fields, origin) = (request.fields(), self.guard.origin(request));
        let mut origins =
            fields.all(FieldKind::Origin).map(<[u8]>::trim_ascii).filter(|said| *said != b"null");
        match origin.is_source_of(request, &[]) {
            // The browser vouches for the page, which is on another machine: a proxy has changed `Host`.
            true if origin.way == CookieWay::Loopback && origins.any(|said| !is_local_origin(said)) => {
                Some(LoginProblem::Cleartext(None))
            }
            true => None,
            false if !fields.contains(FieldKind::SecFetchSite) && origins.next().is_some() => {
                Some(LoginProblem::OtherOrigin)
            }
            false => Some(LoginProblem::Stale),
        }
    }

    /// Ends the session that a login has replaced in the browser. If that fails, it ends by its time.
    async fn end_replaced(
        &self,
        sessions: &Sessions,
        old: &crate::service::Granted,
        session: &ClientSession,
    ) {
        if let Err(error) = sessions.end(old, self.change_origin(session)).await {
            tracing::warn!(%error, request_id = self.id(), "the session before a login could not be ended");
        }
    }

    /// The origin of a change, for the audit trail.
    pub(super) fn change_origin(&self, session: &ClientSession) -> Origin {
        let source = self.guard.source(session);
        Origin::Remote { entry: self.guard.site.entry, source, request_id: self.id().to_owned() }
    }

    /// The permission that the page behind a login needs.
    fn permission_of(&self, next: &NextAddress) -> Permission {
        let routed = Target::parse(next.as_str().as_bytes()).ok().and_then(|target| {
            self.guard.plan.router.route(&Method::GET, &target.path, &Readings::default()).ok()
        });
        match routed.map(|routed| routed.need) {
            Some(Need::Permission(permission)) => permission,
            Some(Need::Public) | None => Permission::Web,
        }
    }

    fn login_view(&self, session: &ClientSession, next: &NextAddress, username: &str) -> LoginView<'_> {
        LoginView {
            site: self.view(),
            action: format!("{}/login", self.guard.gate.prefix),
            place: self.guard.origin(session.head()).authority(),
            username: username.to_owned(),
            next: if next.is_home() { String::new() } else { next.as_str().to_owned() },
            resume: String::new(),
            problem: None,
            notice: None,
            request_id: self.id().to_owned(),
        }
    }

    /// The refusal where a password would be sent unencrypted through a network, and no browser would return the cookie.
    fn refuse_cleartext(&self, session: &ClientSession) -> Option<PageResponse> {
        let origin = self.guard.origin(session.head());
        (origin.way == CookieWay::Cleartext).then(|| {
            let mut view = self.login_view(session, &NextAddress::home(), "");
            view.problem = Some(LoginProblem::Cleartext(None));
            page(403, &view)
        })
    }
}

/// A delay in whole seconds, at least one.
pub(super) fn whole_seconds(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

/// The browser as it names itself.
fn browser_of(session: &ClientSession) -> String {
    let named = session.head().fields().named("user-agent").next().unwrap_or_default();
    String::from_utf8_lossy(&named[..named.len().min(LONGEST_BROWSER)]).into_owned()
}

fn not_served() -> Refusal {
    Refusal::NotFound("There is no login here".into())
}
