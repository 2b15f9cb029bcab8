//! A client's session, without a socket: bytes go in, replies come out, and what has to be done in between is asked for
//! step by step. One step is answered before the next is taken, so that pipelined commands (RFC 2920) wait their turn.

mod command;
mod completion;
mod content_piece;
mod envelope;
mod input_line;
mod message;
mod phase;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::command::MailCommand;
use super::{Capabilities, Reply, replies};
use crate::wire::PresentedCredential;
use input_line::LineVerb;
use phase::{MailTransaction, SessionPhase, SkippedChunk};

pub use completion::LoginOutcome;
pub use content_piece::ContentPiece;

/// Replies to pipelined commands are gathered up to about this many bytes.
pub const GATHER: usize = 16 * 1024;

/// What all sessions of an entry have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Our name, in greeting, EHLO and `Received:`.
    pub host: String,
    /// Whether there is a certificate for STARTTLS.
    pub starttls: bool,
    /// Whether AUTH is for encrypted connections only.
    pub require_tls: bool,
    /// The longest message in bytes.
    pub max_message: u64,
    /// Recipients of one message.
    pub recipients: usize,
    /// Messages of one session, and senders that were refused in it.
    pub messages: usize,
    /// Commands of one session that are refused by us.
    pub errors: usize,
    /// Logins of one session that fail.
    pub failed_logins: usize,
    /// Whether a header `X-Gatepost-User` tells the backend who submitted.
    pub user_header: bool,
}

/// What is true at the environment.
#[derive(Clone, Copy, Debug)]
pub struct SessionEnvironment {
    /// Tells the time, for the trace in a message.
    pub clock: fn() -> SystemTime,
    /// What every backend that may get the next message can do.
    pub offered: Capabilities,
}

/// What has to be done next.
#[derive(Debug)]
pub enum SessionStep<'i> {
    /// More bytes are needed; what is left of the input comes again before them.
    Read,
    /// The replies so far go out before the rest of the input is taken: commands are short and replies are long, and who
    /// sends many and reads nothing must not fill our memory.
    Flush,
    /// Somebody logs in: [`SmtpSession::complete_login`].
    Check(PresentedCredential),
    /// The replies so far go out, and TLS begins: [`SmtpSession::complete_handshake`].
    StartTls,
    /// A transaction is asked for, or goes on: [`SmtpSession::complete_envelope`].
    Envelope(EnvelopeBatch),
    /// The transaction is over without a message; its backend is free.
    Reset,
    /// The message is to be announced by DATA: [`SmtpSession::complete_data_command`].
    Data,
    /// Content for the backend, as DATA has it. Where it can't be given: [`SmtpSession::fail_content`].
    Content(ContentPiece<'i>),
    /// The last of it, and maybe empty; without the CR LF at its end: [`SmtpSession::complete_message`].
    Finish(ContentPiece<'i>),
    /// Content for the backend in a BDAT of its own; not the last one. Where it is refused: [`SmtpSession::fail_content`].
    Chunk(Cow<'i, [u8]>),
    /// The last of these, and maybe empty: [`SmtpSession::complete_message`].
    LastChunk(Cow<'i, [u8]>),
    /// The message must not become one: its backend is to be left without an end of it, by closing the connection.
    Abort,
    /// The replies so far go out, and the session is over.
    Close,
}

/// A part of a transaction's envelope that came in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeBatch {
    /// The MAIL with which it begins.
    pub mail: Option<MailCommand>,
    /// What goes after each `RCPT TO:`, as it came.
    pub rcpts: Vec<Vec<u8>>,
    /// Whether DATA came with it: with a recipient that is accepted, [`SessionStep::Data`] is next.
    pub data: bool,
}

/// What the client called itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientGreeting {
    /// One word of printable ASCII.
    pub name: Box<[u8]>,
    /// Whether by EHLO.
    pub extended: bool,
}

/// A bound of [`SessionSettings`] that a client ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionLimit {
    /// Errors of the session, which ends.
    Errors,
    /// Failed logins of the session, which ends.
    Logins,
    /// Messages of the session, which ends.
    Messages,
    /// Recipients of the message: one that isn't taken.
    Recipients,
    /// The size of the message, announced or real.
    Size,
}

/// One session.
#[derive(Debug)]
pub struct SmtpSession {
    settings: Arc<SessionSettings>,
    address: IpAddr,
    number: u64,
    tls: bool,
    greeting: Option<ClientGreeting>,
    user: Option<Box<str>>,
    phase: SessionPhase,
    /// The beginning of a line is gone, since it is too long; what it was.
    overflowed: Option<LineVerb>,
    /// Messages, and senders that were refused.
    messages: usize,
    errors: usize,
    /// So many commands belong to a sender that was refused, if they come: who pipelines couldn't know.
    tolerated: usize,
    failed_logins: usize,
    reached: Vec<SessionLimit>,
}

