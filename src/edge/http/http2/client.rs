//! A request of a client over HTTP/2, on a stream of its own.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use pingora_timeout::timeout;
use tokio::sync::Notify;

use super::given_up::GivenUp;
use super::sent_piece::{SendRoom, SentPiece};
use crate::edge::http::body::error::BodyReadError;
use crate::wire::{FieldKind, RequestHead};

/// The time in which a GET that may have a body shows whether it has one.
const FIRST_FRAME: Duration = Duration::from_millis(500);

/// The bytes of a body that are sent at once, as far as the client's window allows.
const PIECE: usize = 64 * 1024;

/// A request over HTTP/2, and its stream.
pub struct Http2Client {
    head: RequestHead,
    body: RecvStream,
    /// A piece of the body that was received and not given out yet.
    peeked: Option<Bytes>,
    body_read: u64,
    respond: SendResponse<SentPiece>,
    writer: Option<SendStream<SentPiece>>,
    /// True once the response has ended.
    ended: bool,
    /// The room for the response until a credential is accepted.
    room: Option<SendRoom>,
    /// Told of that credential.
    accepted: Option<Arc<Notify>>,
    /// The requests of the connection that its client gave up.
    given_up: Arc<GivenUp>,
}

impl Http2Client {
    /// Takes over a stream whose request's header was read. `given_up` counts it if the client gives it up.
    pub fn new(
        request: Request<RecvStream>,
        respond: SendResponse<SentPiece>,
        given_up: Arc<GivenUp>,
    ) -> Http2Client {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let length = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let count = parts.headers.len();
        let mut head = RequestHead::of_http2(parts.method, target.as_bytes(), authority, count, length);
        for (name, value) in &parts.headers {
            head.append(name.as_str().as_bytes(), value.as_bytes());
        }
        Http2Client {
            head,
            body,
            peeked: None,
            body_read: 0,
            respond,
            writer: None,
            ended: false,
            room: None,
            accepted: None,
            given_up,
        }
    }

    /// The request.
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Finds out if the request has a body where its header doesn't say so. A stream may end by an empty frame behind the header,
    /// which is no body.
    pub async fn settle_body(&mut self) {
        if self.body.is_end_stream() || self.head.fields().contains(FieldKind::ContentLength) {
            return;
        }
        // No room is taken yet for a header that will be refused as too large.
        if self.head.check_http2_size().is_err() {
            return;
        }
        if matches!(*self.head.method(), Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) {
            // A client that sends no frame has a body that begins late.
            let _ = timeout(FIRST_FRAME, self.peek()).await;
        } else {
            // A frame that came with the header is there.
            let mut peek = std::pin::pin!(self.peek());
            poll_fn(|cx| Poll::Ready(peek.as_mut().poll(cx).is_ready())).await;
        }
    }

    async fn peek(&mut self) {
        if let Ok(piece) = self.receive().await {
            self.peeked = piece;
        }
    }

    /// Returns true if the request has no body.
    pub fn is_body_empty(&self) -> bool {
        self.body_read == 0 && self.is_body_done()
    }

    /// Returns true if the whole body was given out.
    pub fn is_body_done(&self) -> bool {
        self.peeked.is_none() && self.body.is_end_stream()
    }

    /// Returns true if a part of the body was given out.
    pub fn has_read_body(&self) -> bool {
        self.body_read > 0
    }

