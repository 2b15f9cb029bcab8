//! The logout: a question by GET, since any page can have a browser open an address, and the logout itself by POST.

use super::call::{GateCall, page};
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::response::PageResponse;
use crate::edge::http::pages::views::{LogoutView, ProblemView};
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
        if let Some((_, granted)) = guard.current(session).await? {
            guard.user.get_or_init(|| granted.name().as_str().to_owned());
            let Some(sessions) = &guard.site.sessions else {
                return Err(Refusal::NotFound("There is no logout here".into()));
            };
            let ended = sessions.end(&granted, self.change_origin(session)).await;
            ended.map_err(|error| {
                Refusal::Overloaded(format!("The logout failed, try again: {error}").into())
            })?;
        }
        let response = PageResponse::see_other(format!("{}/login?out=1", guard.gate.prefix));
        let way = guard.origin(session.head()).way;
        Ok(match guard.origin(session.head()).cookie_name(GATE_COOKIE) {
            Some(name) => response.without_cookie(way, name).clearing_site_data(),
            None => response,
        })
    }
}
