//! The errors of reading the head of a message.

use thiserror::Error;

/// The reason that the head of a message can't be read. The text never quotes it, since it may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadError {
    /// An invalid or ambiguous head.
    #[error("{0}")]
    Malformed(&'static str),
    /// Too many bytes.
    #[error("the header is too large")]
    TooLarge,
    /// Too many fields.
    #[error("the header has too many fields")]
    TooManyFields,
}
