//! The client's side of SMTP on a connection to a backend: commands and replies.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use pingora_timeout::timeout;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::transport::BackendTransport;
use crate::config::SmtpTimeouts;
use crate::edge::net::deadline::DeadlineTimer;
use crate::edge::net::nonblocking;
use crate::wire::smtp::Reply;
use crate::wire::smtp::client::{self, ReplyError, ServiceExtensions, XclientAttributes};

/// What is written is gathered up to this many bytes; what is larger goes straight to the kernel.
const GATHER: usize = 16 * 1024;
/// ConnectionPermit for what is read at once.
const READ: usize = 1024;
/// A client that pauses for longer has what was gathered of its message sent on.
const PAUSE: Duration = Duration::from_secs(1);
/// After so many refusals in a row, a connection is used for no other transaction.
const REFUSALS: u32 = 5;
/// How long a backend's last words are waited for once it takes no more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a connection can't be used any more.
#[derive(Debug, Error)]
pub enum BackendError {
    /// It doesn't extensions what the client's parameters ask for, or not for a message of that size.
    #[error("it doesn't extensions what the message needs")]
    MissingExtension,
    /// The network, or TLS.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ended.
    #[error("it closed the connection")]
    Closed,
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// What it sent is no reply.
    #[error("it sent {0}")]
    MalformedReply(#[from] ReplyError),
    /// It sent a reply to nothing.
    #[error("it sent a reply that nobody asked for")]
    UnexpectedReply,
    /// Less, or more, was written than was announced: ours is the fault, and the connection is of no use.
    #[error("the message wasn't relayed as it was announced")]
    IncompleteMessage,
    /// It said 421, or refused in the middle of a message and closed.
    #[error("it ended with {0}")]
    ClosingReply(Reply),
}

/// A connection on which the backend has said its greeting and its extensions.
#[derive(Debug)]
pub struct BackendClient {
    transport: BackendTransport,
    incoming: BytesMut,
    outgoing: Vec<u8>,
    alarm: DeadlineTimer,
    timeouts: SmtpTimeouts,
    /// What the backend said last that it can do.
    pub extensions: ServiceExtensions,
    /// The XCLIENT that it offered at the beginning: it may say less of itself once it believes us to be somebody else.
    pub xclient_offered: Option<XclientAttributes>,
    /// The XCLIENT command that is in force; empty where none is.
    pub xclient_sent: Vec<u8>,
    /// Whether MAIL was said and the transaction isn't over.
    pub in_transaction: bool,
    last_used: Instant,
    /// Written by the way, and maybe still in the buffers of TLS.
    unflushed: bool,
    /// Refusals since it took a message last.
    refusals: u32,
}

impl BackendClient {
    /// Begins on a connection that nothing was read from.
    pub fn new(transport: BackendTransport, timeouts: SmtpTimeouts) -> BackendClient {
        BackendClient {
            transport,
            incoming: BytesMut::new(),
            outgoing: Vec::new(),
            alarm: DeadlineTimer::default(),
            timeouts,
            extensions: ServiceExtensions::default(),
            xclient_offered: None,
            xclient_sent: Vec::new(),
            in_transaction: false,
            last_used: Instant::now(),
            unflushed: false,
            refusals: 0,
        }
    }

    /// When it was given back last.
    pub fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Notes that it was used just now.
    pub fn touch(&mut self) {
        self.last_used = Instant::now();
    }

    /// Whether it is still open and the backend has said nothing unasked.
    pub fn is_quiet(&mut self) -> bool {
        self.incoming.is_empty() && self.outgoing.is_empty() && nonblocking::is_quiet(&mut self.transport)
    }

    /// Notes that a message was accepted: what was refused before isn't held against us any more.
    pub fn note_accepted(&mut self) {
        self.refusals = 0;
    }

    /// Whether so much was refused on it that the backend may think ill of who comes next: servers slow down, and then close,
    /// a connection on which nothing but errors happens.
    pub fn is_worn(&self) -> bool {
        self.refusals >= REFUSALS
    }

    /// Says goodbye without waiting for an answer.
    pub fn close(mut self) {
        if self.outgoing.is_empty() {
            self.transport.write_now(b"QUIT\r\n");
        }
    }

