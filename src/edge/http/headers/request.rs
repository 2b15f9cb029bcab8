//! The header of a request as its backend gets it: without hop-by-hop fields, and with the identity and source of the request.

use std::borrow::Cow;

use http::{Method, Version};

use super::hop_by_hop::Nominated;
use super::response::{TooManyNominated, put, put_field, put_number};
use crate::domain::RequestId;
use crate::edge::http::peer::HttpPeer;
use crate::service::access::Granted;
use crate::wire::{BodyLength, FieldKind, HeaderField, RequestHead, without_credential, without_own_cookies};

/// The framing of the body towards the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// A body of that many bytes.
    Length(u64),
    /// A body in chunks.
    Chunked,
}

impl Framing {
    /// The framing that the client has announced (RFC 9112 section 6.3; over HTTP/2, RFC 9113 section 8.1.1).
    pub fn of(request: &RequestHead, is_empty: bool) -> Framing {
        let announced = match request.version() {
            Version::HTTP_2 => announced_length(request),
            _ => request.body_length(),
        };
        match announced {
            BodyLength::Chunked => Framing::Chunked,
            BodyLength::Known(length) => Framing::Length(length),
            // An empty form has a length; a GET has none.
            _ if is_empty && *request.method() == Method::POST => Framing::Length(0),
            _ if is_empty => Framing::None,
            _ => Framing::Chunked,
        }
    }
}

/// The length that a request over HTTP/2 announces. The h2 crate compares it with the body.
fn announced_length(request: &RequestHead) -> BodyLength {
    let length = request.fields().get(FieldKind::ContentLength);
    let length = length.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    length.map_or(BodyLength::None, BodyLength::Known)
}

/// The parts of a forwarded request besides the client's own header.
pub struct Outgoing<'a> {
    /// The normalized path.
    pub path: &'a [u8],
    /// The query without credentials.
    pub query: Option<&'a [u8]>,
    /// The identity; none on a public route.
    pub identity: Option<&'a Granted>,
    /// The client.
    pub client: &'a HttpPeer,
    /// True if the client's `X-Forwarded-*` fields are trusted.
    pub trusted: bool,
    /// The framing of the body.
    pub framing: Framing,
    /// The host of a request that names none, as HTTP/1.0 allows.
    pub authority: &'a str,
    /// The host that the backend gets; `None` for the client's.
    pub host: Option<&'a str>,
    /// True if a Basic login in the header is for Gatepost. Otherwise it is the backend's.
    pub reads_basic: bool,
    /// True if a credential in a query is for Gatepost.
    pub reads_query: bool,
    /// True if the request asks for a WebSocket.
    pub upgrade: bool,
    /// The request ID.
    pub request_id: &'a RequestId,
}

/// Appends the request as the backend gets it. This is the one place that decides about each field.
///
/// # Errors
/// `Connection` names too many fields.
pub fn outgoing(
    request: &RequestHead,
    with: &Outgoing<'_>,
    out: &mut Vec<u8>,
) -> Result<(), TooManyNominated> {
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(with.path);
    if let Some(query) = with.query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // First, where `with_host` looks for it.
    if let Some(own) = with.host {
        put(out, b"host", own.as_bytes());
    }
    let host = clients_fields(request, with, out)?;
    // Over HTTP/2 the host is the authority of the target.
    let host = host.or_else(|| {
        let authority = request.authority();
        // The request becomes HTTP/1.1, which must name a host (RFC 9112 section 3.2).
        if with.host.is_none() {
            put(out, b"host", authority.unwrap_or(with.authority.as_bytes()));
        }
        authority
    });
    match with.framing {
        Framing::None => {}
        Framing::Length(length) => put_number(out, b"content-length", length),
        Framing::Chunked => put(out, b"transfer-encoding", b"chunked"),
    }
    if with.upgrade
        && let Some(protocol) = request.fields().get(FieldKind::Upgrade)
    {
        put(out, b"connection", b"upgrade");
        put(out, b"upgrade", protocol);
    }
    if let Some(identity) = with.identity {
        put(out, b"x-gatepost-account", identity.account_value());
        put(out, b"x-gatepost-user", identity.user_value());
        put(out, b"x-gatepost-permissions", &identity.permissions_value());
    }
    forwarded(request, with, host, out);
    put(out, b"x-request-id", with.request_id.as_bytes());
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The request `bytes` of [`outgoing`] with a host of its own, for a backend that gets another one.
pub fn with_host(bytes: &[u8], host: &str) -> Vec<u8> {
    let mut ends = memchr::memmem::find_iter(bytes, b"\r\n").map(|end| end + 2);
    let (Some(line), Some(field)) = (ends.next(), ends.next()) else { return bytes.to_vec() };
    [&bytes[..line], b"host: ", host.as_bytes(), b"\r\n", &bytes[field..]].concat()
}

/// Appends the client's own fields that are forwarded. Returns the value of `Host`.
fn clients_fields<'r>(
    request: &'r RequestHead,
    with: &Outgoing<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<&'r [u8]>, TooManyNominated> {
    let fields = request.fields();
    let nominated = Nominated::of(fields);
    if nominated.is_too_much() {
        return Err(TooManyNominated);
    }
    let mut crumbs = fields.all(FieldKind::Cookie);
    let has_crumbs = request.version() == Version::HTTP_2 && crumbs.nth(1).is_some();
    if has_crumbs {
        // A `Cookie` field made of the several that HTTP/2 allows (RFC 9113 section 8.2.3).
        let crumbs: Vec<&[u8]> = fields.all(FieldKind::Cookie).collect();
        if let Some(rest) = without_own_cookies(&crumbs.join(&b"; "[..])) {
            put(out, b"cookie", &rest);
        }
    }
    let mut host = None;
    for field in fields.iter() {
        match field.kind {
            FieldKind::Cookie if has_crumbs => continue,
            FieldKind::Host => {
                host = Some(field.value);
                if with.host.is_some() {
                    continue;
                }
            }
            FieldKind::Referer if with.reads_query && !nominated.contains(&field) => {
                put_referer(out, &field);
                continue;
            }
            kind if !passes(kind, field.value, with) || nominated.contains(&field) => continue,
            FieldKind::Cookie => {
                put_cookie(out, &field);
                continue;
            }
            _ => {}
        }
        put_field(out, &field);
    }
    Ok(host)
}

