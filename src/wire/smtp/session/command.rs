//! The commands of a session, except those of a transaction, which are in `envelope`.

use super::input_line::{self, InputLine, LineVerb};
use super::phase::{MailTransaction, SessionPhase};
use super::{ClientGreeting, SessionEnvironment, SessionStep, SmtpSession};
use crate::wire::smtp::auth::{self, AuthExchange, AuthStep};
use crate::wire::smtp::command::{self, AUTH_LINE, SmtpCommand, SmtpCommandError};
use crate::wire::smtp::digits::decimal;
use crate::wire::smtp::host_name;
use crate::wire::smtp::{Capabilities, Reply, replies};

/// The capacity for the extensions in an EHLO reply, in bytes.
const EXTENSIONS: usize = 128;

impl SmtpSession {
    /// Processes the next command. Without a step, the session continues.
    pub(super) fn command<'i>(
        &mut self,
        transaction: Option<MailTransaction>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
        environment: &SessionEnvironment,
    ) -> Option<SessionStep<'i>> {
        let line = match self.line(input, command::longest) {
            Ok(line) => line,
            Err(fault) => {
                let reply = fault.reply(false);
                if fault.verb() == Some(LineVerb::Bdat) {
                    // The session ends, as for a BDAT without a valid size below.
                    self.refuse_for_free(&reply, out);
                    return None;
                }
                let refused =
                    fault.verb() == Some(LineVerb::Rcpt) && !matches!(fault, InputLine::Overflow(_));
                self.resume(count_refused(transaction, refused));
                return self.faulty(fault, &reply, out);
            }
        };
        let command = match SmtpCommand::parse(line) {
            Ok(command) => command,
            Err(SmtpCommandError::UnknownChunkSize) => {
                // What follows may be content, of which nothing may be taken for commands. The session ends.
                self.refuse_for_free(&replies::INVALID_ARGUMENTS, out);
                return None;
            }
            Err(error) => {
                let refused = error == SmtpCommandError::NoRecipient;
                return self.deny(&error.reply(), count_refused(transaction, refused), out);
            }
        };
        match command {
            SmtpCommand::Ehlo(name) => self.hello(name, true, transaction.is_some(), out, environment),
            SmtpCommand::Helo(name) => self.hello(name, false, transaction.is_some(), out, environment),
            SmtpCommand::Mail(arguments) => self.mail(arguments, transaction, input, out, environment),
            SmtpCommand::Rcpt(arguments) => self.rcpt(arguments, transaction, input, out, environment),
            SmtpCommand::Data => self.announce(transaction, out, environment),
            SmtpCommand::Bdat(size, last) => self.begin_chunk(size, last, transaction, environment),
            SmtpCommand::StartTls => self.start_tls(transaction, input, out),
            SmtpCommand::Auth(mechanism, initial) => self.authenticate(mechanism, initial, transaction, out),
            SmtpCommand::Rset => {
                self.phase = SessionPhase::Command;
                self.tolerated = 0;
                replies::OK.write(out);
                transaction.map(|_| SessionStep::Reset)
            }
            SmtpCommand::Quit => {
                replies::BYE.write(out);
                None
            }
            SmtpCommand::Noop => self.accept(&replies::OK, transaction, out),
            SmtpCommand::Vrfy => self.accept(&replies::NOT_VERIFIED, transaction, out),
            SmtpCommand::Help => self.accept(&replies::HELP, transaction, out),
        }
    }

    /// Processes a line of an AUTH exchange.
    pub(super) fn login<'i>(
        &mut self,
        exchange: AuthExchange,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        match self.line(input, |_| AUTH_LINE) {
            Ok(line) => {
                let next = exchange.respond(line);
                self.proceed(next, out)
            }
            Err(fault) => {
                let reply = fault.reply(true);
                self.phase = match fault {
                    InputLine::Partial | InputLine::Overflow(_) => SessionPhase::Login(exchange),
                    _ => SessionPhase::Command,
                };
                self.faulty(fault, &reply, out)
            }
        }
    }

    /// Consumes a line, valid or not.
    fn line<'i>(
        &mut self,
        input: &mut &'i [u8],
        longest: impl Fn(&[u8]) -> usize,
    ) -> Result<&'i [u8], InputLine<'i>> {
        let found = input_line::first(input, self.overflowed, longest, self.settings.bare_newline);
        self.overflowed = if let InputLine::Overflow(verb) = found { Some(verb) } else { None };
        *input = match found {
            InputLine::Whole(_, rest) | InputLine::TooLong(_, rest) | InputLine::Malformed(_, rest) => rest,
            InputLine::Overflow(_) => &[],
            InputLine::Partial => input,
        };
        match found {
            InputLine::Whole(line, _) => Ok(line),
            fault => Err(fault),
        }
    }

    fn faulty<'i>(
        &mut self,
        fault: InputLine<'_>,
        reply: &Reply,
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        if matches!(fault, InputLine::Partial | InputLine::Overflow(_)) {
            return Some(SessionStep::Read);
        }
        self.refuse(reply, out);
        None
    }

    pub(super) fn resume(&mut self, transaction: Option<MailTransaction>) {
        self.phase = transaction.map_or(SessionPhase::Command, SessionPhase::Transaction);
    }

    pub(super) fn accept<'i>(
        &mut self,
        reply: &Reply,
        transaction: Option<MailTransaction>,
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        self.resume(transaction);
        reply.write(out);
        None
    }

    /// Refuses a command and continues.
    pub(super) fn deny<'i>(
        &mut self,
        reply: &Reply,
        transaction: Option<MailTransaction>,
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        self.resume(transaction);
        self.refuse(reply, out);
        None
    }

    /// Refuses a command and continues, without counting an error.
    pub(super) fn deny_for_free<'i>(
        &mut self,
        reply: &Reply,
        transaction: Option<MailTransaction>,
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        self.resume(transaction);
        self.refuse_for_free(reply, out);
        None
    }

    /// Refuses a command that needs a transaction and continues.
    pub(super) fn deny_without_transaction<'i>(&mut self, out: &mut Vec<u8>) -> Option<SessionStep<'i>> {
        self.phase = SessionPhase::Command;
        self.refuse_outside(out);
        None
    }

    fn hello<'i>(
        &mut self,
        name: &[u8],
        extended: bool,
        within: bool,
        out: &mut Vec<u8>,
        environment: &SessionEnvironment,
    ) -> Option<SessionStep<'i>> {
        self.phase = SessionPhase::Command;
        self.tolerated = 0;
        let offered = environment.offered;
        self.greeting = Some(ClientGreeting { name: host_name::passed_on(name), extended, offered });
        if extended {
            self.write_extensions(&offered, out);
        } else {
            Reply::plain(250, self.settings.host.clone()).write(out);
        }
        within.then_some(SessionStep::Reset)
    }

    /// Appends the EHLO reply. It is written line by line without intermediate values, since every session has one.
    fn write_extensions(&self, offered: &Capabilities, out: &mut Vec<u8>) {
        out.reserve(self.settings.host.len() + EXTENSIONS);
        let mut line = |text: &[u8]| {
            let begin = out.len();
            out.extend_from_slice(b"250-");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
            begin
        };
        line(self.settings.host.as_bytes());
        let mut size = b"SIZE ".to_vec();
        decimal(self.longest_message(offered), &mut size);
        line(&size);
        // Not last: some clients look for `250-STARTTLS` and `250-AUTH`.
        for (can, extension) in [
            (self.settings.starttls && !self.tls, "STARTTLS"),
            (self.tls || !self.settings.require_tls, "AUTH PLAIN LOGIN"),
            (offered.eight_bit_mime, "8BITMIME"),
            (offered.smtp_utf8, "SMTPUTF8"),
            (offered.dsn, "DSN"),
            (offered.chunking, "CHUNKING"),
            (offered.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
        ] {
            if can {
                line(extension.as_bytes());
            }
        }
        let last = line(b"PIPELINING");
        out[last + 3] = b' ';
    }

    fn longest_message(&self, offered: &Capabilities) -> u64 {
        let ours = self.settings.max_message;
        offered.size.filter(|theirs| *theirs > 0).map_or(ours, |theirs| theirs.min(ours))
    }

    /// The largest message in bytes that the client may announce: by what it was offered, or by what the backends take now.
    pub(super) fn largest_announced(&self, environment: &SessionEnvironment) -> u64 {
        let now = self.longest_message(&environment.offered);
        self.greeting.as_ref().map_or(now, |greeting| now.max(self.longest_message(&greeting.offered)))
    }

    /// The capabilities that the client may use: those that it was offered, and those that the backends have now. If no backend
    /// has them any more, the refusal is the backend group's, and a temporary one.
    pub(super) fn usable(&self, environment: &SessionEnvironment) -> Capabilities {
        let offered = environment.offered;
        self.greeting.as_ref().map_or(offered, |greeting| offered.either(greeting.offered))
    }

    fn start_tls<'i>(
        &mut self,
        transaction: Option<MailTransaction>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        if !self.settings.starttls {
            return self.deny(&replies::NOT_IMPLEMENTED, transaction, out);
        }
        if self.tls || self.user.is_some() || transaction.is_some() {
            return self.deny(&replies::BAD_SEQUENCE, transaction, out);
        }
        if !input.is_empty() {
            // An attacker who injected them wants them to be executed as if they had been encrypted.
            *input = &[];
            self.refuse_for_free(&replies::STARTTLS_INJECTION, out);
            return None;
        }
        replies::READY_FOR_TLS.write(out);
        self.phase = SessionPhase::Handshake;
        Some(SessionStep::StartTls)
    }

    fn authenticate<'i>(
        &mut self,
        mechanism: &[u8],
        initial: Option<&[u8]>,
        transaction: Option<MailTransaction>,
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        if self.user.is_some() {
            return self.deny(&replies::ALREADY_AUTHENTICATED, transaction, out);
        }
        if self.greeting.is_none() {
            return self.deny(&replies::BAD_SEQUENCE, transaction, out);
        }
        if self.settings.require_tls && !self.tls {
            return self.deny(&replies::ENCRYPTION_REQUIRED, transaction, out);
        }
        self.proceed(auth::begin(mechanism, initial), out)
    }

    fn proceed<'i>(&mut self, next: AuthStep, out: &mut Vec<u8>) -> Option<SessionStep<'i>> {
        match next {
            AuthStep::Challenge(challenge, exchange) => {
                Reply::plain(334, challenge.to_owned()).write(out);
                self.phase = SessionPhase::Login(exchange);
                None
            }
            AuthStep::Check(held) => {
                self.phase = SessionPhase::LoginOutcome;
                Some(SessionStep::Check(held))
            }
            AuthStep::Refused(reply) => {
                self.phase = SessionPhase::Command;
                if reply == replies::BAD_LOGIN {
                    self.note_refusal(&reply);
                    self.login_failed(&reply, out);
                } else {
                    self.refuse(&reply, out);
                }
                None
            }
        }
    }

    /// The reason why there can't be a transaction yet.
    pub(super) fn unready(&self) -> Option<Reply> {
        if self.greeting.is_none() {
            Some(replies::BAD_SEQUENCE)
        } else if self.user.is_some() {
            None
        } else if self.settings.require_tls && !self.tls {
            Some(replies::TLS_FIRST)
        } else {
            Some(replies::AUTH_FIRST)
        }
    }

    pub(super) fn is_extended(&self) -> bool {
        self.greeting.as_ref().is_some_and(|greeting| greeting.extended)
    }
}

/// Counts a recipient that Gatepost itself refused, if `refused` and there is a transaction.
pub(super) fn count_refused(transaction: Option<MailTransaction>, refused: bool) -> Option<MailTransaction> {
    transaction.map(|mut transaction| {
        transaction.refused += usize::from(refused);
        transaction
    })
}
