//! A client's session without a socket. Bytes go in, replies come out, and everything else is requested as a [`SessionStep`].
//! A step is completed before the next one is taken, so that pipelined commands (RFC 2920) wait for each other.
//!
//! `command` has the commands, `envelope` those of a transaction, `message` the content. `completion` has the methods that
//! complete a step. `phase` is the state, `input_line` splits the input into lines, `content_reader`
//! finds the end of a message, `content_piece` is content on its way. `stall` is about a client that sends no end.

mod command;
mod completion;
mod content_piece;
mod content_reader;
mod envelope;
mod input_line;
mod message;
mod phase;
mod stall;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::command::MailCommand;
use super::{Capabilities, Reply, replies};
use crate::config::BareNewline;
use crate::domain::{MailId, RequestId};
use crate::wire::PresentedCredential;
use input_line::LineVerb;
use phase::{MailTransaction, SessionPhase, SkippedChunk};

pub use completion::LoginOutcome;
pub use content_piece::ContentPiece;

/// The number of bytes up to which replies to pipelined commands are gathered.
pub const GATHER: usize = 16 * 1024;

/// The settings that all sessions of a listener have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Gatepost's host name in the greeting, the EHLO reply and the `Received` field.
    pub host: String,
    /// True if there is a certificate for STARTTLS.
    pub starttls: bool,
    /// True if AUTH requires an encrypted connection.
    pub require_tls: bool,
    /// The treatment of line ends other than CR LF, in commands and in the content of DATA.
    pub bare_newline: BareNewline,
    /// The largest message in bytes.
    pub max_message: u64,
    /// The most recipients of one message.
    pub recipients: usize,
    /// The most messages of one session; refused senders count as well.
    pub messages: usize,
    /// The most commands of one session that Gatepost refuses; an accepted message resets the count.
    pub errors: usize,
    /// The most failed logins of one session.
    pub failed_logins: usize,
    /// True if a field `X-Gatepost-User` tells the backend the submitter.
    pub user_header: bool,
}

/// The environment of a session, which may differ at each call.
#[derive(Clone, Copy, Debug)]
pub struct SessionEnvironment {
    /// The clock for the `Received` field.
    pub clock: fn() -> SystemTime,
    /// The capabilities of every backend that may get the next message.
    pub offered: Capabilities,
}

/// The next step for the driver of a session.
#[derive(Debug)]
pub enum SessionStep<'i> {
    /// Read more input. Unprocessed input has to be given again before it.
    Read,
    /// Send the replies before the rest of the input is processed. A client that sends many commands and reads no replies
    /// must not fill the memory.
    Flush,
    /// Check this login, then call [`SmtpSession::complete_login`].
    Check(PresentedCredential),
    /// Send the replies and perform a TLS handshake, then call [`SmtpSession::complete_handshake`].
    StartTls,
    /// Decide on MAIL and send recipients to a backend, then call [`SmtpSession::complete_envelope`].
    Envelope(EnvelopeBatch),
    /// Drop the transaction, which ended without a message. Its backend connection is free.
    Reset,
    /// Send DATA to the backend, then call [`SmtpSession::complete_data_command`].
    Data,
    /// Send content to the backend, as DATA has it. If that fails, call [`SmtpSession::fail_content`].
    Content(ContentPiece<'i>),
    /// Send the last content, maybe empty and without its last CR LF, then call [`SmtpSession::complete_message`].
    Finish(ContentPiece<'i>),
    /// Send content to the backend as a BDAT chunk that is not the last one. If it is refused, call
    /// [`SmtpSession::fail_content`].
    Chunk(Cow<'i, [u8]>),
    /// Send the last chunk, maybe empty, then call [`SmtpSession::complete_message`].
    LastChunk(Cow<'i, [u8]>),
    /// Close the backend connection, so that the backend does not accept the unfinished message.
    Abort,
    /// Send the replies and close the connection.
    Close,
}

/// The commands of a transaction's envelope that the client pipelined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeBatch {
    /// The MAIL command, if it is the first one.
    pub mail: Option<MailCommand>,
    /// The arguments of each RCPT command: what follows `RCPT TO:`.
    pub rcpts: Vec<Vec<u8>>,
    /// True if DATA follows. With an accepted recipient, [`SessionStep::Data`] is then the next step.
    pub data: bool,
}

/// The client's EHLO or HELO command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientGreeting {
    /// The host name that the client gave, with `?` for each byte that a host name or address literal can't contain.
    pub name: Box<str>,
    /// True for EHLO.
    pub extended: bool,
    /// The capabilities that were offered in the reply. What was offered is not refused later, whatever the backends offer then.
    pub offered: Capabilities,
}

/// A limit of [`SessionSettings`] that a client reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionLimit {
    /// Errors; the session ends.
    Errors,
    /// Failed logins; the session ends.
    Logins,
    /// Messages; the session ends.
    Messages,
    /// Recipients of one message; a recipient is refused.
    Recipients,
    /// The size of a message, declared or real.
    Size,
}

/// A refusal that a session decided by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRefusal {
    /// The ID of the session or transaction.
    pub id: MailId,
    /// The reply.
    pub reply: Reply,
    /// The number of times that it was given in a row.
    pub times: u32,
}

