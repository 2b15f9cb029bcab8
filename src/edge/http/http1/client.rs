//! A client's connection over HTTP/1: reads its requests one after another, and writes their responses.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use pingora_core::protocols::Stream;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::body_reader::{BodyPart, BodyReader};
use crate::edge::http::body::error::BodyReadError;
use crate::edge::net::tcp_stream::GatheringStream;
use crate::wire::{HeadError, RequestHead};

/// The room for a header in the first read.
const HEADER_READ: usize = 4 * 1024;

/// The most empty lines that are ignored before a request.
const EMPTY_LINES: usize = 8;

/// The least room in a read, below which the buffer is made larger.
const LEAST_READ: usize = 1024;

/// The most bytes of further requests that are received before they are read.
const EARLY: usize = 64 * 1024;

/// Writes are gathered up to this many bytes.
const GATHER: usize = 16 * 1024;

/// A buffer that grew above this many bytes is given back when the connection is idle.
const KEPT: usize = 8 * 1024;

/// The bytes of a request that was refused, and the time for them, after which a connection is closed anyway.
const LINGER_BYTES: usize = 16 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// A client's connection.
#[derive(Debug)]
pub struct Http1Client {
    stream: Stream,
    /// The bytes that were received and not used yet. They may belong to the next requests.
    received: BytesMut,
    head: RequestHead,
    body: BodyReader,
    /// The bytes of the body that were given out.
    body_read: u64,
    /// True if the connection stays open after the response.
    stays_open: bool,
    /// True once the client sends no more. It may still read.
    half_closed: bool,
    /// True if the response's body is written in chunks.
    in_chunks: bool,
    /// The bytes to be written next.
    unsent: Vec<u8>,
    sent: usize,
}

impl Http1Client {
    /// Takes over a connection of which nothing has been read.
    pub fn new(stream: Stream) -> Http1Client {
        Http1Client {
            stream,
            received: BytesMut::new(),
            head: RequestHead::default(),
            body: BodyReader::Done,
            body_read: 0,
            stays_open: true,
            half_closed: false,
            in_chunks: false,
            unsent: Vec::new(),
            sent: 0,
        }
    }

    /// Returns true if bytes of a further request are there.
    pub fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Reads the head of the next request. Returns false if the client closed the connection before it, or within it: then
    /// [`Http1Client::has_received`] is true. Cancel safe.
    ///
    /// # Errors
    /// The request is invalid. Its connection can still be answered, and no further request can be read.
    pub async fn read_head(&mut self) -> Result<bool, HeadError> {
        self.stays_open = false;
        self.head.forget();
        let (mut empty_lines, mut scanned) = (0, 0);
        loop {
            // They are ignored (RFC 9112 section 2.2), so that the connection is still idle after them.
            while self.received.starts_with(b"\r\n") && empty_lines < EMPTY_LINES {
                self.received.advance(2);
                empty_lines += 1;
            }
            if let Some(length) = self.head.read_more(&self.received, &mut scanned)? {
                self.received.advance(length);
                self.body = BodyReader::new(self.head.body_length());
                self.body_read = 0;
                self.stays_open = self.head.keeps_open();
                return Ok(true);
            }
            match poll_fn(|cx| self.poll_receive(HEADER_READ, cx)).await {
                Ok(1..) => {}
                _ => return Ok(false),
            }
        }
    }

    /// The request.
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Returns true if the request has no body.
    pub fn is_body_empty(&self) -> bool {
        self.body_read == 0 && self.body.is_done()
    }

    /// Returns true if the whole body was given out.
    pub fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Returns true if a part of the body was given out.
    pub fn has_read_body(&self) -> bool {
        self.body_read > 0
    }

    /// Returns true if the body deviates from the chunked coding.
    pub fn is_invalid(&self) -> bool {
        matches!(self.body, BodyReader::Invalid(_))
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    ///
    /// # Errors
    /// The client is gone, or its body is invalid.
    pub async fn read_body(&mut self) -> Result<Option<Bytes>, BodyReadError> {
        loop {
            match self.body.next(&mut self.received) {
                Ok(BodyPart::Piece(piece)) => {
                    self.body.settle(&mut self.received);
                    self.body_read += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(BodyPart::End) => return Ok(None),
                Ok(BodyPart::NeedMore) => {}
                Err(deviation) => return Err(BodyReadError::Invalid(deviation)),
            }
            let wanted = self.body.wanted();
            match poll_fn(|cx| self.poll_receive(wanted, cx)).await {
                Ok(1..) => {}
                _ => return Err(BodyReadError::Gone),
            }
        }
    }

    /// Resolves once the client is gone, after the request was read. A client that only ends its own side is not gone: it may wait for
    /// the response. Bytes that it sends meanwhile are kept for the next request. Cancel safe.
    pub async fn gone(&mut self) {
        if poll_fn(|cx| self.poll_early(cx)).await.is_err() {
            return;
        }
        match GatheringStream::of(&self.stream) {
            Some(socket) if self.half_closed => socket.reset().await,
            // A write tells if the client is gone.
            _ => pending().await,
        }
    }

    /// Receives early bytes, until the client sends no more or has sent enough.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.half_closed && self.received.len() < EARLY {
            if ready!(self.poll_receive(HEADER_READ, cx))? == 0 {
                self.half_closed = true;
            }
        }
        // Nothing else wakes up what was written below.
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
        Poll::Ready(Ok(()))
    }

