//! The client side of SMTP on a connection to a backend: commands and replies.

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
use crate::wire::smtp::extensions::{ServiceExtensions, XclientAttributes};
use crate::wire::smtp::reply_parser::{self, ReplyError};
use crate::wire::smtp::reply_salvage::ReplySalvage;

/// The most bytes of output that are gathered. Anything larger goes straight to the kernel.
const GATHER: usize = 16 * 1024;
/// The capacity for one read, in bytes.
const READ: usize = 1024;
/// The pause of a client after which gathered content is sent on.
const PAUSE: Duration = Duration::from_secs(1);
/// The number of refusals in a row after which a connection is used for no other transaction.
const REFUSALS: u32 = 5;
/// The longest wait for the last reply of a backend that does not accept writes any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The reason why a connection to a backend can't be used any more, or not for this message.
#[derive(Debug, Error)]
pub enum BackendError {
    /// The backend does not offer an extension that the message needs, or its SIZE is too small.
    #[error("it does not offer an extension that the message needs")]
    MissingExtension,
    /// The network or TLS failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The backend closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// The backend did not reply in time.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// The backend sent something that is not a reply.
    #[error("it sent {0}")]
    MalformedReply(#[from] ReplyError),
    /// The backend sent a reply that belongs to no command.
    #[error("it sent a reply that belongs to no command")]
    UnexpectedReply,
    /// More or less was written than was announced. The cause is a defect of Gatepost; the connection is unusable.
    #[error("the length of the message differs from the announced one")]
    IncompleteMessage,
    /// The backend sent 421.
    #[error("it closed the connection with {0}")]
    ClosingReply(Reply),
    /// The backend sent a refusal that is the reply to no command. Within a message, it refuses that.
    #[error("it sent a refusal before its turn: {0}")]
    EarlyRefusal(Reply),
}

/// A connection whose greeting and EHLO reply were read.
#[derive(Debug)]
pub struct BackendClient {
    transport: BackendTransport,
    incoming: BytesMut,
    outgoing: Vec<u8>,
    alarm: DeadlineTimer,
    timeouts: SmtpTimeouts,
    /// The extensions in the backend's last EHLO reply.
    pub extensions: ServiceExtensions,
    /// The XCLIENT attributes that the backend offered at first. After an XCLIENT command it may offer none.
    pub xclient_offered: Option<XclientAttributes>,
    /// The XCLIENT command for the submitter that is in effect; empty if none is. The backend may have refused a part of it.
    pub xclient_sent: Vec<u8>,
    /// True from an accepted MAIL to the end of the transaction.
    pub in_transaction: bool,
    last_used: Instant,
    /// True if bytes may still be in the buffers of TLS.
    unflushed: bool,
    /// Refusals since the last message that was accepted.
    refusals: u32,
    /// True after a reply to a message whose end is unknown. The connection is used for nothing else.
    garbled: bool,
}

impl BackendClient {
    /// A client on a connection from which nothing was read yet.
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
            garbled: false,
        }
    }

    /// The moment at which the connection was last returned to its pool.
    pub fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Notes that the connection was used just now.
    pub fn touch(&mut self) {
        self.last_used = Instant::now();
    }

    /// Returns true if the connection is open and no bytes arrived on it.
    pub fn is_quiet(&mut self) -> bool {
        self.incoming.is_empty() && self.outgoing.is_empty() && nonblocking::is_quiet(&mut self.transport)
    }

    /// Notes that a message was accepted, which resets the count of refusals.
    pub fn note_accepted(&mut self) {
        self.refusals = 0;
    }

    /// Returns true if the connection is used for no other transaction: after a malformed reply, and after so many refusals that
    /// the backend may penalize the next one. Mail servers delay, and then close, connections on which only errors occur.
    pub fn is_worn(&self) -> bool {
        self.garbled || self.refusals >= REFUSALS
    }

    /// Sends QUIT without waiting for its reply.
    pub fn close(mut self) {
        if self.outgoing.is_empty() {
            self.transport.write_now(b"QUIT\r\n");
        }
    }

    /// The transport, for STARTTLS. `None` if the backend sent more than its reply: those bytes are unencrypted, so an
    /// attacker may have injected them.
    pub fn into_clean_transport(self) -> Option<BackendTransport> {
        (self.incoming.is_empty() && self.outgoing.is_empty()).then_some(self.transport)
    }

    /// Queues parts of a command.
    pub fn queue(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.outgoing.extend_from_slice(part);
        }
    }

    /// The number of bytes that are queued.
    pub fn queued(&self) -> usize {
        self.outgoing.len()
    }

    /// Sends what is queued. No reply may be pending.
    pub async fn send(&mut self) -> Result<(), BackendError> {
        if self.garbled {
            return Err(BackendError::UnexpectedReply);
        }
        self.expect_silence()?;
        self.flush(self.timeouts.command).await
    }

    /// Sends one command, given in parts, and waits for its reply.
    pub async fn exchange(&mut self, parts: &[&[u8]]) -> Result<Reply, BackendError> {
        self.queue(parts);
        self.send().await?;
        self.reply().await
    }

    /// Waits for the reply to a command.
    pub async fn reply(&mut self) -> Result<Reply, BackendError> {
        self.reply_within(self.timeouts.command).await
    }

    /// Drives the connection while the client has been idle since `since`: reads what the backend sends without a command, and
    /// sends gathered content on after a pause. Ready once the connection is over; it has to be polled until then.
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

    /// Checks that nothing arrived since the last reply, because it would be taken for the reply to the next command. A refusal
    /// of the message is a reply, however early it comes.
    ///
    /// # Errors
    /// Something arrived, or the backend is lost.
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

    /// Waits for the reply to a chunk that is not the last one, or to the end of a message that counts for nobody.
    pub async fn content_reply(&mut self) -> Result<Reply, BackendError> {
        self.reply_within(self.timeouts.data).await
    }

    /// Waits for the reply to the end of a message. If it is malformed, or if only the end of its last line is missing, its code
    /// counts, and the connection is used for nothing else.
    pub async fn final_reply(&mut self) -> Result<Reply, BackendError> {
        let broken = match self.reply_within(self.timeouts.data).await {
            Err(broken) => broken,
            replied => return replied,
        };
        let mut salvage = ReplySalvage::default();
        match &broken {
            BackendError::MalformedReply(_) => {
                let (transport, incoming) = (&mut self.transport, &mut self.incoming);
                let reading = read_malformed(transport, incoming, &mut salvage);
                // The rest is waited for: the last line decides.
                let _ = self.alarm.within(self.timeouts.data, reading).await;
            }
            BackendError::Io(_) | BackendError::Closed | BackendError::Timeout(_) => {
                salvage.read(&self.incoming);
            }
            _ => return Err(broken),
        }
        self.incoming.clear();
        self.garbled = true;
        match salvage.reply() {
            Some(reply) if reply.code() == 421 => Err(BackendError::ClosingReply(reply)),
            Some(reply) => Ok(reply),
            None => Err(broken),
        }
    }

    /// Writes a piece of a message. Returns once it is sent or gathered.
    pub async fn content(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        if self.outgoing.len() + bytes.len() <= GATHER {
            self.outgoing.extend_from_slice(bytes);
            return Ok(());
        }
        self.pour(bytes, b"").await
    }

    /// Sends the gathered content, the last `bytes` and the `end` of a message, in one write if they fit.
    pub async fn flush_content(&mut self, bytes: &[u8], end: &[u8]) -> Result<(), BackendError> {
        // A message that was sent in full may have been answered by now.
        if !(self.outgoing.is_empty() && bytes.is_empty() && end.is_empty()) {
            self.expect_no_answer()?;
        }
        self.pour(bytes, end).await?;
        match self.flush(self.timeouts.data).await {
            Err(broken @ (BackendError::Io(_) | BackendError::Closed)) => Err(self.last_words(broken).await),
            flushed => flushed,
        }
    }

    /// Reads what the backend sends without a command.
    fn poll_unasked(&mut self, cx: &mut Context<'_>) -> Poll<BackendError> {
        loop {
            if !self.incoming.is_empty() {
                match reply_parser::parse(&self.incoming) {
                    Ok(Some((reply, _))) if reply.code() == 421 => {
                        return Poll::Ready(BackendError::ClosingReply(reply));
                    }
                    Ok(Some((reply, _))) if reply.is_refusal() => {
                        return Poll::Ready(BackendError::EarlyRefusal(reply));
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
            drop_surplus(&mut self.incoming);
        }
    }

    /// Sends what is queued without waiting; cancel-safe. Ready only once the connection is over.
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

    /// Writes the gathered content, `bytes` and `end`.
    async fn pour(&mut self, bytes: &[u8], end: &[u8]) -> Result<(), BackendError> {
        let mut slices = [IoSlice::new(&self.outgoing), IoSlice::new(bytes), IoSlice::new(end)];
        let mut left = &mut slices[..];
        // Advancing by 0 drops leading empty slices; a write of one returns 0, which would look like a closed connection.
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

    /// The last reply of a backend that closes while it receives a message. It may say why.
    async fn last_words(&mut self, broken: BackendError) -> BackendError {
        match self.reply_within(LAST_WORDS).await {
            Ok(reply) if reply.is_refusal() => BackendError::EarlyRefusal(reply),
            Err(farewell @ BackendError::ClosingReply(_)) => farewell,
            _ => broken,
        }
    }

    /// Checks that no reply arrived before its command, because it would be taken for the reply to that.
    fn expect_silence(&mut self) -> Result<(), BackendError> {
        match self.expect_no_answer() {
            Err(BackendError::EarlyRefusal(_)) => Err(BackendError::UnexpectedReply),
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
            && let Some((reply, taken)) = reply_parser::parse(incoming)?
        {
            incoming.advance(taken);
            return if reply.code() == 421 { Err(BackendError::ClosingReply(reply)) } else { Ok(reply) };
        }
        drop_surplus(incoming);
        incoming.reserve(READ);
        if transport.read_buf(incoming).await? == 0 {
            return Err(BackendError::Closed);
        }
    }
}

/// Reads the rest of a malformed reply to its last line, or to the end of the connection.
async fn read_malformed(
    transport: &mut BackendTransport,
    incoming: &mut BytesMut,
    salvage: &mut ReplySalvage,
) {
    while !salvage.read(incoming) {
        incoming.clear();
        incoming.reserve(READ);
        if !matches!(transport.read_buf(incoming).await, Ok(1..)) {
            return;
        }
    }
}

/// Removes what is too long of an incomplete reply, so that no backend can fill the memory.
fn drop_surplus(incoming: &mut BytesMut) {
    while let Some(surplus) = reply_parser::surplus(incoming) {
        let left = incoming.len() - surplus.len();
        incoming.copy_within(surplus.end.., surplus.start);
        incoming.truncate(left);
    }
}
