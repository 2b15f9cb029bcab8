//! Pages of other sites that may call an entry (CORS): the answer to their preflights, and the fields by which they may read what
//! Gatepost itself answers. A backend's responses keep their own fields, and get no others.

use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use pingora_core::protocols::http::ServerSession;
use pingora_http::{RequestHeader, ResponseHeader};

use super::request_id::REQUEST_ID;
use crate::config::AllowedOrigin;
use crate::wire::{CorsField, Preflight, answer_fields, listed_origin};

const REQUEST_METHOD: HeaderName = HeaderName::from_static("access-control-request-method");
const REQUEST_HEADERS: HeaderName = HeaderName::from_static("access-control-request-headers");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");

/// The one of `origins` that a request comes from.
pub fn origin_of<'o>(request: &RequestHeader, origins: &'o [AllowedOrigin]) -> Option<&'o AllowedOrigin> {
    listed_origin(origins, request.headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes))
}

/// The preflight that a request is, and the listed origin that it comes from. `None` for any other request.
pub fn preflight<'r, 'o>(
    request: &'r RequestHeader,
    origins: &'o [AllowedOrigin],
) -> Option<(Preflight<'r>, &'o AllowedOrigin)> {
    if origins.is_empty() || request.method != Method::OPTIONS {
        return None;
    }
    let method = request.headers.get(REQUEST_METHOD)?.as_bytes().trim_ascii();
    let origin = origin_of(request, origins)?;
    let preflight = Preflight {
        method,
        headers: request.headers.get_all(REQUEST_HEADERS).iter().map(HeaderValue::as_bytes).collect(),
        private_network: request.headers.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true"),
    };
    Some((preflight, origin))
}

/// The answer to a preflight. `methods` are those of the path; `None` allows the one that is asked for.
///
/// # Errors
/// A field can't be written.
pub fn preflight_answer(
    preflight: &Preflight<'_>,
    origin: &AllowedOrigin,
    methods: Option<&'static str>,
    request_id: &HeaderValue,
) -> pingora_error::Result<ResponseHeader> {
    let mut answer = ResponseHeader::build(204, Some(8))?;
    answer.insert_header(REQUEST_ID, request_id)?;
    put(&mut answer, preflight.answer_fields(origin, methods))?;
    Ok(answer)
}

/// Adds the fields by which a page may read an answer of Gatepost's own. The header of the request was read if there are `origins`.
///
/// # Errors
/// A field can't be written.
pub fn add_fields(
    answer: &mut ResponseHeader,
    session: &ServerSession,
    origins: &[AllowedOrigin],
) -> pingora_error::Result<()> {
    if origins.is_empty() {
        return Ok(());
    }
    put(answer, answer_fields(origin_of(session.req_header(), origins)))
}

fn put(answer: &mut ResponseHeader, fields: Vec<CorsField>) -> pingora_error::Result<()> {
    for (name, value) in fields {
        answer.insert_header(name, value)?;
    }
    Ok(())
}