    /// Receives into a buffer with room for `wanted` bytes, or a good part of them.
    fn poll_receive(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity() - self.received.len() < wanted.min(LEAST_READ) {
            self.received.reserve(wanted);
        }
        pin!(self.stream.read_buf(&mut self.received)).poll(cx)
    }

    /// Returns true if the connection stays open after the response.
    pub fn stays_open(&self) -> bool {
        self.stays_open
    }

    /// Has the connection closed after the response.
    pub fn close_afterwards(&mut self) {
        self.stays_open = false;
    }

    /// Queues the head of a response, which `write` appends, and sets how its body is written.
    ///
    /// # Errors
    /// As `write`, and then nothing is queued.
    pub fn queue_head<E>(
        &mut self,
        in_chunks: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.unsent.len();
        self.in_chunks = in_chunks;
        write(&mut self.unsent).inspect_err(|_| self.unsent.truncate(before))
    }

    /// Writes a piece of the response's body. Small pieces are queued. With `ends`, this is the last one, and everything is sent.
    ///
    /// # Errors
    /// The client takes no more.
    pub async fn write_body(&mut self, piece: &[u8], ends: bool) -> io::Result<()> {
        if self.head.method() != Method::HEAD {
            self.write_piece(piece, ends).await?;
        }
        if ends { self.send().await } else { Ok(()) }
    }

    async fn write_piece(&mut self, piece: &[u8], ends: bool) -> io::Result<()> {
        if self.in_chunks && !piece.is_empty() {
            self.unsent.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        if self.unsent.len() + piece.len() > GATHER {
            self.send_queue().await?;
        }
        match piece.len() > GATHER {
            true => self.stream.write_all(piece).await?,
            false => self.unsent.extend_from_slice(piece),
        }
        if self.in_chunks && !piece.is_empty() {
            self.unsent.extend_from_slice(b"\r\n");
        }
        if self.in_chunks && ends {
            self.unsent.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(())
    }

    /// Returns true if something is queued.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Sends what is queued. Cancel safe.
    ///
    /// # Errors
    /// The client takes no more.
    pub async fn send(&mut self) -> io::Result<()> {
        if self.send_now()? {
            return Ok(());
        }
        self.send_queue().await?;
        self.stream.flush().await
    }

    /// Sends what is queued, as far as the kernel accepts it at once, if the connection isn't encrypted. Returns true if that is all.
    fn send_now(&mut self) -> io::Result<bool> {
        let Some(socket) = GatheringStream::of(&self.stream) else { return Ok(false) };
        self.sent += socket.write_now(&self.unsent[self.sent..])?;
        if self.has_unsent() || socket.has_gathered() {
            return Ok(false);
        }
        self.unsent.clear();
        self.sent = 0;
        Ok(true)
    }

    async fn send_queue(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            while self.sent < self.unsent.len() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.sent..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => self.sent += written,
                }
            }
            self.unsent.clear();
            self.sent = 0;
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Ends an exchange whose response was sent. Returns true if a further request can be read.
    pub async fn finish(&mut self, within: Duration) -> bool {
        if self.stays_open && self.body.is_done() {
            self.shrink();
            return true;
        }
        match self.body.is_done() {
            true => self.close(within).await,
            // Bytes that are never read would reset the connection before the client has read the answer.
            false => self.linger().await,
        }
        false
    }

    /// Gives back buffers that grew large before the connection is idle.
    fn shrink(&mut self) {
        self.head.shrink(KEPT);
        if self.received.is_empty() && self.received.capacity() > KEPT {
            self.received = BytesMut::new();
        }
        if self.unsent.is_empty() && self.unsent.capacity() > KEPT {
            self.unsent = Vec::new();
        }
    }

    /// Closes the connection after what was written.
    pub async fn close(&mut self, within: Duration) {
        // What can't be written is lost with the rest.
        let _ = timeout(within, async {
            self.send().await?;
            AsyncWriteExt::shutdown(&mut self.stream).await
        })
        .await;
    }

    /// Sends what was written of a response that broke off, before the connection is dropped. No end of TLS tells the client that the
    /// response is whole.
    pub async fn flush_broken_off(&mut self, within: Duration) {
        // What can't be sent is lost with the rest.
        let _ = timeout(within, self.send()).await;
    }

    /// Ends a connection on which the start of the next request can't be known: shuts down writing, and discards what the client still
    /// sends, within bounds, so that it can read the answer.
    pub async fn linger(&mut self) {
        let ended = timeout(LINGER_TIME, async {
            self.close(LINGER_TIME).await;
            let mut thrown_away = vec![0; 16 * 1024];
            let mut left = LINGER_BYTES;
            while let Ok(read @ 1..) = self.stream.read(&mut thrown_away).await {
                match left.checked_sub(read) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        });
        let _ = ended.await;
    }

    /// The connection and the bytes that were received, for another protocol.
    pub fn switch(&mut self) -> (&mut Stream, Bytes) {
        let received = std::mem::take(&mut self.received).freeze();
        (&mut self.stream, received)
    }
}