    /// The next piece of the body; `None` at its end. Trailers are left out. Cancel safe.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn read_body(&mut self) -> Result<Option<Bytes>, BodyReadError> {
        let piece = match self.peeked.take() {
            Some(piece) => Some(piece),
            None => self.receive().await?,
        };
        let Some(piece) = piece else { return Ok(None) };
        self.body_read += piece.len() as u64;
        // The window opens as the body is given out. Where that fails, the stream is gone.
        let _ = self.body.flow_control().release_capacity(piece.len());
        Ok(Some(piece))
    }

    /// The next piece that isn't empty.
    async fn receive(&mut self) -> Result<Option<Bytes>, BodyReadError> {
        loop {
            match self.body.data().await {
                Some(Ok(piece)) if piece.is_empty() && !self.body.is_end_stream() => {}
                Some(Ok(piece)) => return Ok(Some(piece).filter(|piece| !piece.is_empty())),
                Some(Err(_)) => return Err(BodyReadError::Gone),
                None => return Ok(None),
            }
        }
    }

    /// Returns true if Gatepost has reset the stream, because its body violates the protocol: most likely, it is longer or shorter than
    /// `content-length` says.
    pub fn is_invalid(&mut self) -> bool {
        let mut now = Context::from_waker(Waker::noop());
        loop {
            match self.body.poll_data(&mut now) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return error.is_reset() && error.is_library(),
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
    }

    /// Resolves once the client has reset the stream or is gone. Cancel safe.
    pub async fn gone(&mut self) {
        let _ = poll_fn(|cx| match &mut self.writer {
            Some(writer) => writer.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        })
        .await;
    }

    /// Has the response take room as far as the client doesn't read it, until [`Http2Client::note_accepted`], which `accepted` is told of.
    pub fn set_room(&mut self, room: SendRoom, accepted: Arc<Notify>) {
        self.room = Some(room);
        self.accepted = Some(accepted);
    }

    /// Notes that a credential was accepted. The response takes no room.
    pub fn note_accepted(&mut self) {
        self.room = None;
        if let Some(accepted) = self.accepted.take() {
            accepted.notify_one();
        }
    }

    /// Sends an interim response, such as a 103.
    ///
    /// # Errors
    /// The client takes no more.
    pub fn write_interim(&mut self, response: Response<()>) -> io::Result<()> {
        self.respond.send_informational(response).map_err(io::Error::other)
    }

    /// Sends a 100, unless the whole body is there or the response has begun.
    ///
    /// # Errors
    /// The client takes no more.
    pub fn say_continue(&mut self) -> io::Result<()> {
        if self.body.is_end_stream() || self.writer.is_some() {
            return Ok(());
        }
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        self.write_interim(response)
    }

    /// Writes the header of a response. With `ends` there is no body, and the same frame says so.
    ///
    /// # Errors
    /// The client takes no more.
    pub fn write_head(&mut self, response: Response<()>, ends: bool) -> io::Result<()> {
        self.ended = ends;
        self.writer = Some(self.respond.send_response(response, ends).map_err(io::Error::other)?);
        Ok(())
    }

    /// Writes a piece of the response's body. With `ends` it is the last one, and the same frame says so.
    ///
    /// # Errors
    /// The client takes no more.
    pub async fn write_body(&mut self, mut piece: Bytes, ends: bool) -> io::Result<()> {
        if self.ended || piece.is_empty() && !ends {
            return Ok(());
        }
        let room = match &self.room {
            Some(room) if !piece.is_empty() => {
                let taken = room.take(piece.len()).await;
                Some(taken.ok_or_else(|| io::Error::other("too much waits for clients that read nothing"))?)
            }
            _ => None,
        };
        let Some(writer) = &mut self.writer else { return Err(io::ErrorKind::NotConnected.into()) };
        loop {
            let part = match piece.is_empty() {
                true => 0,
                false => capacity(writer, piece.len().min(PIECE)).await?.min(piece.len()),
            };
            let last = part == piece.len();
            let part = SentPiece::new(piece.split_to(part), room.clone());
            writer.send_data(part, ends && last).map_err(io::Error::other)?;
            if last {
                self.ended = ends;
                return Ok(());
            }
        }
    }

    /// Ends the stream, if the response hasn't.
    pub fn finish(&mut self) {
        if let Some(writer) = self.writer.as_mut().filter(|_| !self.ended) {
            // Where that fails, the stream is gone.
            let _ = writer.send_data(SentPiece::new(Bytes::new(), None), true);
        }
    }
}

impl Drop for Http2Client {
    fn drop(&mut self) {
        // Without a header of a response, only the client can have ended the stream.
        let mut now = Context::from_waker(Waker::noop());
        self.given_up.note(self.writer.is_none() && self.respond.poll_reset(&mut now).is_ready());
    }
}

/// Waits until the client takes something, and returns how many of the `wanted` bytes.
async fn capacity(writer: &mut SendStream<SentPiece>, wanted: usize) -> io::Result<usize> {
    writer.reserve_capacity(wanted);
    loop {
        // What is there already is not announced again.
        let there = writer.capacity();
        if there > 0 {
            return Ok(there);
        }
        match poll_fn(|cx| writer.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(io::Error::other(error)),
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
