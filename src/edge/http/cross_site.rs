//! Requests that a page of another site has a browser make. The browser adds a Basic login that it has stored, so such a login
//! says who the user is and not that the user meant the request (cross-site request forgery).

use http::Method;

use super::cors;
use super::peer::HttpPeer;
use crate::config::AllowedOrigin;
use crate::domain::RefusalReason;
use crate::wire::{FieldKind, OwnOrigin, RequestHead};

/// Returns true if a request of this kind may change something, whatever it needs: any method that is not safe (RFC 9110
/// section 9.2.1), and a WebSocket, over which anything may follow.
pub fn may_change_something(request: &RequestHead) -> bool {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    !is_safe || request.fields().contains(FieldKind::Upgrade)
}

/// The reason, for the log, that a request counts as one from another site. `None` for one of the gateway's own origin or of one
/// that is listed, for a typed address, and for clients other than browsers, which send neither field.
///
/// `Sec-Fetch-Site` (Fetch Metadata, section 2.4) decides where it is present: each value must be `same-origin` or `none`. A page
/// can't set that field, so `Origin` is not compared then: it may be `null` (a page with the policy `no-referrer`), that of an
/// extension, or differ from a `Host` that a proxy has rewritten. Without `Sec-Fetch-Site`, each `Origin` must be the gateway's own.
pub fn reason(
    request: &RequestHead,
    client: &HttpPeer,
    is_trusted: bool,
    origins: &[AllowedOrigin],
) -> Option<&'static str> {
    // A page can't set `Origin` either.
    if cors::origin_of(request, origins).is_some() {
        return None;
    }
    let fields = request.fields();
    let mut is_vouched_for = false;
    for value in fields.all(FieldKind::SecFetchSite) {
        // A parameter may follow, as in any structured field (RFC 9651).
        let sites = value.split(|b| *b == b',');
        let sites = sites.map(|site| site.split(|b| *b == b';').next().unwrap_or_default().trim_ascii());
        for site in sites.filter(|site| !site.is_empty()) {
            if !site.eq_ignore_ascii_case(b"same-origin") && !site.eq_ignore_ascii_case(b"none") {
                return Some(RefusalReason::CrossSiteFetch.as_str());
            }
            is_vouched_for = true;
        }
    }
    if is_vouched_for {
        return None;
    }
    let mut origins = fields.all(FieldKind::Origin).map(<[u8]>::trim_ascii);
    let is_own = |origin: &[u8]| own(request, client, is_trusted).is(origin);
    (!origins.all(is_own)).then_some(RefusalReason::CrossSiteOrigin.as_str())
}

/// The gateway's origin as the client sees it: what a trusted proxy says, else what the request and its connection say.
pub fn own<'a>(request: &'a RequestHead, client: &HttpPeer, is_trusted: bool) -> OwnOrigin<'a> {
    // Of several proxies the first one talks to the client.
    let said = |kind| {
        let value = request.fields().get(kind).filter(|_| is_trusted)?;
        value.split(|b| *b == b',').next().map(<[u8]>::trim_ascii).filter(|value| !value.is_empty())
    };
    let host = request.fields().get(FieldKind::Host);
    let authority = || request.authority();
    let secure = match said(FieldKind::ForwardedProto) {
        Some(b"https" | b"wss") => Some(true),
        Some(b"http" | b"ws") => Some(false),
        Some(_) => None,
        // A proxy that nobody knows of may have ended TLS. With TLS here, it is one that begins TLS anew.
        None => (client.scheme() == "https" && !is_trusted).then_some(true),
    };
    OwnOrigin {
        secure,
        authority: said(FieldKind::ForwardedHost).or(host).or_else(authority).unwrap_or_default(),
        port: said(FieldKind::ForwardedPort).and_then(|port| std::str::from_utf8(port).ok()?.parse().ok()),
    }
}