    /// The transport, for STARTTLS. `None` where the backend has already sent more: in clear, and so it may be anybody's.
    pub fn into_clean_transport(self) -> Option<BackendTransport> {
        (self.incoming.is_empty() && self.outgoing.is_empty()).then_some(self.transport)
    }

    /// Queues parts of a command.
    pub fn queue(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.outgoing.extend_from_slice(part);
        }
    }

    /// How many bytes are queued.
    pub fn queued(&self) -> usize {
        self.outgoing.len()
    }

    /// Sends what is queued; no reply may be pending.
    pub async fn send(&mut self) -> Result<(), BackendError> {
        self.expect_silence()?;
        self.flush(self.timeouts.command).await
    }

    /// Sends one command, made of parts, and waits for its reply.
    pub async fn exchange(&mut self, parts: &[&[u8]]) -> Result<Reply, BackendError> {
        self.queue(parts);
        self.send().await?;
        self.reply().await
    }

    /// The reply to a command that was sent.
    pub async fn reply(&mut self) -> Result<Reply, BackendError> {
        self.reply_within(self.timeouts.command).await
    }

    /// What there is to do while the client is waited for, `since` then: hears what the backend says unasked, and sends on what
    /// was gathered of a message once the client pauses. Ready once the client is over, and to be polled until then.
    pub fn poll_idle(&mut self, since: Instant, cx: &mut Context<'_>) -> Poll<BackendError> {
        if let Poll::Ready(broken) = self.poll_unasked(cx) {
            return Poll::Ready(broken);
        }
        if self.outgoing.is_empty() && !self.unflushed {
            return Poll::Pending;
        }
        ready!(self.alarm.poll(since + PAUSE, cx));
        self.poll_send(cx)
    }

    /// That nothing was said since the last reply: it would be taken for the answer to what comes now. A refusal of the
    /// message is one, however early it comes.
    ///
    /// # Errors
    /// Where something was said, or the backend is gone.
    pub fn expect_no_answer(&mut self) -> Result<(), BackendError> {
        if self.incoming.is_empty() && !self.transport.may_have_unread() {
            return Ok(());
        }
        match nonblocking::poll(|cx| self.poll_unasked(cx)) {
            Poll::Ready(broken) => Err(broken),
            Poll::Pending if self.incoming.is_empty() => Ok(()),
            Poll::Pending => Err(BackendError::UnexpectedReply),
        }
    }

    /// The reply to the end of a message or chunk.
    pub async fn final_reply(&mut self) -> Result<Reply, BackendError> {
        self.reply_within(self.timeouts.data).await
    }

    /// Takes a piece of a message. Returns once it is sent or gathered.
    pub async fn content(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        if self.outgoing.len() + bytes.len() <= GATHER {
            self.outgoing.extend_from_slice(bytes);
            return Ok(());
        }
        self.pour(bytes, b"").await
    }

    /// Sends what was gathered of a message, and the last `bytes` of it with their `end`: all at once, where that fits.
    pub async fn flush_content(&mut self, bytes: &[u8], end: &[u8]) -> Result<(), BackendError> {
        // What went out in full may be answered by now.
        if !(self.outgoing.is_empty() && bytes.is_empty() && end.is_empty()) {
            self.expect_no_answer()?;
        }
        self.pour(bytes, end).await?;
        match self.flush(self.timeouts.data).await {
            Err(broken @ (BackendError::Io(_) | BackendError::Closed)) => Err(self.last_words(broken).await),
            flushed => flushed,
        }
    }

