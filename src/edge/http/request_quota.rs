//! The share of the entry's [`Quota`](super::quota::Quota) that one request takes until its credential was accepted. Only requests over
//! HTTP/2 take some: over HTTP/1 there is one at a time, whose memory is the connection's.

use http::Version;

use super::error::Refusal;
use super::peer::HttpPeer;
use super::quota::{QuotaLease, Use};
use super::service::{HttpService, Plan};
use crate::wire::RequestHead;

/// The text for a request for which there is no room.
pub const NO_ROOM: &str = "Too many unfinished requests at once, try again";

/// Takes room for a request.
///
/// # Errors
/// All sources together, or the request's own, have used up their room.
pub fn take(
    site: &HttpService,
    plan: &Plan,
    client: &HttpPeer,
    request: &RequestHead,
    purpose: Use,
) -> Result<QuotaLease, Refusal> {
    cover(site, plan, client, request, purpose).ok_or_else(|| {
        // One client of a trusted proxy must not end the connection of all of them.
        if !client.is_trusted(&plan.trusted_proxies) {
            client.note_without_room();
        }
        Refusal::Overloaded(NO_ROOM)
    })
}

/// Takes room for the refusal of a request, which may wait for a client that reads no answer or continues to send its body. `None`
/// means that there is none: then the answer must not wait for anything.
pub fn take_for_refusal(
    site: &HttpService,
    plan: &Plan,
    client: &HttpPeer,
    request: &RequestHead,
) -> Option<QuotaLease> {
    cover(site, plan, client, request, Use::Refusal)
}

fn cover(
    site: &HttpService,
    plan: &Plan,
    client: &HttpPeer,
    request: &RequestHead,
    purpose: Use,
) -> Option<QuotaLease> {
    let source = client.source(request.fields(), &plan.trusted_proxies);
    let purpose = (request.version() == Version::HTTP_2).then_some(purpose);
    let mut lease = QuotaLease::new(site.room.clone(), source, purpose, &plan.forms);
    if purpose.is_none() {
        return Some(lease);
    }
    let fields = request.fields();
    lease.cover_request(fields.len(), fields.text_len()).then_some(lease)
}
