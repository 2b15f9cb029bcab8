//! The loss of a backend in the middle of a transaction.

use thiserror::Error;

use crate::wire::smtp::Reply;
use crate::wire::smtp::replies::{BACKEND_LOST, NO_BACKEND};

/// The loss of a backend that no other backend can take the place of.
#[derive(Debug, Error)]
#[error("{detail}")]
pub struct BackendLost {
    /// The cause, for the log.
    pub detail: String,
    /// The URL of the backend; empty if it was lost before.
    pub upstream: String,
    /// The last reply that the backend sent: a 421, or a refusal in the middle of a message.
    pub last: Option<Reply>,
    /// True if the backend was given the message or a part of it.
    pub given: bool,
}

impl BackendLost {
    /// The backend's refusal of the message that it was given a part of.
    pub fn refusal(&self) -> Option<&Reply> {
        self.last.as_ref().filter(|last| self.given && last.is_refusal() && last.code() != 421)
    }

    /// The reply to the client.
    ///
    /// - A 421 of the backend, as a 451: the client's own connection stays open.
    /// - Any other last reply, if the backend was given the message. If it wasn't, that reply refused the backend connection
    ///   and not the message.
    /// - Otherwise `451 4.4.2` if the backend may have the message, and `451 4.4.1` if it can't.
    pub fn reply(&self) -> Reply {
        match (&self.last, self.given) {
            (Some(last), _) if last.code() == 421 => as_451(last),
            (Some(last), true) => last.clone(),
            (None, true) => BACKEND_LOST,
            (Some(_) | None, false) => NO_BACKEND,
        }
    }
}

fn as_451(reply: &Reply) -> Reply {
    let code = reply.enhanced().map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
    let lines: Vec<Vec<u8>> = reply.lines().map(|line| [code.as_bytes(), line].concat()).collect();
    Reply::received(451, lines.iter().map(Vec::as_slice))
}