/// Returns true if a field of the client's is forwarded.
fn passes(kind: FieldKind, value: &[u8], with: &Outgoing<'_>) -> bool {
    match kind {
        FieldKind::Other
        | FieldKind::ContentEncoding
        | FieldKind::ContentType
        | FieldKind::Cookie
        | FieldKind::Date
        | FieldKind::Host
        | FieldKind::Origin
        | FieldKind::Referer
        | FieldKind::SecFetchSite
        | FieldKind::SetCookie => true,
        // Another scheme concerns client and backend only.
        FieldKind::Authorization => !with.reads_basic || !is_basic(value),
        FieldKind::ForwardedPort | FieldKind::OfProxies => with.trusted,
        // About one connection only (RFC 9110 section 7.6.1), or Gatepost answers or sets it itself.
        FieldKind::Connection
        | FieldKind::ContentLength
        | FieldKind::Expect
        | FieldKind::TransferEncoding
        | FieldKind::Upgrade
        | FieldKind::OneConnection
        | FieldKind::NextRecipient
        | FieldKind::ForwardedFor
        | FieldKind::ForwardedHost
        | FieldKind::ForwardedProto
        | FieldKind::RequestId
        | FieldKind::Never => false,
    }
}

/// Appends the address of the page that a request comes from, without the credential in its query: the page itself may have been
/// asked for with one.
fn put_referer(out: &mut Vec<u8>, field: &HeaderField<'_>) {
    let (page, query) = match memchr::memchr(b'?', field.value) {
        Some(end) => (&field.value[..end], &field.value[end + 1..]),
        None => (field.value, &b""[..]),
    };
    match without_credential(query) {
        None => put_field(out, field),
        Some(rest) if rest.is_empty() => put(out, b"referer", page),
        Some(rest) => put(out, b"referer", &[page, b"?", &rest].concat()),
    }
}

/// Appends a field with cookies, without those of Gatepost's own sessions, which let whoever has them in.
fn put_cookie(out: &mut Vec<u8>, field: &HeaderField<'_>) {
    match without_own_cookies(field.value) {
        Some(Cow::Borrowed(_)) => put_field(out, field),
        Some(Cow::Owned(rest)) => put(out, field.name, &rest),
        None => {}
    }
}

fn is_basic(value: &[u8]) -> bool {
    value.trim_ascii_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
}

/// Appends the source of the request. The fields of a trusted proxy are kept and extended.
fn forwarded(request: &RequestHead, with: &Outgoing<'_>, host: Option<&[u8]>, out: &mut Vec<u8>) {
    let (client, fields) = (with.client, request.fields());
    let said = |kind| if with.trusted { fields.get(kind) } else { None };
    if said(FieldKind::ForwardedFor).is_some() {
        out.extend_from_slice(b"x-forwarded-for: ");
        for line in fields.all(FieldKind::ForwardedFor) {
            out.extend_from_slice(line);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(client.shown().as_bytes());
        out.extend_from_slice(b"\r\n");
    } else {
        put(out, b"x-forwarded-for", client.shown().as_bytes());
    }
    put(out, b"x-forwarded-proto", said(FieldKind::ForwardedProto).unwrap_or(client.scheme().as_bytes()));
    if let Some(host) = said(FieldKind::ForwardedHost).or(host) {
        put(out, b"x-forwarded-host", host);
    }
}

#[cfg(test)]
mod tests;
