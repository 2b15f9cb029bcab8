//! The errors of a request's body.

use std::io;

use crate::edge::http::error::Refusal;
use crate::wire::{ChunkedError, FormError};

/// The reason that a body can't be read.
#[derive(Debug)]
pub enum BodyError {
    /// The client went away.
    Gone,
    /// The request is refused.
    Refused(Refusal),
}

/// The reason that the connection yields no more of a body.
#[derive(Debug)]
pub enum BodyReadError {
    /// The client is gone.
    Gone,
    /// The body deviates from the chunked coding.
    Invalid(ChunkedError),
}

impl From<BodyReadError> for BodyError {
    fn from(error: BodyReadError) -> BodyError {
        match error {
            BodyReadError::Gone => BodyError::Gone,
            BodyReadError::Invalid(deviation) => {
                BodyError::Refused(Refusal::Malformed(format!("Invalid chunked body: {deviation}").into()))
            }
        }
    }
}

/// The refusal of a form that can't be read.
pub fn form_refused(error: FormError) -> BodyError {
    BodyError::Refused(Refusal::Malformed(error.to_string().into()))
}

/// The refusal of a request whose body can't be spooled.
pub fn spool_failed(error: io::Error) -> BodyError {
    tracing::error!(%error, "the body of a request can't be spooled");
    BodyError::Refused(Refusal::Overloaded("Temporarily unavailable, try again".into()))
}
