//! The reasons why a mail transaction is refused, and the one table from each of them to its SMTP reply.

use super::backend::group::NoBackend;
use super::backend::lost::BackendLost;
use crate::domain::RefusalReason;
use crate::state::metrics::MessageOutcome;
use crate::wire::smtp::{Reply, replies};

/// The reason why a sender, a recipient or a message is refused.
#[derive(Debug)]
pub enum MailRefusal {
    /// The session is not authenticated.
    NotAuthenticated,
    /// The credential does not hold the permission `email`.
    NotPermitted,
    /// The credential or its account no longer exists, or the account is suspended.
    Revoked,
    /// The credential could not be checked.
    Undecided,
    /// The credential could not be checked, for want of trust, and neither could it at the last step.
    StillCutOff,
    /// Connecting to a backend failed.
    NoBackend(NoBackend),
    /// The backend refused a command or the message: its reply, 4yz or 5yz.
    ByBackend(Reply),
    /// The backend's reply to MAIL or RCPT is none that RFC 5321 section 4.3.2 allows there.
    InvalidEnvelopeReply(Reply),
    /// The backend's reply to DATA, a chunk or the end of a message is none that RFC 5321 section 4.3.2 allows there.
    InvalidMessageReply(Reply),
    /// The connection to the backend was lost, perhaps after its refusal of a message that had not ended.
    BackendLost(BackendLost),
    /// Gatepost ended the message early. The session has its own reply to the message; this one answers later commands.
    Aborted,
}

impl MailRefusal {
    /// The reply to the client.
    pub fn reply(&self) -> Reply {
        match self {
            MailRefusal::NotAuthenticated => replies::AUTH_FIRST,
            MailRefusal::NotPermitted => replies::MAY_NOT_SEND,
            MailRefusal::Revoked => replies::REVOKED,
            MailRefusal::Undecided => replies::AUTH_UNAVAILABLE,
            MailRefusal::StillCutOff => replies::STILL_CUT_OFF,
            MailRefusal::NoBackend(NoBackend::CutOff) => replies::AUTH_UNAVAILABLE,
            MailRefusal::NoBackend(NoBackend::Down(_)) => replies::NO_BACKEND,
            MailRefusal::NoBackend(NoBackend::Busy) => replies::BACKENDS_BUSY,
            MailRefusal::ByBackend(reply) => reply.clone(),
            MailRefusal::InvalidEnvelopeReply(_) => replies::NO_BACKEND,
            MailRefusal::InvalidMessageReply(_) => replies::BACKEND_LOST,
            MailRefusal::BackendLost(lost) => lost.reply(),
            MailRefusal::Aborted => replies::BACKEND_LOST,
        }
    }

    /// The reason, the backend's reply and more for the log of a transaction; `None` for what is logged where it was decided.
    pub fn logged(&self) -> Option<(RefusalReason, Option<&Reply>, String)> {
        let of_reply = |reason, reply| Some((reason, Some(reply), String::new()));
        match self {
            MailRefusal::NoBackend(NoBackend::CutOff) => Some((RefusalReason::CutOff, None, String::new())),
            MailRefusal::NoBackend(error) => Some((RefusalReason::NoMailBackend, None, error.to_string())),
            MailRefusal::BackendLost(lost) => {
                let refused = lost.refusal().is_some();
                let reason = if refused { RefusalReason::Message } else { RefusalReason::BackendLost };
                Some((reason, lost.last.as_ref(), lost.detail.clone()))
            }
            MailRefusal::ByBackend(reply) => of_reply(RefusalReason::Message, reply),
            MailRefusal::InvalidEnvelopeReply(reply) => of_reply(RefusalReason::EnvelopeReply, reply),
            MailRefusal::InvalidMessageReply(reply) => of_reply(RefusalReason::MessageReply, reply),
            MailRefusal::NotAuthenticated
            | MailRefusal::NotPermitted
            | MailRefusal::Revoked
            | MailRefusal::Undecided
            | MailRefusal::StillCutOff
            | MailRefusal::Aborted => None,
        }
    }

    /// The outcome of a message that had begun.
    pub fn outcome(&self) -> MessageOutcome {
        match self {
            MailRefusal::ByBackend(reply) if reply.is_permanent() => MessageOutcome::Rejected,
            MailRefusal::NotAuthenticated
            | MailRefusal::NotPermitted
            | MailRefusal::Revoked
            | MailRefusal::Undecided
            | MailRefusal::StillCutOff
            | MailRefusal::Aborted => MessageOutcome::Refused,
            MailRefusal::NoBackend(_)
            | MailRefusal::ByBackend(_)
            | MailRefusal::InvalidEnvelopeReply(_)
            | MailRefusal::InvalidMessageReply(_) => MessageOutcome::Deferred,
            MailRefusal::BackendLost(lost) => match lost.refusal() {
                Some(refusal) if refusal.is_permanent() => MessageOutcome::Rejected,
                Some(_) => MessageOutcome::Deferred,
                None => MessageOutcome::Lost,
            },
        }
    }
}
