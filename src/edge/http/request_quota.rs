//! The share of the entry's [`Quota`](super::quota::Quota) that one request takes until its credential was accepted. Over HTTP/1
//! there is one request at a time, whose memory is the connection's. Only a body on its way to a public route takes room there.

use http::Version;

use super::error::Refusal;
use super::peer::HttpPeer;
use super::quota::{QuotaLease, Use};
use super::service::{HttpService, Plan};
use crate::wire::{BodyLength, RequestHead};

/// The text for a request for which there is no room.
pub const NO_ROOM: &str = "Too many unfinished requests at once, try again";

/// The memory of a body over HTTP/1 while it is forwarded.
const BUFFERS: u64 = 64 * 1024;

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
        Refusal::Overloaded(NO_ROOM.into())
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
    let purpose = match (request.version(), purpose) {
        (Version::HTTP_2, purpose) => Some(purpose),
        (_, Use::Upload) => Some(Use::SingleUpload),
        _ => None,
    };
    let mut lease = QuotaLease::new(site.room.clone(), source, purpose, &plan.forms);
    if purpose.is_none() {
        return Some(lease);
    }
    let fields = request.fields();
    let buffers = match (purpose, request.body_length()) {
        (Some(Use::SingleUpload), BodyLength::Known(length)) => length.min(BUFFERS) as usize,
        (Some(Use::SingleUpload), _) => BUFFERS as usize,
        _ => 0,
    };
    lease.cover_request(fields.len(), fields.text_len() + buffers).then_some(lease)
}
