//! Responses to clients: those that Gatepost writes itself, on a connection that stays open where it can, and the header of a
//! backend's.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderValue};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client_stream::ClientStream;
use super::cors;
use super::error::Refusal;
use super::framing::ValidatedStream;
use super::headers::response::{Incoming, framing_of, incoming, incoming_bytes};
use super::request_id::REQUEST_ID;
use crate::config::AllowedOrigin;
use crate::wire::{RefusalFormat, ReplyFormat, reply};

/// The most bytes of an unwanted body that are read and discarded, so that the client can read the answer.
const DRAIN_BYTES: usize = 64 << 20;

/// The most bytes of a body that are read before its request is refused, and the time for that.
const SMALL: u64 = 64 * 1024;
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// The time for discarding in all, and without any progress.
const DRAIN_TIME: Duration = Duration::from_secs(20);
const DRAIN_PAUSE: Duration = Duration::from_secs(3);

/// The same for bytes that belong to no request.
const LINGER_BYTES: usize = 16 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Writes a whole answer, without `body` if the request is HEAD. Returns false if it can't be written. What was written may still be
/// lost until the session is finished.
pub async fn write(
    session: &mut ServerSession,
    header: ResponseHeader,
    body: Bytes,
    within: Duration,
) -> bool {
    // Over HTTP/1 pingora leaves the body out.
    let is_head =
        matches!(session, ServerSession::H2(session) if session.req_header().method == Method::HEAD);
    let ends = is_head || body.is_empty();
    let written = timeout(within, async {
        write_header(session, Box::new(header), ends).await?;
        if ends { Ok(()) } else { session.write_response_body(body, true).await }
    });
    matches!(written.await, Ok(Ok(())))
}

/// Writes the header of an answer. With `ends` there is no body. Over HTTP/2 the same frame says so, and no DATA frame follows, not
/// even an empty one.
///
/// # Errors
/// The client takes no more.
pub async fn write_header(
    session: &mut ServerSession,
    header: Box<ResponseHeader>,
    ends: bool,
) -> pingora_error::Result<()> {
    match session {
        ServerSession::H2(session) => session.write_response_header(header, ends),
        _ => {
            session.write_response_header(header).await?;
            if ends { session.write_response_body(Bytes::new(), true).await } else { Ok(()) }
        }
    }
}

/// The reason that the header of a backend's response wasn't written.
pub enum RelayError {
    /// It can't be written for any client.
    Response(Box<pingora_error::Error>),
    /// The client takes no more.
    Client,
}

/// Writes the header of a backend's response. `ends` as in [`write_header`].
///
/// # Errors
/// [`RelayError`]
pub async fn write_relayed_header(
    session: &mut ServerSession,
    response: &ResponseHeader,
    with: &Incoming<'_>,
    ends: bool,
) -> Result<(), RelayError> {
    let Some(client) = client_stream(session) else {
        let header = incoming(response, with).map_err(RelayError::Response)?;
        return write_header(session, Box::new(header), ends).await.map_err(|_| RelayError::Client);
    };
    let header = incoming_bytes(response, with).map_err(RelayError::Response)?;
    // pingora frames the body as this header says.
    let framing = framing_of(response, with).map_err(RelayError::Response)?;
    client.replace_header(header);
    let written = write_header(session, Box::new(framing), ends).await;
    let is_lost = client_stream(session).is_none_or(ClientStream::withdraw_header);
    if written.is_err() || is_lost { Err(RelayError::Client) } else { Ok(()) }
}

/// The connection of a client over HTTP/1.
fn client_stream(session: &ServerSession) -> Option<&ClientStream> {
    let stream = session.stream()?;
    let validated = (**stream).as_any().downcast_ref::<ValidatedStream>();
    let stream = validated.map_or(stream, ValidatedStream::inner);
    (**stream).as_any().downcast_ref()
}

/// The header of an answer with a body of `length` bytes.
pub fn header(
    status: u16,
    content_type: &'static str,
    length: usize,
    request_id: &HeaderValue,
) -> pingora_error::Result<ResponseHeader> {
    let mut answer = ResponseHeader::build(status, Some(8))?;
    answer.insert_header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))?;
    answer.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?;
    answer.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    answer.insert_header(REQUEST_ID, request_id)?;
    Ok(answer)
}

