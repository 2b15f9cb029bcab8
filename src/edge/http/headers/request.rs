//! The header of a request as its backend gets it: without hop-by-hop fields, and with the identity and source of the request.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use pingora_error::ErrorType::InvalidHTTPHeader;
use pingora_http::RequestHeader;

use super::hop_by_hop::{self, FieldAuthority, Nominated};
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::request_id::REQUEST_ID;
use crate::service::access::Granted;

const ACCOUNT: HeaderName = HeaderName::from_static("x-gatepost-account");
const USER: HeaderName = HeaderName::from_static("x-gatepost-user");
const PERMISSIONS: HeaderName = HeaderName::from_static("x-gatepost-permissions");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The framing of the body towards the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// It has that many bytes.
    Length(u64),
    /// It is chunked.
    Chunked,
}

impl Framing {
    /// The framing that the client has announced (RFC 9112 section 6.3; over HTTP/2, RFC 9113 section 8.1.1).
    pub fn of(request: &RequestHeader, is_empty: bool) -> Framing {
        let length =
            request.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.trim().parse().ok());
        match length {
            _ if request.headers.contains_key(header::TRANSFER_ENCODING) => Framing::Chunked,
            Some(length) => Framing::Length(length),
            // An empty form has a length; a GET has none.
            None if is_empty && request.method == Method::POST => Framing::Length(0),
            None if is_empty => Framing::None,
            None => Framing::Chunked,
        }
    }
}

/// The parts of a forwarded request besides the client's own header.
pub struct Outgoing<'a> {
    /// Path and query, without credentials.
    pub target: &'a [u8],
    /// The identity; none on a public route.
    pub identity: Option<&'a Granted>,
    /// The client.
    pub client: &'a HttpPeer,
    /// True if the client's `X-Forwarded-*` fields are trusted.
    pub trusted: bool,
    /// The framing of the body.
    pub framing: Framing,
    /// The host of a request that names none, as HTTP/1.0 allows.
    pub authority: &'a HeaderValue,
    /// The host that the backend gets; `None` for the client's.
    pub host: Option<&'a HeaderValue>,
    /// True if a Basic login in the header is for Gatepost. Otherwise it is the backend's.
    pub reads_basic: bool,
    /// True if the request asks for a WebSocket.
    pub upgrade: bool,
    /// The request ID.
    pub request_id: &'a HeaderValue,
}

/// The request as the backend gets it.
///
/// # Errors
/// The target or a field can't be written in HTTP/1.1, or `Connection` names too many fields.
pub fn outgoing(request: &RequestHeader, with: &Outgoing<'_>) -> pingora_error::Result<RequestHeader> {
    let size = request.headers.len() + 8;
    let mut out = RequestHeader::build_no_case(request.method.clone(), with.target, Some(size))?;
    out.set_version(Version::HTTP_11);
    fields(request, with, |name, value| out.append_header(name, value).map(|_| ()))?;
    Ok(out)
}

