//! The header of a response as the client gets it: without hop-by-hop fields, with the framing that the client can read, and with
//! what Gatepost adds. This is the one place that decides it, for clients of HTTP/1 ([`incoming_bytes`]) and HTTP/2
//! ([`incoming_http2`]).

use http::{HeaderName, HeaderValue, Response, StatusCode, Version};
use thiserror::Error;

use super::hop_by_hop::Nominated;
use crate::domain::RequestId;
use crate::edge::net::pingora_compat;
use crate::wire::{BodyLength, FieldKind, HeaderField, ResponseHead, merged_length, sets_own_cookie};

/// `Connection` names more fields than any peer has a use for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("Connection names too many fields")]
pub struct TooManyNominated;

/// The client's side of a response, besides the backend's own header.
pub struct Incoming<'a> {
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// True if the client's connection stays open after the response.
    pub keepalive: bool,
    /// The length of the body.
    pub length: BodyLength,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// The rules of a gate.
    pub rules: GateRules,
}

/// The rules of a gate for the responses of its backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateRules {
    /// True for the response to a request that a session permitted. A cache that is shared by users stores it only if the backend says
    /// so, as it is with `Authorization` (RFC 9111 section 3.5).
    pub is_by_session: bool,
    /// True if a page may have no service worker above its own folder.
    pub confines_workers: bool,
}

impl Incoming<'_> {
    /// Returns true if the body goes to the client in chunks. One whose end only the closing connection would tell does, too, so
    /// that the client's connection stays open.
    pub fn is_chunked(&self) -> bool {
        self.version == Version::HTTP_11
            && matches!(self.length, BodyLength::Chunked | BodyLength::UntilClose)
    }
}

/// The value of `Connection`, where the version and the absence of the field don't say it (RFC 9112 section 9.3).
pub fn connection_for(version: Version, stays_open: bool) -> Option<&'static str> {
    match (version, stays_open) {
        (Version::HTTP_10, true) => Some("keep-alive"),
        (Version::HTTP_10 | Version::HTTP_11, false) => Some("close"),
        _ => None,
    }
}

/// The response as a client of HTTP/2 gets it.
///
/// # Errors
/// The reason, for the log: a field can't be written, or `Connection` names too many fields.
pub fn incoming_http2(response: &ResponseHead, with: &Incoming<'_>) -> Result<Response<()>, String> {
    let mut header = Response::new(());
    *header.status_mut() =
        StatusCode::from_u16(response.status()).map_err(|_| "invalid status".to_owned())?;
    let map = header.headers_mut();
    map.reserve(response.fields().len() + 2);
    let mut is_invalid = false;
    fields(response, with, |field| {
        match (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value)) {
            (Ok(name), Ok(mut value)) => {
                set_indexed(&name, &mut value);
                is_invalid |= map.try_append(name, value).is_err();
            }
            _ => is_invalid = true,
        }
    })
    .map_err(|error| error.to_string())?;
    if is_invalid { Err("invalid field".to_owned()) } else { Ok(header) }
}

/// Has a value that never comes again left out of the table of the header compression (RFC 7541 section 7.1.3).
pub fn set_indexed(name: &HeaderName, value: &mut HeaderValue) {
    value.set_sensitive(name == "x-request-id");
}

/// Appends the response as a client of HTTP/1 gets it.
///
/// # Errors
/// `Connection` names too many fields.
pub fn incoming_bytes(
    response: &ResponseHead,
    with: &Incoming<'_>,
    out: &mut Vec<u8>,
) -> Result<(), TooManyNominated> {
    put_status(out, response.status(), response.reason());
    fields(response, with, |field| put_field(out, field))?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Every field that the client gets, in the order in which it gets them.
fn fields(
    response: &ResponseHead,
    with: &Incoming<'_>,
    mut put: impl FnMut(&HeaderField<'_>),
) -> Result<(), TooManyNominated> {
    let switches = response.status() == 101;
    let is_final = response.status() >= 200;
    let is_open_ended = matches!(with.length, BodyLength::Chunked | BodyLength::UntilClose);
    let has_length = is_final && response.status() != 204 && !is_open_ended;
    let nominated = Nominated::of(response.fields());
    if nominated.is_too_much() {
        return Err(TooManyNominated);
    }
    let (mut dated, mut sized, mut may_be_shared) = (false, false, !with.rules.is_by_session);
    for field in response.fields().iter() {
        match field.kind {
            // `Date` is kept, and added where there is none (RFC 9110 section 6.6.1).
            FieldKind::Date if dated => continue,
            FieldKind::Date => dated = true,
            FieldKind::ContentLength if has_length && !sized => {
                // A response without a body may say nonsense.
                let Some(length) = merged_length(field.value) else { continue };
                sized = true;
                match length.len() == field.value.len() {
                    true => put(&field),
                    false => put(&HeaderField { value: length, line: None, ..field }),
                }
                continue;
            }
            // Only Gatepost sets its cookies.
            FieldKind::SetCookie if sets_own_cookie(field.value) => continue,
            FieldKind::Connection | FieldKind::Upgrade if switches => {}
            FieldKind::ContentLength
            | FieldKind::TransferEncoding
            | FieldKind::Connection
            | FieldKind::Upgrade
            | FieldKind::OneConnection
            | FieldKind::RequestId => continue,
            _ if !switches && nominated.contains(&field) => continue,
            FieldKind::Other if with.rules.confines_workers && is(&field, WORKER_SCOPE) => continue,
            FieldKind::Other if !may_be_shared && is(&field, "cache-control") => {
                may_be_shared = says_who_may_store(field.value);
            }
            _ => {}
        }
        put(&field);
    }
    let mut put = |name: &[u8], value: &[u8]| {
        put(&HeaderField { kind: FieldKind::Other, name, value, line: None });
    };
    if with.is_chunked() {
        put(b"Transfer-Encoding", b"chunked");
    }
    if is_final {
        if !may_be_shared {
            put(b"Cache-Control", b"private");
        }
        if !dated {
            put(b"Date", pingora_compat::date().as_bytes());
        }
        if let Some(connection) = connection_for(with.version, with.keepalive) {
            put(b"Connection", connection.as_bytes());
        }
    }
    if is_final || switches {
        put(b"x-request-id", with.request_id.as_bytes());
    }
    Ok(())
}

/// The field by which a script in a folder becomes the service worker of the folders above.
const WORKER_SCOPE: &str = "service-worker-allowed";

/// Returns true if a field has that name.
fn is(field: &HeaderField<'_>, name: &str) -> bool {
    field.name.eq_ignore_ascii_case(name.as_bytes())
}

/// Returns true if `Cache-Control` says whether a shared cache may store the response to a user's request.
fn says_who_may_store(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|directive| {
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        ["private", "public", "no-store", "s-maxage", "must-revalidate"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// Appends a status line.
pub fn put_status(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Appends a field as it came.
#[inline]
pub fn put_field(out: &mut Vec<u8>, field: &HeaderField<'_>) {
    match field.line {
        Some(line) => {
            out.reserve(line.len() + 2);
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
        None => put(out, field.name, field.value),
    }
}

/// Appends a field.
#[inline]
pub fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a field with a number.
pub fn put_number(out: &mut Vec<u8>, name: &[u8], mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return put(out, name, &digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests;