impl SmtpSession {
    /// A session with who is at `address`; `number` tells its messages from those of others.
    pub fn new(settings: Arc<SessionSettings>, address: IpAddr, tls: bool, number: u64) -> SmtpSession {
        SmtpSession {
            settings,
            address,
            number,
            tls,
            greeting: None,
            user: None,
            phase: SessionPhase::Command,
            overflowed: None,
            messages: 0,
            errors: 0,
            tolerated: 0,
            failed_logins: 0,
            reached: Vec::new(),
        }
    }

    /// Says who we are; before anything else.
    pub fn greet(&self, out: &mut Vec<u8>) {
        for part in ["220 ", &self.settings.host, " ESMTP Gatepost\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// What the client called itself last.
    pub fn greeting(&self) -> Option<&ClientGreeting> {
        self.greeting.as_ref()
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls
    }

    /// Whether a message is on its way: what begun before a revocation or a stop may end. Before its first byte it hasn't
    /// begun, and between chunks there is nothing to end any more where nobody gets it.
    pub fn is_receiving(&self) -> bool {
        match &self.phase {
            SessionPhase::DataReply(_) | SessionPhase::Data(_) | SessionPhase::MessageReply => true,
            SessionPhase::Chunk(chunk) => chunk.body.size > 0,
            SessionPhase::Transaction(MailTransaction { body: Some(body), .. }) => {
                body.size > 0 && body.rejection.is_none()
            }
            _ => false,
        }
    }

    /// Tells whether a stop of the gateway waits for this session: content is on its way with which a message or chunk can end, or
    /// the backend's word on the message. In any other phase, the client loses nothing if it is told to come again.
    pub fn is_transferring(&self) -> bool {
        match &self.phase {
            SessionPhase::Data(_) | SessionPhase::MessageReply => true,
            SessionPhase::Chunk(chunk) => chunk.last || !chunk.reader.is_over(),
            _ => false,
        }
    }

    /// Whether a transaction is open that may still become something.
    pub fn is_in_transaction(&self) -> bool {
        match &self.phase {
            SessionPhase::DataReply(_)
            | SessionPhase::Data(_)
            | SessionPhase::MessageReply
            | SessionPhase::Chunk(_)
            | SessionPhase::Envelope(_) => true,
            SessionPhase::Transaction(transaction)
            | SessionPhase::SkippedChunk(SkippedChunk { transaction: Some(transaction), .. }) => {
                transaction.body.as_ref().is_none_or(|body| body.rejection.is_none())
            }
            _ => false,
        }
    }

    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, SessionPhase::Closed)
    }

    /// The limits that the client ran into since this was asked last.
    pub fn take_reached_limits(&mut self) -> Vec<SessionLimit> {
        std::mem::take(&mut self.reached)
    }

    /// Takes what it can from `input`, appends replies to `out`, and says what has to be done.
    pub fn step<'i>(
        &mut self,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
        environment: &SessionEnvironment,
    ) -> SessionStep<'i> {
        let begin = out.len();
        loop {
            if out.len() - begin >= GATHER && !self.is_over() {
                return SessionStep::Flush;
            }
            if input.is_empty() && self.awaits_line() {
                return SessionStep::Read;
            }
            let step = match std::mem::replace(&mut self.phase, SessionPhase::Closed) {
                SessionPhase::Command => self.command(None, input, out, environment),
                SessionPhase::Transaction(transaction) => {
                    self.command(Some(transaction), input, out, environment)
                }
                SessionPhase::Login(exchange) => self.login(exchange, input, out),
                SessionPhase::Data(body) => self.data(body, input, out),
                SessionPhase::Chunk(chunk) => self.chunk(chunk, input, out),
                SessionPhase::SkippedChunk(skip) => self.skip(skip, input, out),
                waiting @ (SessionPhase::LoginOutcome
                | SessionPhase::Handshake
                | SessionPhase::Envelope(_)
                | SessionPhase::DataReply(_)
                | SessionPhase::MessageReply) => {
                    debug_assert!(false, "{waiting:?} isn't answered yet");
                    self.phase = waiting;
                    return SessionStep::Read;
                }
                SessionPhase::Closed => return SessionStep::Close,
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn awaits_line(&self) -> bool {
        matches!(self.phase, SessionPhase::Command | SessionPhase::Transaction(_) | SessionPhase::Login(_))
    }

    /// Ends the session with `reply`, a 421.
    pub fn close_with(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(out);
        self.phase = SessionPhase::Closed;
    }

    /// A sender was refused: what belongs to it is refused as well, and is no mistake. There can't be more than this of it.
    fn tolerate_pipelined(&mut self) {
        self.tolerated = self.settings.recipients + 1;
    }

    /// Refuses a command for which there is no transaction.
    fn refuse_outside(&mut self, out: &mut Vec<u8>) {
        match self.tolerated.checked_sub(1) {
            Some(left) => {
                self.tolerated = left;
                replies::BAD_SEQUENCE.write(out);
            }
            None => self.refuse(&replies::BAD_SEQUENCE, out),
        }
    }

    /// Says that something was wrong with a command; too much of that ends the session.
    fn refuse(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(out);
        self.errors += 1;
        if self.errors >= self.settings.errors {
            self.reached.push(SessionLimit::Errors);
            self.close_with(&replies::TOO_MANY_ERRORS, out);
        }
    }
}
