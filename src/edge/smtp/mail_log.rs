//! The log of one mail transaction: a line for each refusal, and a line in the access log when a message has ended.

use std::sync::Arc;
use std::time::Instant;

use tracing::{Level, debug, enabled};

use super::submitter::Submitter;
use crate::domain::{Entry, LONGEST_TEXT, MailId, RefusalReason, shown};
use crate::edge::net::refusal_log::{RefusalLine, RefusalLog};
use crate::state::metrics::MessageOutcome;
use crate::wire::smtp::Reply;

/// The target of the lines about messages, for `log.level`.
const TARGET: &str = "access";

/// The recipients of a message that are shown, and the most bytes of each address.
const RECIPIENTS: usize = 3;
const LONGEST_ADDRESS: usize = 128;

/// The log of one transaction.
pub struct MailLog {
    refusals: Arc<RefusalLog>,
    submitter: Arc<Submitter>,
    id: MailId,
    /// None while the access log is off, where it costs nothing.
    access: Option<Box<MailAccess>>,
}

/// A message as its line in the access log names it.
struct MailAccess {
    began: Instant,
    sender: String,
    /// The first recipients that were accepted, separated by blanks.
    shown_recipients: String,
    recipients: usize,
    size: u64,
    upstream: String,
    reply: String,
}

/// A refusal within a transaction.
#[derive(Clone, Copy, Debug)]
pub struct MailRefusalLine<'a> {
    /// The reason.
    pub reason: RefusalReason,
    /// The reply to the client.
    pub told: &'a Reply,
    /// The backend's reply.
    pub reply: Option<&'a Reply>,
    /// The URL of the backend; empty without one.
    pub upstream: &'a str,
    /// More about it.
    pub detail: &'a str,
}

impl MailLog {
    /// The log of the transaction `id`. `mail` is what follows `MAIL FROM:`.
    pub fn new(refusals: Arc<RefusalLog>, submitter: Arc<Submitter>, id: MailId, mail: &[u8]) -> MailLog {
        let access = enabled!(target: TARGET, Level::DEBUG).then(|| {
            Box::new(MailAccess {
                began: Instant::now(),
                sender: address(mail),
                shown_recipients: String::new(),
                recipients: 0,
                size: 0,
                upstream: String::new(),
                reply: String::new(),
            })
        });
        MailLog { refusals, submitter, id, access }
    }

    /// Logs a refusal.
    pub fn refused(&self, refusal: MailRefusalLine<'_>) {
        let reply = refusal.reply.map(Reply::to_string).unwrap_or_default();
        self.refusals.write(&RefusalLine {
            request_id: &self.id.to_string(),
            user: self.submitter.user.as_str(),
            code: &refusal.told.codes(),
            detail: refusal.detail,
            upstream: refusal.upstream,
            reply: &reply,
            ..RefusalLine::new(Entry::Smtp, self.submitter.address, refusal.reason.as_str())
        });
    }

    /// Logs that a backend refused a recipient; `rcpt` is what follows `RCPT TO:`.
    pub fn recipient_refused(&self, rcpt: &[u8], upstream: &str, reply: &Reply) {
        let (reason, detail) = (RefusalReason::Recipient, address(rcpt));
        self.refused(MailRefusalLine { reason, told: reply, reply: Some(reply), upstream, detail: &detail });
    }

    /// Notes the recipients that were accepted.
    pub fn note_recipients(&mut self, rcpts: &[Vec<u8>], replies: &[Reply]) {
        let Some(access) = &mut self.access else { return };
        for (rcpt, _) in rcpts.iter().zip(replies).filter(|(_, reply)| reply.is_acceptance()) {
            if access.recipients < RECIPIENTS {
                if access.recipients > 0 {
                    access.shown_recipients.push(' ');
                }
                access.shown_recipients += &address(rcpt);
            }
            access.recipients += 1;
        }
    }

    /// Notes that this many bytes of the message arrived.
    pub fn note_content(&mut self, bytes: usize) {
        if let Some(access) = &mut self.access {
            access.size += bytes as u64;
        }
    }

    /// Notes a backend's reply to the message.
    pub fn note_reply(&mut self, upstream: &str, reply: &Reply) {
        if let Some(access) = &mut self.access {
            access.upstream = upstream.to_owned();
            access.reply = reply.to_string();
        }
    }

    /// Logs the end of a message.
    pub fn end(&self, outcome: MessageOutcome) {
        let Some(access) = &self.access else { return };
        let message = match outcome {
            MessageOutcome::Accepted => "backend accepted the message",
            _ => "message not accepted",
        };
        debug!(
            target: TARGET,
            entry = Entry::Smtp.as_str(),
            request_id = %self.id,
            source = %self.submitter.address,
            user = self.submitter.user.as_str(),
            sender = access.sender,
            recipients = access.recipients,
            first_recipients = access.shown_recipients,
            size = access.size,
            upstream = Some(access.upstream.as_str()).filter(|upstream| !upstream.is_empty()),
            reply = Some(shown(access.reply.as_bytes(), LONGEST_TEXT)).filter(|reply| !reply.is_empty()),
            outcome = outcome.as_str(),
            ms = access.began.elapsed().as_secs_f64() * 1e3,
            "{message}",
        );
    }
}

/// The path in the arguments of MAIL or RCPT, for the log.
fn address(arguments: &[u8]) -> String {
    let end = arguments.windows(2).position(|pair| pair == b"> ").map_or(arguments.len(), |end| end + 1);
    shown(&arguments[..end], LONGEST_ADDRESS)
}
