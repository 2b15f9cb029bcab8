//! Commands; those of a transaction are in `envelope`.

use super::line::{self, Begins, Line};
use super::phase::{Phase, Transaction};
use super::{Greeting, Moment, Session, Step};
use crate::wire::smtp::auth::{self, AuthExchange, AuthStep};
use crate::wire::smtp::command::{self, AUTH_LINE, CommandError, SmtpCommand};
use crate::wire::smtp::number::decimal;
use crate::wire::smtp::{Capabilities, Reply, answers};

/// Room for what is offered in answer to EHLO.
const EXTENSIONS: usize = 128;

impl Session {
    /// The next command; without a step, the session goes on.
    pub(super) fn command<'i>(
        &mut self,
        transaction: Option<Transaction>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
        moment: &Moment,
    ) -> Option<Step<'i>> {
        let line = match self.line(input, command::longest) {
            Ok(line) => line,
            Err(fault) => {
                let reply = match fault {
                    Line::TooLong(Begins::Auth, _) => &answers::AUTH_TOO_LONG,
                    Line::Malformed(..) => &answers::MALFORMED_LINE,
                    _ => &answers::LINE_TOO_LONG,
                };
                if fault.begins() == Some(Begins::Bdat) {
                    // As below.
                    reply.write(out);
                    return None;
                }
                self.resume(transaction);
                return self.faulty(fault, reply, out);
            }
        };
        let command = match SmtpCommand::parse(line) {
            Ok(command) => command,
            Err(CommandError::Lost) => {
                // What follows may be content: nothing of it may be taken for commands.
                answers::SYNTAX.write(out);
                return None;
            }
            Err(error) => {
                self.resume(transaction);
                self.refuse(&error.reply(), out);
                return None;
            }
        };
        match command {
            SmtpCommand::Ehlo(name) => self.hello(name, true, transaction.is_some(), out, moment),
            SmtpCommand::Helo(name) => self.hello(name, false, transaction.is_some(), out, moment),
            SmtpCommand::Mail(arguments) => self.mail(arguments, transaction, input, out, moment),
            SmtpCommand::Rcpt(arguments) => self.rcpt(arguments, transaction, input, out, moment),
            SmtpCommand::Data => self.announce(transaction, out, moment),
            SmtpCommand::Bdat(size, last) => self.begin_chunk(size, last, transaction, moment),
            SmtpCommand::StartTls => self.start_tls(transaction, input, out),
            SmtpCommand::Auth(mechanism, initial) => self.authenticate(mechanism, initial, transaction, out),
            SmtpCommand::Rset => {
                self.phase = Phase::Command;
                self.forgiven = 0;
                answers::OK.write(out);
                transaction.map(|_| Step::Reset)
            }
            SmtpCommand::Quit => {
                answers::BYE.write(out);
                None
            }
            SmtpCommand::Noop => self.simply(&answers::OK, transaction, out),
            SmtpCommand::Vrfy => self.simply(&answers::NOT_VERIFIED, transaction, out),
            SmtpCommand::Help => self.simply(&answers::HELP, transaction, out),
        }
    }

    /// A line within AUTH.
    pub(super) fn login<'i>(
        &mut self,
        exchange: AuthExchange,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<Step<'i>> {
        match self.line(input, |_| AUTH_LINE) {
            Ok(line) => {
                let next = exchange.respond(line);
                self.proceed(next, out)
            }
            Err(fault) => {
                let reply = match fault {
                    Line::Malformed(..) => &answers::MALFORMED_LINE,
                    _ => &answers::AUTH_TOO_LONG,
                };
                self.phase = match fault {
                    Line::Partial | Line::Overflow(_) => Phase::Login(exchange),
                    _ => Phase::Command,
                };
                self.faulty(fault, reply, out)
            }
        }
    }

    /// Consumes a line, or what can't become one.
    fn line<'i>(
        &mut self,
        input: &mut &'i [u8],
        longest: impl Fn(&[u8]) -> usize,
    ) -> Result<&'i [u8], Line<'i>> {
        let found = line::first(input, self.overflowed, longest);
        self.overflowed = if let Line::Overflow(begins) = found { Some(begins) } else { None };
        *input = match found {
            Line::Whole(_, rest) | Line::TooLong(_, rest) | Line::Malformed(_, rest) => rest,
            Line::Overflow(_) => &[],
            Line::Partial => input,
        };
        match found {
            Line::Whole(line, _) => Ok(line),
            fault => Err(fault),
        }
    }

    fn faulty<'i>(&mut self, fault: Line<'_>, reply: &Reply, out: &mut Vec<u8>) -> Option<Step<'i>> {
        if matches!(fault, Line::Partial | Line::Overflow(_)) {
            return Some(Step::Read);
        }
        self.refuse(reply, out);
        None
    }

    pub(super) fn resume(&mut self, transaction: Option<Transaction>) {
        self.phase = transaction.map_or(Phase::Command, Phase::Transaction);
    }

    pub(super) fn simply<'i>(
        &mut self,
        reply: &Reply,
        transaction: Option<Transaction>,
        out: &mut Vec<u8>,
    ) -> Option<Step<'i>> {
        self.resume(transaction);
        reply.write(out);
        None
    }

    /// Refuses a command, and goes on.
    pub(super) fn deny<'i>(
        &mut self,
        reply: &Reply,
        transaction: Option<Transaction>,
        out: &mut Vec<u8>,
    ) -> Option<Step<'i>> {
        self.resume(transaction);
        self.refuse(reply, out);
        None
    }

    /// Refuses what belongs to a transaction, and goes on.
    pub(super) fn deny_outside<'i>(&mut self, out: &mut Vec<u8>) -> Option<Step<'i>> {
        self.phase = Phase::Command;
        self.refuse_outside(out);
        None
    }

    fn hello<'i>(
        &mut self,
        name: &[u8],
        extended: bool,
        within: bool,
        out: &mut Vec<u8>,
        moment: &Moment,
    ) -> Option<Step<'i>> {
        self.phase = Phase::Command;
        self.forgiven = 0;
        self.greeting = Some(Greeting { name: name.into(), extended });
        if extended {
            self.offer(&moment.offered, out);
        } else {
            Reply::plain(250, self.settings.host.clone()).write(out);
        }
        within.then_some(Step::Reset)
    }

    /// The answer to EHLO, written line by line, since every session has one.
    fn offer(&self, offered: &Capabilities, out: &mut Vec<u8>) {
        out.reserve(self.settings.host.len() + EXTENSIONS);
        let mut line = |text: &[u8]| {
            let begin = out.len();
            out.extend_from_slice(b"250-");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
            begin
        };
        line(self.settings.host.as_bytes());
        line(b"PIPELINING");
        let mut size = b"SIZE ".to_vec();
        decimal(self.longest_message(offered), &mut size);
        let mut last = line(&size);
        for (can, extension) in [
            (offered.eight_bit_mime, "8BITMIME"),
            (offered.smtp_utf8, "SMTPUTF8"),
            (offered.dsn, "DSN"),
            (offered.chunking, "CHUNKING"),
            (offered.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
            (self.settings.starttls && !self.tls, "STARTTLS"),
            (self.tls || !self.settings.require_tls, "AUTH PLAIN LOGIN"),
        ] {
            if can {
                last = line(extension.as_bytes());
            }
        }
        out[last + 3] = b' ';
    }

    pub(super) fn longest_message(&self, offered: &Capabilities) -> u64 {
        let ours = self.settings.max_message;
        offered.size.filter(|theirs| *theirs > 0).map_or(ours, |theirs| theirs.min(ours))
    }

    fn start_tls<'i>(
        &mut self,
        transaction: Option<Transaction>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<Step<'i>> {
        if !self.settings.starttls {
            return self.deny(&answers::NOT_IMPLEMENTED, transaction, out);
        }
        if self.tls || self.user.is_some() || transaction.is_some() {
            return self.deny(&answers::BAD_SEQUENCE, transaction, out);
        }
        if !input.is_empty() {
            // Whoever put them there wants them run as if they had come encrypted.
            *input = &[];
            answers::INJECTION.write(out);
            return None;
        }
        answers::READY_FOR_TLS.write(out);
        self.phase = Phase::Handshake;
        Some(Step::StartTls)
    }

    fn authenticate<'i>(
        &mut self,
        mechanism: &[u8],
        initial: Option<&[u8]>,
        transaction: Option<Transaction>,
        out: &mut Vec<u8>,
    ) -> Option<Step<'i>> {
        if self.user.is_some() {
            return self.deny(&answers::ALREADY_AUTHENTICATED, transaction, out);
        }
        if self.greeting.is_none() {
            return self.deny(&answers::BAD_SEQUENCE, transaction, out);
        }
        if self.settings.require_tls && !self.tls {
            return self.deny(&answers::ENCRYPTION_REQUIRED, transaction, out);
        }
        self.proceed(auth::begin(mechanism, initial), out)
    }

    fn proceed<'i>(&mut self, next: AuthStep, out: &mut Vec<u8>) -> Option<Step<'i>> {
        match next {
            AuthStep::Challenge(challenge, exchange) => {
                Reply::plain(334, challenge.to_owned()).write(out);
                self.phase = Phase::Login(exchange);
                None
            }
            AuthStep::Check(held) => {
                self.phase = Phase::Verdict;
                Some(Step::Check(held))
            }
            AuthStep::Refused(reply) => {
                self.phase = Phase::Command;
                if reply == answers::BAD_LOGIN {
                    self.login_failed(&reply, out);
                } else {
                    self.refuse(&reply, out);
                }
                None
            }
        }
    }

    /// Why there can't be a transaction yet.
    pub(super) fn unready(&self) -> Option<Reply> {
        if self.greeting.is_none() {
            Some(answers::BAD_SEQUENCE)
        } else if self.user.is_some() {
            None
        } else if self.settings.require_tls && !self.tls {
            Some(answers::TLS_FIRST)
        } else {
            Some(answers::AUTH_FIRST)
        }
    }

    pub(super) fn is_extended(&self) -> bool {
        self.greeting.as_ref().is_some_and(|greeting| greeting.extended)
    }
}
