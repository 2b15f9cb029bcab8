//! Reading of a small form that one of Gatepost's own pages posts.

use bytes::BytesMut;
use zeroize::Zeroize;

use super::body::error::BodyError;
use super::body::pacing::Pace;
use super::client_session::ClientSession;
use super::error::Refusal;
use super::peer::HttpPeer;
use super::quota::{QuotaLease, Use};
use super::request_quota;
use super::service::{HttpService, Plan};
use crate::wire::{FieldKind, PageForm};

/// The most bytes of a form.
const BODY_LIMIT: usize = 64 * 1024;

/// The media type of a form.
const URLENCODED: &[u8] = b"application/x-www-form-urlencoded";

/// A form, and the room that it takes until its credential is accepted.
pub struct PostedForm {
    /// The fields.
    pub fields: PageForm,
    /// The room. Dropped once the login in it was checked.
    pub room: QuotaLease,
}

/// Reads the form of a request to its end.
///
/// # Errors
/// The body is not such a form, too large, or too slow, or there is no room.
pub async fn read(
    site: &HttpService,
    plan: &Plan,
    client: &HttpPeer,
    session: &mut ClientSession,
) -> Result<PostedForm, Refusal> {
    let (body, room) = read_body(site, plan, client, session, URLENCODED).await?;
    let fields = PageForm::parse(&body);
    wipe(body);
    let fields = fields.map_err(|error| Refusal::Malformed(format!("Invalid form: {error}").into()))?;
    Ok(PostedForm { fields, room })
}

/// Reads a small body of that media type to its end.
///
/// # Errors
/// As [`read`].
pub async fn read_body(
    site: &HttpService,
    plan: &Plan,
    client: &HttpPeer,
    session: &mut ClientSession,
    media_type: &[u8],
) -> Result<(BytesMut, QuotaLease), Refusal> {
    let kind = session.head().fields().get(FieldKind::ContentType).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let mut room = request_quota::take(site, plan, client, session.head(), Use::Form)?;
    let mut body = BytesMut::new();
    if session.is_body_empty() {
        return Ok((body, room));
    }
    if !kind.eq_ignore_ascii_case(media_type) {
        let expected = String::from_utf8_lossy(media_type).into_owned();
        return Err(Refusal::Malformed(format!("Unexpected Content-Type: expected {expected}").into()));
    }
    if session.head().expects_continue() && !session.say_continue(plan.timeouts.write).await {
        return Err(Refusal::ClientGone);
    }
    let mut pace = Pace::of_unknown(&plan.timeouts);
    loop {
        match pace.read(session, Some(&room)).await {
            Ok(Some(piece)) if body.len() + piece.len() > BODY_LIMIT => return Err(Refusal::TooLarge),
            Ok(Some(piece)) => {
                let before = body.len();
                // Wiped when it grows, since a password may be in it.
                if body.capacity() - before < piece.len() {
                    let larger = BytesMut::with_capacity((before + piece.len()).next_power_of_two());
                    let old = std::mem::replace(&mut body, larger);
                    body.extend_from_slice(&old);
                    wipe(old);
                }
                body.extend_from_slice(&piece);
                if !room.cover_in_memory(before as u64, body.len() as u64) {
                    return Err(Refusal::Overloaded(request_quota::NO_ROOM.into()));
                }
            }
            Ok(None) => return Ok((body, room)),
            Err(BodyError::Refused(refusal)) => return Err(refusal),
            Err(BodyError::Gone) => return Err(Refusal::ClientGone),
        }
    }
}

fn wipe(mut body: BytesMut) {
    body.as_mut().zeroize();
}