/// The same, as it goes over the wire.
///
/// # Errors
/// `Connection` names too many fields.
pub fn outgoing_bytes(
    request: &RequestHeader,
    with: &Outgoing<'_>,
    out: &mut Vec<u8>,
) -> pingora_error::Result<()> {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(with.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(request, with, |name, value| {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
        Ok(())
    })?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The request `bytes` of [`outgoing_bytes`] with a host of its own, for a backend that gets another one.
pub fn with_host(bytes: &[u8], host: &HeaderValue) -> Vec<u8> {
    let mut ends = memchr::memmem::find_iter(bytes, b"\r\n").map(|end| end + 2);
    let (Some(line), Some(field)) = (ends.next(), ends.next()) else { return bytes.to_vec() };
    [&bytes[..line], b"host: ", host.as_bytes(), b"\r\n", &bytes[field..]].concat()
}

/// Every field that the backend gets, in its order. This is the one place that decides it.
fn fields(
    request: &RequestHeader,
    with: &Outgoing<'_>,
    mut put: impl FnMut(&HeaderName, &HeaderValue) -> pingora_error::Result<()>,
) -> pingora_error::Result<()> {
    let nominated = Nominated::of(&request.headers);
    if nominated.is_too_much() {
        return pingora_error::Error::e_explain(InvalidHTTPHeader, "Connection names too many fields");
    }
    // First, where `with_host` looks for it.
    if let Some(own) = with.host {
        put(&header::HOST, own)?;
    }
    let mut host = None;
    let crumbs =
        request.version == Version::HTTP_2 && request.headers.get_all(header::COOKIE).iter().nth(1).is_some();
    if crumbs {
        put(&header::COOKIE, &whole_cookie(&request.headers))?;
    }
    for (name, value) in &request.headers {
        if crumbs && *name == header::COOKIE {
            continue;
        }
        if *name == header::HOST {
            host = Some(value);
            if with.host.is_none() {
                put(name, value)?;
            }
        } else if passes(name, value, with) && !nominated.contains(name) {
            put(name, value)?;
        }
    }
    // Over HTTP/2 the host is the authority of the target.
    let authority = match (host, request.uri.authority()) {
        (None, Some(authority)) => HeaderValue::from_str(authority.as_str()).ok(),
        _ => None,
    };
    match (host.or(with.host), &authority) {
        (Some(_), _) => {}
        (None, Some(authority)) => put(&header::HOST, authority)?,
        // The request becomes HTTP/1.1, which must name a host (RFC 9112 section 3.2).
        (None, None) => put(&header::HOST, with.authority)?,
    }
    match with.framing {
        Framing::None => {}
        Framing::Length(length) => put(&header::CONTENT_LENGTH, &HeaderValue::from(length))?,
        Framing::Chunked => put(&header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked"))?,
    }
    if with.upgrade
        && let Some(protocol) = request.headers.get(header::UPGRADE)
    {
        put(&header::CONNECTION, &HeaderValue::from_static("upgrade"))?;
        put(&header::UPGRADE, protocol)?;
    }
    if let Some(identity) = with.identity {
        put(&ACCOUNT, &value_of(identity.account_value().clone()))?;
        put(&USER, &value_of(identity.user_value().clone()))?;
        put(&PERMISSIONS, &value_of(identity.permissions_value()))?;
    }
    forwarded(request, with, host.or(authority.as_ref()), &mut put)?;
    put(&REQUEST_ID, with.request_id)
}

/// A `Cookie` field made of the several that HTTP/2 allows (RFC 9113 section 8.2.3).
fn whole_cookie(headers: &HeaderMap) -> HeaderValue {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Each of them was a valid value, and so they are together.
    HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns true if a field of the client's is forwarded.
fn passes(name: &HeaderName, value: &HeaderValue, with: &Outgoing<'_>) -> bool {
    // The most common names first.
    if *name == header::ACCEPT || *name == header::USER_AGENT {
        return true;
    }
    if *name == header::AUTHORIZATION {
        // Another scheme concerns client and backend only.
        return !with.reads_basic || !is_basic(value);
    }
    !hop_by_hop::is_hop_by_hop(name)
        && match FieldAuthority::over(name) {
            FieldAuthority::Client => true,
            FieldAuthority::Proxy => with.trusted,
            FieldAuthority::Gatepost => false,
        }
}

fn is_basic(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
}

/// Adds the source of the request. The fields of a trusted proxy are kept and extended.
fn forwarded(
    request: &RequestHeader,
    with: &Outgoing<'_>,
    host: Option<&HeaderValue>,
    put: &mut impl FnMut(&HeaderName, &HeaderValue) -> pingora_error::Result<()>,
) -> pingora_error::Result<()> {
    let client = with.client;
    let said = |name: &HeaderName| with.trusted.then(|| request.headers.get(name)).flatten();
    if said(&FORWARDED_FOR).is_some() {
        let mut hops = Vec::new();
        for line in request.headers.get_all(FORWARDED_FOR) {
            hops.extend_from_slice(line.as_bytes());
            hops.extend_from_slice(b", ");
        }
        hops.extend_from_slice(client.shown().as_bytes());
        put(
            &FORWARDED_FOR,
            &HeaderValue::from_maybe_shared(Bytes::from(hops)).unwrap_or_else(|_| client.shown().clone()),
        )?;
    } else {
        put(&FORWARDED_FOR, client.shown())?;
    }
    match said(&FORWARDED_PROTO) {
        Some(proto) => put(&FORWARDED_PROTO, proto)?,
        None => put(&FORWARDED_PROTO, &HeaderValue::from_static(client.scheme()))?,
    }
    match said(&FORWARDED_HOST).or(host) {
        Some(host) => put(&FORWARDED_HOST, host),
        None => Ok(()),
    }
}

fn value_of(bytes: Bytes) -> HeaderValue {
    // A username is ASCII without control characters, and so a valid value.
    HeaderValue::from_maybe_shared(bytes).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
