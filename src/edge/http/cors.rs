//! Pages of other sites that may call an entry (CORS): the answer to their preflights, and the fields by which they may read what
//! Gatepost itself answers. A backend's responses keep their own fields, and get no others.

use http::Method;

use super::client_session::ClientSession;
use super::headers::answer::AnswerHead;
use crate::config::AllowedOrigin;
use crate::domain::RequestId;
use crate::wire::{CorsField, FieldKind, Preflight, RequestHead, answer_fields, listed_origin};

/// The one of `origins` that a request comes from.
pub fn origin_of<'o>(request: &RequestHead, origins: &'o [AllowedOrigin]) -> Option<&'o AllowedOrigin> {
    listed_origin(origins, request.fields().all(FieldKind::Origin))
}

/// The preflight that a request is, and the listed origin that it comes from. `None` for any other request.
pub fn preflight<'r, 'o>(
    request: &'r RequestHead,
    origins: &'o [AllowedOrigin],
) -> Option<(Preflight<'r>, &'o AllowedOrigin)> {
    if origins.is_empty() || *request.method() != Method::OPTIONS {
        return None;
    }
    let fields = request.fields();
    let method = fields.named("access-control-request-method").next()?.trim_ascii();
    let origin = origin_of(request, origins)?;
    let preflight = Preflight {
        method,
        headers: fields.named("access-control-request-headers").collect(),
        private_network: fields.named("access-control-request-private-network").next() == Some(b"true"),
    };
    Some((preflight, origin))
}

/// The answer to a preflight. `methods` are those of the path; `None` allows the one that is asked for.
pub fn preflight_answer(
    preflight: &Preflight<'_>,
    origin: &AllowedOrigin,
    methods: Option<&'static str>,
    request_id: &RequestId,
) -> AnswerHead {
    let mut answer = AnswerHead::without_body(204, request_id);
    put(&mut answer, preflight.answer_fields(origin, methods));
    answer
}

/// Adds the fields by which a page may read an answer of Gatepost's own. The header of the request was read if there are `origins`.
pub fn add_fields(answer: &mut AnswerHead, session: &ClientSession, origins: &[AllowedOrigin]) {
    if !origins.is_empty() {
        put(answer, answer_fields(origin_of(session.head(), origins)));
    }
}

fn put(answer: &mut AnswerHead, fields: Vec<CorsField>) {
    for (name, value) in fields {
        answer.insert(name, value);
    }
}
