//! What a session is told: the answers to what it asked for.

use super::phase::{DataPhase, PendingEnvelope, SessionPhase};
use super::{SessionLimit, SmtpSession};
use crate::wire::smtp::data::DataReader;
use crate::wire::smtp::{Reply, replies};

/// How a login turned out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// This one may send.
    Allowed(Box<str>),
    /// Not a login, or not one that may send; the peer isn't told which.
    Denied,
    /// Too many failures before: not checked.
    Throttled,
    /// It can't be found out now.
    Unavailable,
}

impl SmtpSession {
    /// Answers [`super::SessionStep::Check`].
    pub fn complete_login(&mut self, verdict: LoginOutcome, out: &mut Vec<u8>) {
        self.check_asked(matches!(self.phase, SessionPhase::LoginOutcome));
        self.phase = SessionPhase::Command;
        match verdict {
            LoginOutcome::Allowed(user) => {
                self.user = Some(user);
                replies::AUTHENTICATED.write(out);
            }
            LoginOutcome::Denied => self.login_failed(&replies::BAD_LOGIN, out),
            LoginOutcome::Throttled => self.login_failed(&replies::AUTH_UNAVAILABLE, out),
            LoginOutcome::Unavailable => replies::AUTH_UNAVAILABLE.write(out),
        }
    }

    /// Answers [`super::SessionStep::StartTls`]: everything that was sent unencrypted is discarded (RFC 3207
    /// section 4.2).
    pub fn complete_handshake(&mut self) {
        self.check_asked(matches!(self.phase, SessionPhase::Handshake));
        self.phase = SessionPhase::Command;
        self.tls = true;
        self.greeting = None;
    }

    /// Answers [`super::SessionStep::Envelope`]: the reply to the MAIL, where there was one, and unless that is a refusal one to
    /// each recipient. A 421 among them ends the session.
    pub fn complete_envelope(&mut self, mail: Option<Reply>, rcpts: Vec<Reply>, out: &mut Vec<u8>) {
        let SessionPhase::Envelope(asked) = std::mem::replace(&mut self.phase, SessionPhase::Closed) else {
            return self.check_asked(false);
        };
        let PendingEnvelope { mut transaction, mail: asked_mail, rcpts: asked_rcpts } = asked;
        let mut over = false;
        let mut refused = false;
        if asked_mail {
            let reply = mail.unwrap_or(replies::NO_BACKEND);
            refused = !reply.is_positive();
            over = reply.code() == 421;
            reply.write(out);
            if refused {
                self.messages += 1;
                self.tolerate_pipelined();
            } else {
                self.tolerated = 0;
            }
        }
        let mut rcpts = rcpts.into_iter();
        for _ in 0..asked_rcpts {
            if over {
                break;
            }
            if refused {
                // No transaction began. It counts as it does where it comes by itself.
                self.phase = SessionPhase::Command;
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
            reply.write(out);
        }
        self.phase = match (over, refused) {
            (true, _) => SessionPhase::Closed,
            (false, true) => SessionPhase::Command,
            (false, false) => SessionPhase::Transaction(transaction),
        };
    }

    /// Answers [`super::SessionStep::Data`]: 354, or what refuses it; the transaction is over then.
    pub fn complete_data_command(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        let SessionPhase::DataReply(transaction) = std::mem::replace(&mut self.phase, SessionPhase::Closed)
        else {
            return self.check_asked(false);
        };
        match transaction.body {
            Some(body) if reply.is_intermediate() => {
                reply.write(out);
                self.messages += 1;
                self.phase = SessionPhase::Data(DataPhase { body, reader: DataReader::new() });
            }
            _ => self.conclude(reply, out),
        }
    }

    /// Answers content that couldn't be given to the backend: the rest goes nowhere, and `reply` is said at its end.
    pub fn fail_content(&mut self, reply: Reply) {
        let body = match &mut self.phase {
            SessionPhase::Data(phase) => &mut phase.body,
            SessionPhase::Chunk(phase) => &mut phase.body,
            _ => return self.check_asked(false),
        };
        body.rejection.get_or_insert(reply);
    }

    /// Answers [`super::SessionStep::Finish`] and [`super::SessionStep::LastChunk`] with the backend's word on the message.
    pub fn complete_message(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.check_asked(matches!(self.phase, SessionPhase::MessageReply));
        self.conclude(reply, out);
    }

    /// Says that a login failed; too many of them end the session.
    pub(super) fn login_failed(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(out);
        self.failed_logins += 1;
        if self.failed_logins >= self.settings.failed_logins {
            self.reached.push(SessionLimit::Logins);
            self.close_with(&replies::TOO_MANY_LOGINS, out);
        }
    }

    /// An answer to what wasn't asked is a mistake of whoever drives the session.
    fn check_asked(&self, asked: bool) {
        debug_assert!(asked, "nobody asked for that in {:?}", self.phase);
    }
}
