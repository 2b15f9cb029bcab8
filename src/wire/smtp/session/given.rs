//! What a session is told: the answers to what it asked for.

use super::phase::{DataPhase, PendingEnvelope, Phase};
use super::{Limit, Session};
use crate::wire::smtp::data::DataReader;
use crate::wire::smtp::{Reply, answers};

/// How a login turned out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This one may send.
    Allowed(Box<str>),
    /// Not a login, or not one that may send; the peer isn't told which.
    Denied,
    /// Too many failures before: not checked.
    Throttled,
    /// It can't be found out now.
    Unavailable,
}

impl Session {
    /// Answers [`super::Step::Check`].
    pub fn checked(&mut self, verdict: Verdict, out: &mut Vec<u8>) {
        self.check_asked(matches!(self.phase, Phase::Verdict));
        self.phase = Phase::Command;
        match verdict {
            Verdict::Allowed(user) => {
                self.user = Some(user);
                answers::AUTHENTICATED.write(out);
            }
            Verdict::Denied => self.login_failed(&answers::BAD_LOGIN, out),
            Verdict::Throttled => self.login_failed(&answers::AUTH_UNAVAILABLE, out),
            Verdict::Unavailable => answers::AUTH_UNAVAILABLE.write(out),
        }
    }

    /// Answers [`super::Step::StartTls`]: all that was said in clear is forgotten (RFC 3207 section 4.2).
    pub fn encrypted(&mut self) {
        self.check_asked(matches!(self.phase, Phase::Handshake));
        self.phase = Phase::Command;
        self.tls = true;
        self.greeting = None;
    }

    /// Answers [`super::Step::Envelope`]: the reply to the MAIL, where there was one, and unless that is a refusal one to
    /// each recipient. A 421 among them ends the session.
    pub fn envelope(&mut self, mail: Option<Reply>, rcpts: Vec<Reply>, out: &mut Vec<u8>) {
        let Phase::Envelope(asked) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return self.check_asked(false);
        };
        let PendingEnvelope { mut transaction, mail: asked_mail, rcpts: asked_rcpts } = asked;
        let mut over = false;
        let mut refused = false;
        if asked_mail {
            let reply = mail.unwrap_or(answers::NO_BACKEND);
            refused = !reply.is_positive();
            over = reply.code() == 421;
            reply.write(out);
            if refused {
                self.messages += 1;
                self.forgive();
            } else {
                self.forgiven = 0;
            }
        }
        let mut rcpts = rcpts.into_iter();
        for _ in 0..asked_rcpts {
            if over {
                break;
            }
            if refused {
                // No transaction began. It counts as it does where it comes by itself.
                self.phase = Phase::Command;
                self.refuse_outside(out);
                over = self.is_over();
                continue;
            }
            let reply = rcpts.next().unwrap_or(answers::NO_BACKEND);
            match reply.is_positive() {
                true => transaction.accepted += 1,
                false => transaction.refused += 1,
            }
            over = reply.code() == 421;
            reply.write(out);
        }
        self.phase = match (over, refused) {
            (true, _) => Phase::Closed,
            (false, true) => Phase::Command,
            (false, false) => Phase::Transaction(transaction),
        };
    }

    /// Answers [`super::Step::Data`]: 354, or what refuses it; the transaction is over then.
    pub fn go_ahead(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        let Phase::GoAhead(transaction) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return self.check_asked(false);
        };
        match transaction.body {
            Some(body) if reply.is_intermediate() => {
                reply.write(out);
                self.messages += 1;
                self.phase = Phase::Data(DataPhase { body, reader: DataReader::new() });
            }
            _ => self.conclude(reply, out),
        }
    }

    /// Answers content that couldn't be given to the backend: the rest goes nowhere, and `reply` is said at its end.
    pub fn failed(&mut self, reply: Reply) {
        let body = match &mut self.phase {
            Phase::Data(phase) => &mut phase.body,
            Phase::Chunk(phase) => &mut phase.body,
            _ => return self.check_asked(false),
        };
        body.doom.get_or_insert(reply);
    }

    /// Answers [`super::Step::Finish`] and [`super::Step::LastChunk`] with the backend's word on the message.
    pub fn outcome(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.check_asked(matches!(self.phase, Phase::Outcome));
        self.conclude(reply, out);
    }

    /// Says that a login failed; too many of them end the session.
    pub(super) fn login_failed(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(out);
        self.failed_logins += 1;
        if self.failed_logins >= self.settings.failed_logins {
            self.reached.push(Limit::Logins);
            self.dismiss(&answers::TOO_MANY_LOGINS, out);
        }
    }

    /// An answer to what wasn't asked is a mistake of whoever drives the session.
    fn check_asked(&self, asked: bool) {
        debug_assert!(asked, "nobody asked for that in {:?}", self.phase);
    }
}
