//! The errors of a request's body.

use std::io;

use crate::edge::http::error::Refusal;
use crate::wire::FormError;

/// The reason that a body can't be read.
#[derive(Debug)]
pub enum BodyError {
    /// The client went away.
    Gone,
    /// The request is refused.
    Refused(Refusal),
}

/// The refusal of a form that can't be read.
pub fn form_refused(error: FormError) -> BodyError {
    BodyError::Refused(Refusal::Malformed(error.to_string().into()))
}

/// The refusal of a request whose body can't be spooled.
pub fn spool_failed(error: io::Error) -> BodyError {
    tracing::error!(%error, "the body of a request can't be spooled");
    BodyError::Refused(Refusal::Overloaded("Temporarily unavailable, try again"))
}
