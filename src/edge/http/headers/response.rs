//! The header of a response as the client gets it: without hop-by-hop fields, with the framing that the client can read, and with
//! what Gatepost adds. This is the one place that decides it, for responses that are passed on as bytes after one look
//! ([`SizedHeader`]) and for all others ([`incoming`], [`incoming_bytes`]).

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use pingora_error::ErrorType::InvalidHTTPHeader;
use pingora_http::ResponseHeader;

use super::hop_by_hop::Nominated;
use super::response_length::{BodyLength, merged};
use crate::edge::http::request_id::REQUEST_ID;
use crate::edge::net::pingora_compat;

/// The most bytes of the fields that Gatepost adds to a response.
const ADDED: usize = 160;

/// The meaning of a field of a backend's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldRole {
    /// It is for the client.
    Passes,
    /// `Date`, which is kept, and added where there is none (RFC 9110 section 6.6.1).
    Date,
    /// `Content-Length`
    Length,
    /// `Transfer-Encoding`
    Coding,
    /// `Connection`
    Connection,
    /// `Upgrade`
    Upgrade,
    /// It is about the backend's connection only, or Gatepost sets it itself.
    Dropped,
}

impl FieldRole {
    fn of(name: &[u8]) -> FieldRole {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // By length first: most fields are none of these.
        match name.len() {
            2 if is("te") => FieldRole::Dropped,
            4 if is("date") => FieldRole::Date,
            7 if is("upgrade") => FieldRole::Upgrade,
            // No trailer section is passed on.
            7 if is("trailer") => FieldRole::Dropped,
            10 if is("connection") => FieldRole::Connection,
            10 if is("keep-alive") => FieldRole::Dropped,
            12 if is(REQUEST_ID.as_str()) => FieldRole::Dropped,
            14 if is("content-length") => FieldRole::Length,
            16 if is("proxy-connection") => FieldRole::Dropped,
            17 if is("transfer-encoding") => FieldRole::Coding,
            _ => FieldRole::Passes,
        }
    }
}

/// The header of a response over HTTP/1.1 whose body has a known length, for a client whose connection stays open.
#[derive(Debug, PartialEq, Eq)]
pub struct SizedHeader {
    /// The header as the client gets it.
    pub bytes: Vec<u8>,
    /// Bytes of the body.
    pub length: u64,
    /// The status.
    pub status: u16,
    /// True if the backend closes its connection after the response.
    pub closes: bool,
}

impl SizedHeader {
    /// The header of `response`; `None` where it takes more than one look. `capacity` is the bytes that were read so far.
    pub fn of(
        response: &httparse::Response<'_, '_>,
        request_id: &HeaderValue,
        capacity: usize,
    ) -> Option<SizedHeader> {
        let status = response.code.unwrap_or(0);
        if response.version != Some(1) || !(200..600).contains(&status) || matches!(status, 204 | 304) {
            return None;
        }
        let mut bytes = Vec::with_capacity(capacity + ADDED);
        put_status(&mut bytes, status, response.reason.unwrap_or_default());
        let (mut length, mut closes, mut dated) = (None, false, false);
        for field in response.headers.iter() {
            match FieldRole::of(field.name.as_bytes()) {
                FieldRole::Passes => {
                    // httparse lets more bytes into a field than HTTP does.
                    HeaderValue::from_bytes(field.value).ok()?;
                    HeaderName::from_bytes(field.name.as_bytes()).ok()?;
                }
                FieldRole::Date if dated => continue,
                FieldRole::Date => dated = true,
                FieldRole::Length if length.is_none() => length = Some(digits(field.value)?),
                FieldRole::Connection if field.value.eq_ignore_ascii_case(b"keep-alive") => continue,
                FieldRole::Connection if field.value.eq_ignore_ascii_case(b"close") => {
                    closes = true;
                    continue;
                }
                FieldRole::Dropped | FieldRole::Upgrade => continue,
                FieldRole::Length | FieldRole::Coding | FieldRole::Connection => return None,
            }
            put(&mut bytes, field.name.as_bytes(), field.value);
        }
        if !dated {
            put(&mut bytes, b"Date", pingora_compat::date().as_bytes());
        }
        put(&mut bytes, REQUEST_ID.as_str().as_bytes(), request_id.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        Some(SizedHeader { bytes, length: length?, status, closes })
    }
}

/// A length in plain digits; signs, spaces and lists take another look.
fn digits(value: &[u8]) -> Option<u64> {
    let plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if plain { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

/// The client's side of a response, besides the backend's own header.
pub struct Incoming<'a> {
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// True if the client's connection stays open after the response.
    pub keepalive: bool,
    /// The length of the body.
    pub length: BodyLength,
    /// The request ID.
    pub request_id: &'a HeaderValue,
}

impl Incoming<'_> {
    /// Returns true if the body goes to the client in chunks. One whose end only the closing connection would tell does, too, so
    /// that the client's connection stays open.
    fn is_chunked(&self) -> bool {
        self.version == Version::HTTP_11
            && matches!(self.length, BodyLength::Chunked | BodyLength::UntilClose)
    }

    /// The value of `Connection`, where the version and the absence of the field don't say it (RFC 9112 section 9.3).
    fn connection(&self) -> Option<&'static str> {
        match (self.version, self.keepalive) {
            (Version::HTTP_10, true) => Some("keep-alive"),
            (Version::HTTP_10 | Version::HTTP_11, false) => Some("close"),
            _ => None,
        }
    }
}

