//! A client's session, without a socket: bytes go in, replies come out, and what has to be done in between is asked for
//! step by step. One step is answered before the next is taken, so that pipelined commands (RFC 2920) wait their turn.

mod command;
mod envelope;
mod given;
mod line;
mod message;
mod phase;
mod piece;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::command::Mail;
use super::{Capabilities, Reply, answers};
use crate::wire::Held;
use line::Begins;
use phase::{Phase, Skip, Transaction};

pub use given::Verdict;
pub use piece::Piece;

/// Replies to pipelined commands are gathered up to about this many bytes.
pub const GATHER: usize = 16 * 1024;

/// What all sessions of an entry have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
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

/// What is true at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Tells the time, for the trace in a message.
    pub clock: fn() -> SystemTime,
    /// What every backend that may get the next message can do.
    pub offered: Capabilities,
}

/// What has to be done next.
#[derive(Debug)]
pub enum Step<'i> {
    /// More bytes are needed; what is left of the input comes again before them.
    Read,
    /// The replies so far go out before the rest of the input is taken: commands are short and replies are long, and who
    /// sends many and reads nothing must not fill our memory.
    Flush,
    /// Somebody logs in: [`Session::checked`].
    Check(Held),
    /// The replies so far go out, and TLS begins: [`Session::encrypted`].
    StartTls,
    /// A transaction is asked for, or goes on: [`Session::envelope`].
    Envelope(Envelope),
    /// The transaction is over without a message; its backend is free.
    Reset,
    /// The message is to be announced by DATA: [`Session::go_ahead`].
    Data,
    /// Content for the backend, as DATA has it. Where it can't be given: [`Session::failed`].
    Content(Piece<'i>),
    /// The last of it, and maybe empty; without the CR LF at its end: [`Session::outcome`].
    Finish(Piece<'i>),
    /// Content for the backend in a BDAT of its own; not the last one. Where it is refused: [`Session::failed`].
    Chunk(Cow<'i, [u8]>),
    /// The last of these, and maybe empty: [`Session::outcome`].
    LastChunk(Cow<'i, [u8]>),
    /// The message must not become one: its backend is to be left without an end of it, by closing the connection.
    Abort,
    /// The replies so far go out, and the session is over.
    Close,
}

/// A part of a transaction's envelope that came in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The MAIL with which it begins.
    pub mail: Option<Mail>,
    /// What goes after each `RCPT TO:`, as it came.
    pub rcpts: Vec<Vec<u8>>,
    /// Whether DATA came with it: with a recipient that is accepted, [`Step::Data`] is next.
    pub data: bool,
}

/// What the client called itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// One word of printable ASCII.
    pub name: Box<[u8]>,
    /// Whether by EHLO.
    pub extended: bool,
}

/// A bound of [`Settings`] that a client ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
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
pub struct Session {
    settings: Arc<Settings>,
    address: IpAddr,
    number: u64,
    tls: bool,
    greeting: Option<Greeting>,
    user: Option<Box<str>>,
    phase: Phase,
    /// The beginning of a line is gone, since it is too long; what it was.
    overflowed: Option<Begins>,
    /// Messages, and senders that were refused.
    messages: usize,
    errors: usize,
    /// So many commands belong to a sender that was refused, if they come: who pipelines couldn't know.
    forgiven: usize,
    failed_logins: usize,
    reached: Vec<Limit>,
}

impl Session {
    /// A session with who is at `address`; `number` tells its messages from those of others.
    pub fn new(settings: Arc<Settings>, address: IpAddr, tls: bool, number: u64) -> Session {
        Session {
            settings,
            address,
            number,
            tls,
            greeting: None,
            user: None,
            phase: Phase::Command,
            overflowed: None,
            messages: 0,
            errors: 0,
            forgiven: 0,
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
    pub fn greeting(&self) -> Option<&Greeting> {
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
            Phase::GoAhead(_) | Phase::Data(_) | Phase::Outcome => true,
            Phase::Chunk(chunk) => chunk.body.size > 0,
            Phase::Transaction(Transaction { body: Some(body), .. }) => body.size > 0 && body.doom.is_none(),
            _ => false,
        }
    }

    /// Tells whether a stop of the gateway waits for this session: content is on its way with which a message or chunk can end, or
    /// the backend's word on the message. In any other phase, the client loses nothing if it is told to come again.
    pub fn is_transferring(&self) -> bool {
        match &self.phase {
            Phase::Data(_) | Phase::Outcome => true,
            Phase::Chunk(chunk) => chunk.last || !chunk.reader.is_over(),
            _ => false,
        }
    }

    /// Whether a transaction is open that may still become something.
    pub fn is_in_transaction(&self) -> bool {
        match &self.phase {
            Phase::GoAhead(_) | Phase::Data(_) | Phase::Outcome | Phase::Chunk(_) | Phase::Envelope(_) => {
                true
            }
            Phase::Transaction(transaction) | Phase::Skip(Skip { transaction: Some(transaction), .. }) => {
                transaction.body.as_ref().is_none_or(|body| body.doom.is_none())
            }
            _ => false,
        }
    }

    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The limits that the client ran into since this was asked last.
    pub fn take_reached(&mut self) -> Vec<Limit> {
        std::mem::take(&mut self.reached)
    }

    /// Takes what it can from `input`, appends replies to `out`, and says what has to be done.
    pub fn step<'i>(&mut self, input: &mut &'i [u8], out: &mut Vec<u8>, moment: &Moment) -> Step<'i> {
        let begin = out.len();
        loop {
            if out.len() - begin >= GATHER && !self.is_over() {
                return Step::Flush;
            }
            if input.is_empty() && self.awaits_line() {
                return Step::Read;
            }
            let step = match std::mem::replace(&mut self.phase, Phase::Closed) {
                Phase::Command => self.command(None, input, out, moment),
                Phase::Transaction(transaction) => self.command(Some(transaction), input, out, moment),
                Phase::Login(exchange) => self.login(exchange, input, out),
                Phase::Data(body) => self.data(body, input, out),
                Phase::Chunk(chunk) => self.chunk(chunk, input, out),
                Phase::Skip(skip) => self.skip(skip, input, out),
                waiting @ (Phase::Verdict
                | Phase::Handshake
                | Phase::Envelope(_)
                | Phase::GoAhead(_)
                | Phase::Outcome) => {
                    debug_assert!(false, "{waiting:?} isn't answered yet");
                    self.phase = waiting;
                    return Step::Read;
                }
                Phase::Closed => return Step::Close,
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn awaits_line(&self) -> bool {
        matches!(self.phase, Phase::Command | Phase::Transaction(_) | Phase::Login(_))
    }

    /// Ends the session with `reply`, a 421.
    pub fn dismiss(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(out);
        self.phase = Phase::Closed;
    }

    /// A sender was refused: what belongs to it is refused as well, and is no mistake. There can't be more than this of it.
    fn forgive(&mut self) {
        self.forgiven = self.settings.recipients + 1;
    }

    /// Refuses a command for which there is no transaction.
    fn refuse_outside(&mut self, out: &mut Vec<u8>) {
        match self.forgiven.checked_sub(1) {
            Some(left) => {
                self.forgiven = left;
                answers::BAD_SEQUENCE.write(out);
            }
            None => self.refuse(&answers::BAD_SEQUENCE, out),
        }
    }

    /// Says that something was wrong with a command; too much of that ends the session.
    fn refuse(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(out);
        self.errors += 1;
        if self.errors >= self.settings.errors {
            self.reached.push(Limit::Errors);
            self.dismiss(&answers::TOO_MANY_ERRORS, out);
        }
    }
}