    /// Hears what the backend says while nothing was asked.
    fn poll_unasked(&mut self, cx: &mut Context<'_>) -> Poll<BackendError> {
        loop {
            if !self.incoming.is_empty() {
                match client::reply(&self.incoming) {
                    Ok(Some((reply, _))) if reply.code() >= 400 => {
                        return Poll::Ready(BackendError::ClosingReply(reply));
                    }
                    Ok(Some(_)) => return Poll::Ready(BackendError::UnexpectedReply),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(error.into()),
                }
            }
            let mut bytes = [0; 256];
            let mut buffer = ReadBuf::new(&mut bytes);
            if let Err(error) = ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buffer)) {
                return Poll::Ready(error.into());
            }
            if buffer.filled().is_empty() {
                return Poll::Ready(BackendError::Closed);
            }
            self.incoming.extend_from_slice(buffer.filled());
        }
    }

    /// Sends what is queued as far as it goes; whoever polls may stop at any time. Never ready but where the client is
    /// over.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<BackendError> {
        while !self.outgoing.is_empty() {
            self.unflushed = true;
            match ready!(Pin::new(&mut self.transport).poll_write(cx, &self.outgoing)) {
                Ok(0) => return Poll::Ready(BackendError::Closed),
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(error) => return Poll::Ready(error.into()),
            }
        }
        if let Err(error) = ready!(Pin::new(&mut self.transport).poll_flush(cx)) {
            return Poll::Ready(error.into());
        }
        self.unflushed = false;
        Poll::Pending
    }

    /// Writes what was gathered, and these.
    async fn pour(&mut self, bytes: &[u8], end: &[u8]) -> Result<(), BackendError> {
        let mut slices = [IoSlice::new(&self.outgoing), IoSlice::new(bytes), IoSlice::new(end)];
        let mut left = &mut slices[..];
        // Empty ones at the beginning would look like an end.
        IoSlice::advance_slices(&mut left, 0);
        if !left.is_empty() {
            match self.transport.try_write(left) {
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) => return Err(self.last_words(error.into()).await),
            }
        }
        while !left.is_empty() {
            let broken = match timeout(self.timeouts.data, self.transport.write_vectored(left)).await {
                Ok(Ok(written @ 1..)) => {
                    IoSlice::advance_slices(&mut left, written);
                    continue;
                }
                Ok(Ok(0)) => BackendError::Closed,
                Ok(Err(error)) => error.into(),
                Err(_) => return Err(BackendError::Timeout(self.timeouts.data)),
            };
            return Err(self.last_words(broken).await);
        }
        self.outgoing.clear();
        Ok(())
    }

    /// A backend that closes while it is sent a message may have said why before.
    async fn last_words(&mut self, broken: BackendError) -> BackendError {
        match self.reply_within(LAST_WORDS).await {
            Ok(reply) if reply.code() >= 400 => BackendError::ClosingReply(reply),
            Err(farewell @ BackendError::ClosingReply(_)) => farewell,
            _ => broken,
        }
    }

    /// A reply that is there before its command would be taken for that command's.
    fn expect_silence(&mut self) -> Result<(), BackendError> {
        match self.expect_no_answer() {
            Err(BackendError::ClosingReply(reply)) if reply.code() != 421 => {
                Err(BackendError::UnexpectedReply)
            }
            silent => silent,
        }
    }

    async fn flush(&mut self, patience: Duration) -> Result<(), BackendError> {
        let mut sent = match self.outgoing.is_empty() {
            true => 0,
            false => self.transport.try_write(&[IoSlice::new(&self.outgoing)])?,
        };
        while sent < self.outgoing.len() {
            match timeout(patience, self.transport.write(&self.outgoing[sent..])).await {
                Ok(Ok(0)) => return Err(BackendError::Closed),
                Ok(Ok(written)) => sent += written,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(BackendError::Timeout(patience)),
            }
        }
        self.outgoing.clear();
        if let BackendTransport::Tls(stream) = &mut self.transport {
            match timeout(patience, stream.flush()).await {
                Ok(flushed) => flushed?,
                Err(_) => return Err(BackendError::Timeout(patience)),
            }
        }
        Ok(())
    }

    async fn reply_within(&mut self, patience: Duration) -> Result<Reply, BackendError> {
        let (transport, incoming) = (&mut self.transport, &mut self.incoming);
        let read = self.alarm.within(patience, read_reply(transport, incoming)).await;
        let reply = read.unwrap_or(Err(BackendError::Timeout(patience)))?;
        if reply.code() >= 400 {
            self.refusals += 1;
        }
        Ok(reply)
    }
}

async fn read_reply(
    transport: &mut BackendTransport,
    incoming: &mut BytesMut,
) -> Result<Reply, BackendError> {
    loop {
        if !incoming.is_empty()
            && let Some((reply, taken)) = client::reply(incoming)?
        {
            incoming.advance(taken);
            return if reply.code() == 421 { Err(BackendError::ClosingReply(reply)) } else { Ok(reply) };
        }
        incoming.reserve(READ);
        if transport.read_buf(incoming).await? == 0 {
            return Err(BackendError::Closed);
        }
    }
}
