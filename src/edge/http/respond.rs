//! Responses that Gatepost writes itself, on a connection that stays open where it can.

use std::time::Duration;

use bytes::Bytes;
use pingora_timeout::timeout;

use super::client_session::ClientSession;
use super::cors;
use super::error::Refusal;
use super::headers::answer::AnswerHead;
use super::headers::request::Framing;
use crate::config::AllowedOrigin;
use crate::domain::RequestId;
use crate::wire::{FieldKind, RefusalFormat, ReplyFormat, reply};

/// The most bytes of an unwanted body that are read and discarded, so that the client can read the answer.
const DRAIN_BYTES: usize = 64 << 20;

/// The most bytes of a body that are read before its request is refused, and the time for that.
const SMALL: u64 = 64 * 1024;
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// The time for discarding in all, and without any progress.
const DRAIN_TIME: Duration = Duration::from_secs(20);
const DRAIN_PAUSE: Duration = Duration::from_secs(3);

/// Writes a whole answer, without `body` if the request is HEAD. Returns false if it can't be written. What was written may still be
/// lost until the session is finished.
pub async fn write(session: &mut ClientSession, answer: &AnswerHead, body: Bytes, within: Duration) -> bool {
    let ends = session.is_head() || body.is_empty();
    let written = timeout(within, async {
        session.write_head(answer, ends)?;
        session.write_body(if ends { Bytes::new() } else { body }, true).await
    });
    matches!(written.await, Ok(Ok(())))
}

/// Adds the fields of a refusal: `WWW-Authenticate`, `Retry-After`, `Allow`.
pub fn add_refusal_fields(answer: &mut AnswerHead, refusal: &Refusal) {
    if let Some(challenge) = refusal.challenge() {
        answer.insert("WWW-Authenticate", challenge);
    }
    if let Some(seconds) = refusal.retry_after() {
        answer.insert("Retry-After", seconds.to_string());
    }
    if let Refusal::Method(allowed) = refusal {
        answer.insert("Allow", *allowed);
    }
}

/// Answers with a refusal in the API's general error format, which the path chooses. A page of one of `origins` may read it.
/// Returns false as [`write()`] does.
pub async fn refuse(
    session: &mut ClientSession,
    refusal: &Refusal,
    path: &str,
    origins: &[AllowedOrigin],
    request_id: &RequestId,
    within: Duration,
) -> bool {
    let format = RefusalFormat::of_path(path);
    let body = Bytes::from(reply::refusal(format, refusal.status(), &refusal.reason()));
    let mut answer = AnswerHead::new(refusal.status(), format.content_type(), Some(body.len()), request_id);
    add_refusal_fields(&mut answer, refusal);
    cors::add_fields(&mut answer, session, origins);
    write(session, &answer, body, within).await
}

/// Answers with the header of a refusal alone, which no flow control of a client over HTTP/2 can delay.
pub async fn refuse_without_body(
    session: &mut ClientSession,
    refusal: &Refusal,
    origins: &[AllowedOrigin],
    request_id: &RequestId,
    within: Duration,
) -> bool {
    let kind = ReplyFormat::Json.content_type();
    let mut answer = AnswerHead::new(refusal.status(), kind, Some(0), request_id);
    add_refusal_fields(&mut answer, refusal);
    cors::add_fields(&mut answer, session, origins);
    write(session, &answer, Bytes::new(), within).await
}

/// Refuses a gRPC request in the way that shows its client the text: a response that is only trailers, with status 12, UNIMPLEMENTED.
pub async fn refuse_grpc(session: &mut ClientSession, request_id: &RequestId, within: Duration) {
    let mut answer = AnswerHead::new(200, "application/grpc", None, request_id);
    answer.insert("grpc-status", "12");
    answer.insert("grpc-message", "Gatepost does not forward gRPC: connect to the service directly");
    write(session, &answer, Bytes::new(), within).await;
}

/// Reads a small body that is about to arrive before its request is refused, so that the connection can stay open.
pub async fn settle(session: &mut ClientSession) {
    let is_small = matches!(Framing::of(session.head(), false), Framing::Length(length) if length <= SMALL);
    if !is_small || session.head().fields().contains(FieldKind::Expect) {
        return;
    }
    let read = async { while let Ok(Some(_)) = session.read_body().await {} };
    // The rest is discarded after the answer, and the connection is closed.
    let _ = timeout(SETTLE_TIME, read).await;
}

/// Reads what the client still sends, within bounds. Otherwise a client that is busy sending would see a reset connection before it
/// reads its answer. Only for a request whose header was read.
pub async fn drain(session: &mut ClientSession) {
    if session.is_body_done()
        || session.head().fields().contains(FieldKind::Expect) && !session.has_read_body()
    {
        return;
    }
    let drained = timeout(DRAIN_TIME, async {
        let mut left = DRAIN_BYTES;
        while let Ok(Ok(Some(piece))) = timeout(DRAIN_PAUSE, session.read_body()).await {
            match left.checked_sub(piece.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    });
    // Whatever is left is lost with the connection.
    let _ = drained.await;
}
