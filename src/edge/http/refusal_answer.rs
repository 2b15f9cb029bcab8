//! The answer to a refused request: in the format of the API, or by a page of the gate.

use std::time::Instant;

use super::client_session::ClientSession;
use super::console::api::{self, ApiAnswer};
use super::error::Refusal;
use super::gate::refusal::{self, GateRefusal};
use super::pages::response::PageResponse;
use super::peer::HttpPeer;
use super::proxy::exchange::Exchange;
use super::request_quota;
use super::respond;
use super::service::{HttpService, Plan};
use crate::domain::RequestId;

/// A refused request.
pub struct RefusedRequest<'a> {
    /// The entry.
    pub site: &'a HttpService,
    /// The limits, and the pages.
    pub plan: &'a Plan,
    /// The client.
    pub client: &'a HttpPeer,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// The username, or empty if it is not known.
    pub user: &'a str,
}

impl RefusedRequest<'_> {
    /// Answers the request, and reads the rest of its body. The path chooses the format. Returns the status, and the time at which it was
    /// written; `None` if it could not be.
    pub async fn answer(&self, session: &mut ClientSession, refusal: Refusal) -> (u16, Option<Instant>) {
        let (plan, request_id, within) = (self.plan, self.request_id, self.plan.timeouts.write);
        let refusal = match refusal::answer(plan, session, &refusal, self.user, request_id) {
            Some(GateRefusal::Page(page)) => return Box::pin(self.answer_by_page(session, page)).await,
            Some(GateRefusal::Plain(refusal)) => refusal,
            None => refusal,
        };
        let (status, origins) = (refusal.status(), &plan.cors_origins);
        let room = request_quota::take_for_refusal(self.site, plan, self.client, session.head());
        let Some(_room) = room else {
            let written = respond::refuse_without_body(session, &refusal, origins, request_id, within).await;
            return (status, written.then(Instant::now));
        };
        let path = String::from_utf8_lossy(
            session.head().target().split(|byte| *byte == b'?').next().unwrap_or_default(),
        )
        .into_owned();
        if self.site.console.is_some() && api::is_for(&path) {
            let answer = ApiAnswer::problem(&refusal.into(), session.head(), request_id);
            let written = Box::pin(answer.write(session, self.client, request_id, within)).await;
            return (status, matches!(written, Exchange::Answered(_)).then(Instant::now));
        }
        respond::settle(session).await;
        let is_written = respond::refuse(session, &refusal, &path, origins, request_id, within).await;
        let written_at = is_written.then(Instant::now);
        if is_written {
            respond::drain(session).await;
        }
        (status, written_at)
    }

    async fn answer_by_page(
        &self,
        session: &mut ClientSession,
        page: PageResponse,
    ) -> (u16, Option<Instant>) {
        let status = page.status();
        let room = request_quota::take_for_refusal(self.site, self.plan, self.client, session.head());
        let page = if room.is_some() { page } else { page.without_body() };
        let written = page.write(session, self.client, self.request_id, self.plan.timeouts.write).await;
        (status, matches!(written, Exchange::Answered(_)).then(Instant::now))
    }
}
