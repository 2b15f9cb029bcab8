//! Answers of API v1: JSON, problems, and those without a body.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::body::PATCH_TYPES;
use super::refused::ApiRefusal;
use crate::domain::RequestId;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::headers::answer::AnswerHead;
use crate::edge::http::pages::response::PageResponse;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::proxy::exchange::{BrokenOff, Exchange};
use crate::edge::http::respond;
use crate::service::Effect;
use crate::wire::api::v1::{EFFECT_FIELD, PROBLEM_JSON, Problem, ProblemKind, effect_value};
use crate::wire::{FieldKind, RequestHead};

/// The challenge of a 401 (RFC 7617).
const CHALLENGE: &str = "Basic realm=\"Gatepost\", charset=\"UTF-8\"";

/// The challenge for a request of a page. No browser knows the scheme. For Basic, it would show a password box of its own, and the
/// page would wait for it.
const CHALLENGE_OF_PAGES: &str = "X-Basic realm=\"Gatepost\"";

/// An answer, before it is written.
#[derive(Debug)]
pub struct ApiAnswer {
    status: u16,
    body: Option<(&'static str, Bytes)>,
    fields: Vec<(&'static str, Cow<'static, str>)>,
}

impl ApiAnswer {
    /// An answer with JSON.
    pub fn json(status: u16, json: impl Into<Bytes>) -> ApiAnswer {
        ApiAnswer { status, body: Some(("application/json", json.into())), fields: Vec::new() }
    }

    /// An answer without a body: 204 or 304.
    pub fn empty(status: u16) -> ApiAnswer {
        ApiAnswer { status, body: None, fields: Vec::new() }
    }

    /// The answer to a request that is refused.
    pub fn problem(refusal: &ApiRefusal, head: &RequestHead, request_id: &RequestId) -> ApiAnswer {
        let ApiRefusal { problem, allowed, .. } = refusal;
        let json = problem.to_json(request_id.as_str());
        let status = problem.kind.status();
        let mut answer = ApiAnswer { status, body: Some((PROBLEM_JSON, json.into())), fields: Vec::new() };
        if let Some(seconds) = refusal.retry_seconds() {
            answer = answer.with("Retry-After", seconds.to_string());
        }
        if let Some(allowed) = allowed {
            answer = answer.with("Allow", *allowed);
        }
        match problem.kind {
            ProblemKind::Unauthenticated if is_of_page(head) => {
                answer.with("WWW-Authenticate", CHALLENGE_OF_PAGES)
            }
            ProblemKind::Unauthenticated => answer.with("WWW-Authenticate", CHALLENGE),
            ProblemKind::UnsupportedMediaType if *head.method() == http::Method::PATCH => {
                answer.with("Accept-Patch", PATCH_TYPES)
            }
            _ => answer,
        }
    }

    /// Adds a field.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> ApiAnswer {
        self.fields.push((name, value.into()));
        self
    }

    /// Says where a change is in effect.
    pub fn with_effect(self, effect: Effect) -> ApiAnswer {
        self.with(EFFECT_FIELD, effect_value(effect.took, effect.nodes))
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Writes the answer, and discards what the client still sends.
    pub async fn write(
        self,
        session: &mut ClientSession,
        client: &HttpPeer,
        request_id: &RequestId,
        within: Duration,
    ) -> Exchange {
        let status = self.status;
        if let Some((kind, body)) = self.body {
            let page = PageResponse::data(status, kind, body);
            let page = self.fields.into_iter().fold(page, |page, (name, value)| page.with(name, value));
            return page.write(session, client, request_id, within).await;
        }
        let mut answer = AnswerHead::without_body(status, request_id);
        answer.insert("Cache-Control", "no-store");
        for (name, value) in self.fields {
            answer.insert(name, value);
        }
        respond::settle(session).await;
        if !respond::write(session, &answer, Bytes::new(), within).await {
            return Exchange::BrokenOff(BrokenOff::by_client(status));
        }
        respond::drain(session).await;
        Exchange::Answered(status)
    }

    /// Writes the head alone, which waits for nothing, when there is no room for more.
    pub async fn write_head(
        self,
        session: &mut ClientSession,
        request_id: &RequestId,
        within: Duration,
    ) -> Exchange {
        let kind = self.body.map_or(PROBLEM_JSON, |(kind, _)| kind);
        let mut answer = AnswerHead::new(self.status, kind, Some(0), request_id);
        for (name, value) in self.fields {
            answer.insert(name, value);
        }
        match respond::write(session, &answer, Bytes::new(), within).await {
            true => Exchange::Answered(self.status),
            false => Exchange::BrokenOff(BrokenOff::by_client(self.status)),
        }
    }
}

/// Returns true if a page in a browser makes a request, by fields that only browsers and scripts send.
fn is_of_page(head: &RequestHead) -> bool {
    let fields = head.fields();
    let is_sent = |name| fields.named(name).next().is_some();
    fields.contains(FieldKind::Origin)
        || fields.contains(FieldKind::SecFetchSite)
        || ["Sec-Fetch-Mode", "Sec-Fetch-Dest", "X-Requested-With"].into_iter().any(is_sent)
}

/// The problem of a request that accepts no JSON.
pub fn not_acceptable() -> Problem {
    Problem::new(ProblemKind::NotAcceptable, "the response is application/json, which Accept excludes")
}
