//! The loss of a backend in the middle of a transaction, and what the client is told.

use thiserror::Error;

use crate::wire::smtp::Reply;
use crate::wire::smtp::replies::{BACKEND_LOST, NO_BACKEND};

/// The backend was lost in the middle, and no other one can take its place.
#[derive(Debug, Error)]
#[error("{detail}")]
pub struct BackendLost {
    /// For the log.
    pub detail: String,
    /// What it said last where it said something before it closed: a 421, or a refusal in the middle of a message.
    pub last: Option<Reply>,
    /// Whether it was given the message or a part of it.
    pub given: bool,
}

impl BackendLost {
    /// What the client is told: the backend's last words, a 421 turned into a 451, since it isn't the client's connection
    /// that ends; or else `451 4.4.2` where the backend may have the message, `451 4.4.1` where it can't have it. What it
    /// refused then before it closed is its connection to us, and not the message.
    pub fn answer(&self) -> Reply {
        match &self.last {
            Some(last) if last.code() == 421 => {
                let codes = last.enhanced().map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
                let lines: Vec<Vec<u8>> =
                    last.lines().map(|line| [codes.as_bytes(), line].concat()).collect();
                Reply::received(451, lines.iter().map(Vec::as_slice))
            }
            Some(last) if self.given => last.clone(),
            None if self.given => BACKEND_LOST,
            _ => NO_BACKEND,
        }
    }
}