/// The response as the client gets it, for a writer of headers of its own.
///
/// # Errors
/// A field can't be written, or `Connection` names too many fields.
pub fn incoming(response: &ResponseHeader, with: &Incoming<'_>) -> pingora_error::Result<ResponseHeader> {
    let size = response.headers.len() + 4;
    let mut out = ResponseHeader::build_no_case(response.status, Some(size))?;
    out.set_version(Version::HTTP_11);
    fields(response, with, |name, value| out.append_header(Bytes::copy_from_slice(name), value).map(|_| ()))?;
    Ok(out)
}

/// The same over HTTP/1, as it goes over the wire.
///
/// # Errors
/// As [`incoming`].
pub fn incoming_bytes(response: &ResponseHeader, with: &Incoming<'_>) -> pingora_error::Result<Bytes> {
    let mut out = Vec::with_capacity(1024);
    put_status(&mut out, response.status.as_u16(), response.get_reason_phrase().unwrap_or_default());
    fields(response, with, |name, value| {
        put(&mut out, name, value.as_bytes());
        Ok(())
    })?;
    out.extend_from_slice(b"\r\n");
    Ok(Bytes::from(out))
}

/// The part of the same header that says how the body is written over HTTP/1.
///
/// # Errors
/// As [`incoming`].
pub fn framing_of(response: &ResponseHeader, with: &Incoming<'_>) -> pingora_error::Result<ResponseHeader> {
    let mut out = ResponseHeader::build_no_case(response.status, Some(4))?;
    out.set_version(Version::HTTP_11);
    match with.length {
        BodyLength::Known(length) => out.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?,
        _ if with.is_chunked() => {
            out.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        }
        _ => {}
    }
    Ok(out)
}

/// Every field that the client gets, in the order in which it gets them.
fn fields(
    response: &ResponseHeader,
    with: &Incoming<'_>,
    mut put: impl FnMut(&[u8], &HeaderValue) -> pingora_error::Result<()>,
) -> pingora_error::Result<()> {
    let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
    let is_final = !response.status.is_informational();
    let has_length = is_final && response.status != StatusCode::NO_CONTENT;
    let nominated = Nominated::of(&response.headers);
    if nominated.is_too_much() {
        return pingora_error::Error::e_explain(InvalidHTTPHeader, "Connection names too many fields");
    }
    let (mut dated, mut sized) = (false, false);
    let is_open_ended = matches!(with.length, BodyLength::Chunked | BodyLength::UntilClose);
    // Both go over the fields in the same order: one with the names as they came.
    for ((name, value), (known, _)) in response.case_header_iter().zip(&response.headers) {
        let name = name.as_slice();
        match FieldRole::of(name) {
            FieldRole::Passes if !switches && nominated.contains(known) => {}
            FieldRole::Passes => put(name, value)?,
            FieldRole::Date if dated => {}
            FieldRole::Date => {
                dated = true;
                put(name, value)?;
            }
            FieldRole::Length if has_length && !sized && !is_open_ended => {
                sized = true;
                put(name, &merged(value))?;
            }
            FieldRole::Connection | FieldRole::Upgrade if switches => put(name, value)?,
            FieldRole::Length
            | FieldRole::Coding
            | FieldRole::Connection
            | FieldRole::Upgrade
            | FieldRole::Dropped => {}
        }
    }
    if let (BodyLength::Known(length), false) = (with.length, sized) {
        put(b"Content-Length", &HeaderValue::from(length))?;
    }
    if with.is_chunked() {
        put(b"Transfer-Encoding", &HeaderValue::from_static("chunked"))?;
    }
    if is_final {
        if !dated {
            put(b"Date", &pingora_compat::date())?;
        }
        if let Some(connection) = with.connection() {
            put(b"Connection", &HeaderValue::from_static(connection))?;
        }
    }
    if is_final || switches {
        put(REQUEST_ID.as_str().as_bytes(), with.request_id)?;
    }
    Ok(())
}

fn put_status(out: &mut Vec<u8>, status: u16, reason: &str) {
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