/// A client's session.
#[derive(Debug)]
pub struct SmtpSession {
    settings: Arc<SessionSettings>,
    address: IpAddr,
    id: RequestId,
    /// The number of MAIL commands that began a transaction.
    transactions: u32,
    /// True within a transaction, and for the reply that ends it.
    within: bool,
    tls: bool,
    greeting: Option<ClientGreeting>,
    user: Option<Box<str>>,
    phase: SessionPhase,
    /// The verb of a line whose start was discarded because the line is too long.
    overflowed: Option<LineVerb>,
    /// Messages and refused senders so far.
    messages: usize,
    /// Errors since the last accepted message.
    errors: usize,
    /// The number of further commands that may belong to a refused sender. A client that pipelines could not know.
    tolerated: usize,
    failed_logins: usize,
    reached: Vec<SessionLimit>,
    refusals: Vec<SessionRefusal>,
}

impl SmtpSession {
    /// A session with the client at `address`. The client learns `id` from the greeting and from each refusal.
    pub fn new(settings: Arc<SessionSettings>, address: IpAddr, tls: bool, id: RequestId) -> SmtpSession {
        SmtpSession {
            settings,
            address,
            id,
            transactions: 0,
            within: false,
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
            refusals: Vec::new(),
        }
    }

    /// Appends the greeting, before anything else.
    pub fn greet(&self, out: &mut Vec<u8>) {
        for part in ["220 ", &self.settings.host, " ESMTP Gatepost (id ", self.id.as_str(), ")\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The client's last EHLO or HELO.
    pub fn greeting(&self) -> Option<&ClientGreeting> {
        self.greeting.as_ref()
    }

    /// The ID of the session and, within a transaction, its number.
    pub fn mail_id(&self) -> MailId {
        MailId { session: self.id, transaction: if self.within { self.transactions } else { 0 } }
    }

    /// Returns true if the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls
    }

    /// Returns true while a message is received, which a revocation or a stop allows to end. It begins with its first byte.
    /// Between chunks of a rejected message there is nothing left to end.
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

    /// Returns true if a stop of the gateway waits for this session. It does while content arrives with which a message or
    /// chunk can end, and while the backend's reply to the message is pending. In any other phase a client that has to
    /// reconnect loses nothing.
    pub fn is_transferring(&self) -> bool {
        match &self.phase {
            SessionPhase::Data(_) | SessionPhase::MessageReply => true,
            SessionPhase::Chunk(chunk) => chunk.last || !chunk.reader.is_over(),
            _ => false,
        }
    }

    /// Returns true if a transaction is open and not rejected.
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

    /// Returns true if the session is over.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, SessionPhase::Closed)
    }

    /// Returns the limits that the client reached since the last call.
    pub fn take_reached_limits(&mut self) -> Vec<SessionLimit> {
        std::mem::take(&mut self.reached)
    }

    /// Returns what the session refused by itself since the last call. What a step was completed with is not part of it.
    pub fn take_refusals(&mut self) -> Vec<SessionRefusal> {
        std::mem::take(&mut self.refusals)
    }

    /// Processes `input` as far as possible and appends replies to `out`. Returns the next step.
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
            self.within = self.phase.is_within_transaction();
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
                    debug_assert!(false, "{waiting:?} is not completed yet");
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

    /// Ends the session with `reply`, usually a 421. It is not among [`SmtpSession::take_refusals`].
    pub fn close_with(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.within = self.phase.is_within_transaction();
        self.tell(reply, out);
        self.phase = SessionPhase::Closed;
    }

    /// Ends the session by its own decision.
    fn end_with(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.refuse_for_free(reply, out);
        self.phase = SessionPhase::Closed;
    }

    /// Appends a reply. A refusal of Gatepost ends in the ID, unless its text is that of the original API.
    fn tell(&self, reply: &Reply, out: &mut Vec<u8>) {
        match reply.is_refusal() && !reply.is_received() && !replies::is_original(reply) {
            true => reply.write_with_id(self.mail_id(), out),
            false => reply.write(out),
        }
    }

    /// Notes a refusal for [`SmtpSession::take_refusals`]. The same one again is counted.
    fn note_refusal(&mut self, reply: &Reply) {
        let id = self.mail_id();
        match self.refusals.last_mut() {
            Some(last) if last.id == id && last.reply == *reply => last.times += 1,
            _ => self.refusals.push(SessionRefusal { id, reply: reply.clone(), times: 1 }),
        }
    }

    /// Refuses a command without counting an error.
    fn refuse_for_free(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.note_refusal(reply);
        self.tell(reply, out);
    }

    /// Tolerates the commands that the client may have pipelined behind a refused sender: they are refused, but don't count as
    /// errors.
    fn tolerate_pipelined(&mut self) {
        self.tolerated = self.settings.recipients + 1;
    }

    /// Refuses a command that needs a transaction.
    fn refuse_outside(&mut self, out: &mut Vec<u8>) {
        match self.tolerated.checked_sub(1) {
            Some(left) => {
                self.tolerated = left;
                self.refuse_for_free(&replies::BAD_SEQUENCE, out);
            }
            None => self.refuse(&replies::BAD_SEQUENCE, out),
        }
    }

    /// Refuses a command and counts an error. Too many of them end the session.
    fn refuse(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.refuse_for_free(reply, out);
        self.errors += 1;
        if self.errors >= self.settings.errors {
            self.reached.push(SessionLimit::Errors);
            self.end_with(&replies::TOO_MANY_ERRORS, out);
        }
    }
}