/// Adds the fields of a refusal: `WWW-Authenticate`, `Retry-After`, `Allow`.
///
/// # Errors
/// A field can't be written.
pub fn add_refusal_fields(answer: &mut ResponseHeader, refusal: &Refusal) -> pingora_error::Result<()> {
    if let Some(challenge) = refusal.challenge() {
        answer.insert_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))?;
    }
    if let Some(seconds) = refusal.retry_after() {
        answer.insert_header(header::RETRY_AFTER, HeaderValue::from(seconds))?;
    }
    if let Refusal::Method(allowed) = refusal {
        answer.insert_header(header::ALLOW, HeaderValue::from_static(allowed))?;
    }
    Ok(())
}

/// Answers with a refusal in the API's general error format, which the path chooses. A page of one of `origins` may read it.
/// Returns false as [`write()`] does.
pub async fn refuse(
    session: &mut ServerSession,
    refusal: &Refusal,
    path: &str,
    origins: &[AllowedOrigin],
    request_id: &HeaderValue,
    within: Duration,
) -> bool {
    let format = RefusalFormat::of_path(path);
    let body = Bytes::from(reply::refusal(format, refusal.status(), &refusal.reason()));
    let answer =
        header(refusal.status(), format.content_type(), body.len(), request_id).and_then(|mut answer| {
            add_refusal_fields(&mut answer, refusal)?;
            cors::add_fields(&mut answer, session, origins)?;
            Ok(answer)
        });
    let Ok(answer) = answer else { return false };
    write(session, answer, body, within).await
}

/// Answers with the header of a refusal alone, which no flow control of a client over HTTP/2 can delay.
pub async fn refuse_without_body(
    session: &mut ServerSession,
    refusal: &Refusal,
    origins: &[AllowedOrigin],
    request_id: &HeaderValue,
    within: Duration,
) -> bool {
    let answer =
        header(refusal.status(), ReplyFormat::Json.content_type(), 0, request_id).and_then(|mut answer| {
            add_refusal_fields(&mut answer, refusal)?;
            cors::add_fields(&mut answer, session, origins)?;
            Ok(answer)
        });
    let Ok(answer) = answer else { return false };
    write(session, answer, Bytes::new(), within).await
}

/// Tells a client that waits for a 100 to send its body (RFC 9110 section 10.1.1). Returns false if that can't be written.
pub async fn say_continue(session: &mut ServerSession, within: Duration) -> bool {
    matches!(timeout(within, session.write_continue_response()).await, Ok(Ok(())))
}

/// Reads a small body that is about to arrive before its request is refused, so that the connection can stay open.
pub async fn settle(session: &mut ServerSession) {
    let length =
        session.get_header(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_none_or(|length| length > SMALL) || session.get_header(header::EXPECT).is_some() {
        return;
    }
    let read = async { while let Ok(Some(_)) = session.read_request_body().await {} };
    // The rest is discarded after the answer, and the connection is closed.
    let _ = timeout(SETTLE_TIME, read).await;
}

/// Reads what the client still sends, within bounds. Otherwise a client that is busy sending would see a reset connection before it
/// reads its answer. Only for a request whose header was read.
pub async fn drain(session: &mut ServerSession) {
    if session.is_body_done()
        || session.get_header(header::EXPECT).is_some() && session.body_bytes_read() == 0
    {
        return;
    }
    let drained = timeout(DRAIN_TIME, async {
        let mut left = DRAIN_BYTES;
        while let Ok(Ok(Some(piece))) = timeout(DRAIN_PAUSE, session.read_request_body()).await {
            match left.checked_sub(piece.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    });
    // Whatever is left is lost with the connection.
    let _ = drained.await;
}

/// Closes a connection over HTTP/1 after what was written of a response that broke off.
pub async fn close_broken_off(session: ServerSession, within: Duration) {
    let ServerSession::H1(session) = session else { return };
    let mut stream = session.into_inner();
    // What can't be written is lost with the rest.
    let _ = timeout(within, stream.flush()).await;
}

/// Ends a connection on which the start of the next request can't be known: shuts down writing, and discards what the client still
/// sends, within bounds, so that it can read the answer.
pub async fn linger(mut session: ServerSession) {
    let ended = timeout(LINGER_TIME, async {
        // This sends what was written, and waits for a client that reads nothing.
        session.shutdown().await;
        let ServerSession::H1(session) = session else { return };
        let Some((mut stream, _)) = ValidatedStream::unwrap(session.into_inner(), None) else { return };
        let mut thrown_away = vec![0; 16 * 1024];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = stream.read(&mut thrown_away).await {
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    });
    let _ = ended.await;
}
