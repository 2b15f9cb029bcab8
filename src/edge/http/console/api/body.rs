//! The body of a request to API v1: its media type, its size and its pace are checked, and then its JSON is read.

use http::Method;
use zeroize::Zeroizing;

use super::refused::ApiRefusal;
use crate::edge::http::body::error::BodyError;
use crate::edge::http::body::pacing::Pace;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::headers::request::Framing;
use crate::edge::http::service::Plan;
use crate::wire::api::v1::{JsonMedia, Problem, ProblemKind, StrictJson};
use crate::wire::{FieldKind, RequestHead};

/// The most bytes of a body.
pub const BODY_LIMIT: usize = 16 * 1024;

/// The media types of a patch.
pub const PATCH_TYPES: &str = "application/merge-patch+json, application/json";

/// Reads the body as JSON.
///
/// # Errors
/// 415 for another media type, 413 for more than [`BODY_LIMIT`], 408 for one that is too slow, and 400 for invalid JSON.
pub async fn read(session: &mut ClientSession, plan: &Plan) -> Result<StrictJson, ApiRefusal> {
    check_media(session.head())?;
    let body = read_bytes(session, plan).await?;
    StrictJson::parse(&body).map_err(|error| ApiRefusal::of(Problem::new(ProblemKind::InvalidJson, error)))
}

fn check_media(head: &RequestHead) -> Result<(), ApiRefusal> {
    let is_patch = *head.method() == Method::PATCH;
    let refuse = |detail: &str| Err(ApiRefusal::of(Problem::new(ProblemKind::UnsupportedMediaType, detail)));
    let fields = head.fields();
    if fields.elements(FieldKind::ContentEncoding).any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return refuse("the body must not be compressed");
    }
    let mut kinds = fields.all(FieldKind::ContentType);
    let kind = kinds.next().and_then(JsonMedia::of).filter(|_| kinds.next().is_none());
    match (kind, is_patch) {
        (Some(JsonMedia::Json), _) | (Some(JsonMedia::MergePatch), true) => Ok(()),
        (_, true) => {
            refuse("Content-Type must be application/merge-patch+json or application/json, in UTF-8")
        }
        (_, false) => refuse("Content-Type must be application/json, in UTF-8"),
    }
}

async fn read_bytes(session: &mut ClientSession, plan: &Plan) -> Result<Zeroizing<Vec<u8>>, ApiRefusal> {
    // The whole capacity at once, so that growing leaves no copy of a password behind.
    let mut body = Zeroizing::new(Vec::new());
    match Framing::of(session.head(), session.is_body_empty()) {
        Framing::Length(length) if length > BODY_LIMIT as u64 => return Err(Refusal::TooLarge.into()),
        Framing::Length(length) => body.reserve_exact(length as usize),
        Framing::Chunked => body.reserve_exact(BODY_LIMIT),
        _ => return Ok(body),
    }
    if session.head().expects_continue() && !session.say_continue(plan.timeouts.write).await {
        return Err(Refusal::ClientGone.into());
    }
    let mut pace = Pace::new(plan.timeouts.body);
    loop {
        match pace.read(session, None).await {
            Ok(Some(piece)) if body.len() + piece.len() > BODY_LIMIT => return Err(Refusal::TooLarge.into()),
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return Ok(body),
            Err(BodyError::Refused(refusal)) => return Err(refusal.into()),
            Err(BodyError::Gone) => return Err(Refusal::ClientGone.into()),
        }
    }
}
