//! The methods that complete a [`SessionStep`](super::SessionStep).

use super::content_reader::ContentReader;
use super::phase::{DataPhase, PendingEnvelope, SessionPhase};
use super::{SessionLimit, SmtpSession};
use crate::wire::smtp::{Reply, replies};

/// The outcome of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The credential, of this username, is valid and may send.
    Allowed(Box<str>),
    /// The credential is invalid or may not send. The client is not told which.
    Denied,
    /// The login was not checked because of too many failures before.
    Throttled,
    /// The login can't be checked now.
    Unavailable,
}

impl SmtpSession {
    /// Completes [`SessionStep::Check`](super::SessionStep::Check).
    pub fn complete_login(&mut self, outcome: LoginOutcome, out: &mut Vec<u8>) {
        self.check_expected(matches!(self.phase, SessionPhase::LoginOutcome));
        self.within = false;
        self.phase = SessionPhase::Command;
        match outcome {
            LoginOutcome::Allowed(user) => {
                self.user = Some(user);
                replies::AUTHENTICATED.write(out);
            }
            LoginOutcome::Denied => self.login_failed(&replies::BAD_LOGIN, out),
            LoginOutcome::Throttled => self.login_failed(&replies::AUTH_UNAVAILABLE, out),
            LoginOutcome::Unavailable => self.tell(&replies::AUTH_UNAVAILABLE, out),
        }
    }

    /// Completes [`SessionStep::StartTls`](super::SessionStep::StartTls). What the client sent unencrypted is void (RFC 3207
    /// section 4.2).
    pub fn complete_handshake(&mut self) {
        self.check_expected(matches!(self.phase, SessionPhase::Handshake));
        self.phase = SessionPhase::Command;
        self.tls = true;
        self.greeting = None;
    }

    /// Completes [`SessionStep::Envelope`](super::SessionStep::Envelope). `mail` is the reply to MAIL, if that was requested.
    /// Unless it is a refusal, `rcpts` has a reply to each recipient. A 421 among them ends the session.
    pub fn complete_envelope(&mut self, mail: Option<Reply>, rcpts: Vec<Reply>, out: &mut Vec<u8>) {
        let SessionPhase::Envelope(pending) = std::mem::replace(&mut self.phase, SessionPhase::Closed) else {
            return self.check_expected(false);
        };
        let PendingEnvelope { mut transaction, mail: awaits_mail, rcpts: awaited_rcpts } = pending;
        let mut over = false;
        let mut refused = false;
        if awaits_mail {
            let reply = mail.unwrap_or(replies::NO_BACKEND);
            refused = !reply.is_positive();
            over = reply.code() == 421;
            self.tell(&reply, out);
            if refused {
                self.messages += 1;
                self.tolerate_pipelined();
            } else {
                self.tolerated = 0;
            }
        }
        let mut rcpts = rcpts.into_iter();
        for _ in 0..awaited_rcpts {
            if over {
                break;
            }
            if refused {
                // Without a transaction, such a recipient counts as if it had not been pipelined.
                self.phase = SessionPhase::Command;
                self.within = false;
                self.refuse_outside(out);
                over = self.is_over();
                continue;
            }
            let reply = rcpts.next().unwrap_or(replies::NO_BACKEND);
            match reply.is_positive() {
                true => transaction.accepted += 1,
                false => transaction.refused += 1,
            }
            over = reply.code() == 421;
            self.tell(&reply, out);
        }
        self.phase = match (over, refused) {
            (true, _) => SessionPhase::Closed,
            (false, true) => SessionPhase::Command,
            (false, false) => SessionPhase::Transaction(transaction),
        };
    }

    /// Completes [`SessionStep::Data`](super::SessionStep::Data) with 354 or with a refusal, which ends the transaction.
    pub fn complete_data_command(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        let SessionPhase::DataReply(transaction) = std::mem::replace(&mut self.phase, SessionPhase::Closed)
        else {
            return self.check_expected(false);
        };
        match transaction.body {
            Some(body) if reply.is_intermediate() => {
                reply.write(out);
                self.messages += 1;
                let reader = ContentReader::new(self.settings.bare_newline);
                self.phase = SessionPhase::Data(DataPhase { body, reader });
            }
            _ => self.conclude(reply, out),
        }
    }

    /// Reports that content could not be sent to the backend. The rest is discarded, and `reply` is the reply to the message.
    pub fn fail_content(&mut self, reply: Reply) {
        let body = match &mut self.phase {
            SessionPhase::Data(phase) => &mut phase.body,
            SessionPhase::Chunk(phase) => &mut phase.body,
            _ => return self.check_expected(false),
        };
        body.rejection.get_or_insert(reply);
    }

    /// Completes [`SessionStep::Finish`](super::SessionStep::Finish) and
    /// [`SessionStep::LastChunk`](super::SessionStep::LastChunk) with the reply to the message.
    pub fn complete_message(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.check_expected(matches!(self.phase, SessionPhase::MessageReply));
        if reply.is_positive() {
            // One malformed recipient in each of many messages must not end the session of a client that keeps it.
            self.errors = 0;
        }
        self.conclude(reply, out);
    }

    /// Refuses a login and counts it. Too many failed logins end the session.
    pub(super) fn login_failed(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.tell(reply, out);
        self.failed_logins += 1;
        if self.failed_logins >= self.settings.failed_logins {
            self.reached.push(SessionLimit::Logins);
            self.end_with(&replies::TOO_MANY_LOGINS, out);
        }
    }

    /// Checks, in debug builds, that the driver completes only a step that it was given.
    fn check_expected(&self, expected: bool) {
        debug_assert!(expected, "no such step was taken in {:?}", self.phase);
    }
}
