//! A connection to a backend over HTTP/1. What the backend does not take is kept, and goes out while its response is awaited. So
//! writing a request's body never keeps Gatepost from reading the response.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use pingora_core::protocols::Stream;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::body_reader::{BodyPart, BodyReader};
use crate::edge::net::nonblocking;
use crate::edge::net::tcp_stream::GatheringStream;
use crate::wire::{BodyLength, ChunkedError, HeadError, ResponseHead};

/// The room for a header in the first read.
const HEADER_READ: usize = 4 * 1024;

/// The least room in a read, below which the buffer is made larger.
const LEAST_READ: usize = 1024;

/// Larger pieces of a body are not copied.
const SMALL_PIECE: usize = 16 * 1024;

/// The most early hints (103) before a response. Each is passed on to the client. Other interim responses, such as a 102 that a slow
/// backend repeats, are not.
const MOST_HINTS: usize = 32;

/// A buffer that grew above this many bytes is given back with the connection.
const KEPT: usize = 8 * 1024;

/// The reason that a backend yields no more of its response.
#[derive(Debug, Error)]
pub enum ResponseError {
    /// The end of its connection, before that of this part.
    #[error("connection closed before the end of the {0}")]
    Closed(&'static str),
    /// The connection was lost.
    #[error(transparent)]
    Lost(#[from] io::Error),
    /// The response can't be read.
    #[error("invalid response: {0}")]
    Head(#[from] HeadError),
    /// Early hints come without end.
    #[error("more than {MOST_HINTS} early hints (103)")]
    TooManyHints,
    /// The body deviates from the chunked coding.
    #[error("invalid chunked body: {0}")]
    Chunked(#[from] ChunkedError),
}

/// An event on the connection.
#[derive(Debug)]
pub enum BackendEvent {
    /// Everything that was queued is sent; false if the backend takes no more. It may still respond.
    Sent(bool),
    /// The head of a response was read. The length of its body is for the caller to say, by [`Http1Backend::begin_body`].
    Head,
    /// A piece of the body, which is never empty.
    Piece(Bytes),
    /// The end of the body.
    End,
}

/// A connection to a backend.
#[derive(Debug)]
pub struct Http1Backend {
    stream: Stream,
    received: BytesMut,
    head: ResponseHead,
    /// The rest of the response's body, once its head was read.
    body: Option<BodyReader>,
    /// True once an interim response came before it, and the number of those that were early hints.
    has_begun: bool,
    hints: usize,
    /// The bytes to be written next: these, then a piece of a body, then the end of its chunk.
    unsent: Vec<u8>,
    sent: usize,
    piece: Bytes,
    piece_end: &'static [u8],
    /// True while something was written and may not have been sent.
    waits: bool,
    /// True once the backend takes no more.
    failed: bool,
}

impl Http1Backend {
    /// Takes over a new connection.
    pub fn new(stream: Stream) -> Http1Backend {
        Http1Backend {
            stream,
            received: BytesMut::new(),
            head: ResponseHead::default(),
            body: None,
            has_begun: false,
            hints: 0,
            unsent: Vec::new(),
            sent: 0,
            piece: Bytes::new(),
            piece_end: b"",
            waits: false,
            failed: false,
        }
    }

    /// Returns true if a kept connection is open and has sent nothing.
    pub fn is_quiet(&mut self) -> bool {
        self.received.is_empty()
            && match GatheringStream::of(&self.stream) {
                Some(socket) => socket.is_quiet(),
                None => nonblocking::is_quiet(&mut self.stream),
            }
    }

    /// Begins a request: queues its head, which is a whole header.
    pub fn begin(&mut self, head: &[u8]) {
        self.body = None;
        self.has_begun = false;
        self.hints = 0;
        self.queue(head);
    }

    /// Queues a piece of the request's body. Nothing else may wait then, but the head.
    pub fn queue_body(&mut self, piece: Bytes, is_chunked: bool) {
        if piece.is_empty() {
            return;
        }
        if is_chunked {
            self.queue(format!("{:x}\r\n", piece.len()).as_bytes());
            self.piece_end = b"\r\n";
        }
        self.waits = true;
        if piece.len() > SMALL_PIECE {
            self.piece = piece;
        } else {
            self.unsent.extend_from_slice(&piece);
            self.unsent.extend_from_slice(std::mem::take(&mut self.piece_end));
        }
    }

    /// Returns true if a piece waits after which no other can be queued.
    pub fn has_large_piece(&self) -> bool {
        !self.piece.is_empty()
    }

    /// Queues the last chunk.
    pub fn queue_last_chunk(&mut self) {
        self.queue(b"0\r\n\r\n");
    }

    fn queue(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.waits = true;
    }

    /// Returns true if the backend hasn't taken everything yet.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Forgets what the backend hasn't taken, since it takes no more.
    pub fn give_up(&mut self) {
        self.unsent.clear();
        self.sent = 0;
        self.piece = Bytes::new();
        self.piece_end = b"";
        self.waits = false;
        self.failed = true;
    }

    /// Returns true if an interim response came: the backend has begun to process the request.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The head of the response that was read last.
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Sets how the body of the response ends, and returns its first piece if that came with the head.
    ///
    /// # Errors
    /// [`ChunkedError`] if the part of the body that came is invalid.
    pub fn begin_body(&mut self, length: BodyLength) -> Result<Option<Bytes>, ChunkedError> {
        let body = self.body.insert(BodyReader::new(length));
        body.check(&self.received)?;
        match body.next(&mut self.received)? {
            BodyPart::Piece(piece) => {
                body.settle(&mut self.received);
                Ok(Some(piece))
            }
            BodyPart::End | BodyPart::NeedMore => Ok(None),
        }
    }

    /// Returns true if the whole response was read.
    pub fn is_done(&self) -> bool {
        self.body.as_ref().is_some_and(BodyReader::is_done)
    }

    /// Returns true if another request can be sent after this response.
    pub fn is_reusable(&self) -> bool {
        self.is_done() && !self.waits && !self.failed && self.received.is_empty() && self.head.keeps_open()
    }

    /// Makes the connection small before it is kept.
    pub fn shrink(&mut self) {
        self.head.shrink(KEPT);
        if self.received.capacity() > KEPT {
            self.received = BytesMut::new();
        }
        if self.unsent.capacity() > KEPT {
            self.unsent = Vec::new();
        }
    }

    /// The next event. Sends what waits meanwhile. Cancel safe.
    ///
    /// # Errors
    /// Nothing more of the response comes.
    pub async fn next(&mut self) -> Result<BackendEvent, ResponseError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Sends what waits, as far as the backend takes it at once. Returns the same as [`BackendEvent::Sent`]; `None` if something still
    /// waits.
    pub async fn send_now(&mut self) -> Option<bool> {
        poll_fn(|cx| {
            self.poll_waiting(cx);
            Poll::Ready((!self.waits).then_some(!self.failed))
        })
        .await
    }

    /// Sends what waits.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(sent) = self.poll_send(cx) {
            if sent.is_err() {
                self.give_up();
            }
            self.waits = false;
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<BackendEvent, ResponseError>> {
        let waited = self.waits;
        if waited {
            self.poll_waiting(cx);
        }
        match self.poll_response(cx) {
            Poll::Pending if waited && !self.waits => Poll::Ready(Ok(BackendEvent::Sent(!self.failed))),
            other => other,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            self.sent += ready!(poll_write(&mut self.stream, &self.unsent[self.sent..], cx))?;
        }
        self.unsent.clear();
        self.sent = 0;
        while !self.piece.is_empty() {
            let written = ready!(poll_write(&mut self.stream, &self.piece, cx))?;
            self.piece.advance(written);
        }
        while !self.piece_end.is_empty() {
            let written = ready!(poll_write(&mut self.stream, self.piece_end, cx))?;
            self.piece_end = &self.piece_end[written..];
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<BackendEvent, ResponseError>> {
        loop {
            if let Some(event) = self.take_event()? {
                return Poll::Ready(Ok(event));
            }
            let wanted = self.body.as_ref().map_or(HEADER_READ, BodyReader::wanted);
            if self.received.capacity() - self.received.len() < wanted.min(LEAST_READ) {
                self.received.reserve(wanted);
            }
            if ready!(pin!(self.stream.read_buf(&mut self.received)).poll(cx))? == 0 {
                self.failed = true;
                return Poll::Ready(match &mut self.body {
                    Some(body @ BodyReader::UntilClose) => {
                        *body = BodyReader::Done;
                        Ok(BackendEvent::End)
                    }
                    Some(_) => Err(ResponseError::Closed("body")),
                    None => Err(ResponseError::Closed("header")),
                });
            }
        }
    }

    /// The event that is due to what was received; `None` if that takes more.
    fn take_event(&mut self) -> Result<Option<BackendEvent>, ResponseError> {
        let Some(body) = &mut self.body else {
            let read = if self.received.is_empty() { None } else { self.head.read(&self.received)? };
            let Some(length) = read else { return Ok(None) };
            self.received.advance(length);
            self.has_begun |= self.head.is_interim();
            self.hints += usize::from(self.head.status() == 103);
            if self.hints > MOST_HINTS {
                return Err(ResponseError::TooManyHints);
            }
            return Ok(Some(BackendEvent::Head));
        };
        Ok(match body.next(&mut self.received)? {
            BodyPart::Piece(piece) => {
                body.settle(&mut self.received);
                Some(BackendEvent::Piece(piece))
            }
            BodyPart::End => Some(BackendEvent::End),
            BodyPart::NeedMore => None,
        })
    }

    /// The connection and the bytes that were received, for another protocol.
    pub fn switch(self) -> (Stream, Bytes) {
        (self.stream, self.received.freeze())
    }
}

fn poll_write(stream: &mut Stream, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    // Without a copy, and without a call for the flush.
    if let Some(socket) = GatheringStream::of(stream)
        && let written @ 1.. = socket.write_now(bytes)?
    {
        return Poll::Ready(Ok(written));
    }
    match ready!(Pin::new(stream).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(Ok(written)),
    }
}

#[cfg(test)]
mod tests;
