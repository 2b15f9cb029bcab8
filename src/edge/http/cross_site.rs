//! Requests that a page of another site has a browser make. The browser adds a Basic login that it has stored, so such a login
//! says who the user is and not that the user meant the request (cross-site request forgery).

use http::Method;

use super::cors;
use super::own_origin::own_origin;
use super::peer::HttpPeer;
use crate::config::AllowedOrigin;
use crate::domain::RefusalReason;
use crate::wire::{FieldKind, RequestHead};

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
    let is_own = |origin: &[u8]| own_origin(request, client, is_trusted).is(origin);
    (!origins.all(is_own)).then_some(RefusalReason::CrossSiteOrigin.as_str())
}
