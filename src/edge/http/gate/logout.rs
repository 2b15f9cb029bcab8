//! The logout: a question by GET, since any page can have a browser open an address, and the logout itself by POST.

use super::call::{GateCall, page};
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::response::PageResponse;
use crate::edge::http::pages::views::{LogoutView, ProblemView};
use crate::service::ManagementError;
use crate::wire::{GATE_COOKIE, NextAddress};

impl GateCall<'_> {
    /// The question before a logout.
    pub(super) async fn logout_page(&self, session: &ClientSession) -> Result<PageResponse, Refusal> {
        let Some((cookie, granted)) = self.guard.current(session).await? else {
            return Ok(PageResponse::see_other(self.login_address(&NextAddress::home())));
        };
        let view = LogoutView {
            site: self.view(),
            action: format!("{}/logout", self.guard.gate.prefix),
            token: cookie.form_token(),
            username: granted.name().as_str().to_owned(),
            back: "/".to_owned(),
        };
        Ok(page(200, &view))
    }

    /// Ends the session on all nodes, before it is answered.
    pub(super) async fn log_out(&self, session: &mut ClientSession) -> Result<PageResponse, Refusal> {
        let guard = self.guard;
        let origin = guard.origin(session.head());
        if !origin.is_source_of(session.head(), &[]) {
            let page = format!("{}/logout", guard.gate.prefix);
            return Ok(self.problem(ProblemView::not_accepted(self.view(), &page, self.id())));
        }
        for cookie in guard.all_cookies(session.head()) {
            let Some((_, granted)) = guard.session_of(session, cookie).await? else { continue };
            guard.user.get_or_init(|| granted.name().as_str().to_owned());
            let Some(sessions) = &guard.site.sessions else {
                return Err(Refusal::NotFound("There is no logout here".into()));
            };
            if let Err(error) = sessions.end(&granted, self.change_origin(session)).await {
                tracing::warn!(%error, request_id = self.id(), "logout failed");
                return Ok(self.failed_logout(session, &error));
            }
        }
        let response = PageResponse::see_other(format!("{}/login?out=1", guard.gate.prefix));
        Ok(self.forgetting(session, response))
    }

    fn failed_logout(&self, session: &ClientSession, error: &ManagementError) -> PageResponse {
        let (prefix, site, id) = (&self.guard.gate.prefix, self.view(), self.id());
        let response = match error {
            // The session has ended here, so that nothing is left to try again.
            ManagementError::Unconfirmed(_) => {
                let view = ProblemView::logout_unconfirmed(site, &format!("{prefix}/login"), id);
                self.forgetting(session, self.problem(view))
            }
            _ => self.problem(ProblemView::logout_failed(site, 1, &format!("{prefix}/logout"), id)),
        };
        response.with_retry_after(1)
    }

    /// Has the browser forget the session.
    fn forgetting(&self, session: &ClientSession, response: PageResponse) -> PageResponse {
        let origin = self.guard.origin(session.head());
        match origin.cookie_name(GATE_COOKIE) {
            Some(name) => response.without_cookie(origin.way, name).clearing_site_data(),
            None => response,
        }
    }
}
