//! The reasons why a form is refused.

use thiserror::Error;

use crate::wire::credential::CredentialError;

/// The reason why a form is refused. Each is a 400, with this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormError {
    /// The credential in it can't be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Not well-formed, or readable in two ways; with the place.
    #[error("malformed form: {0}")]
    Malformed(&'static str),
    /// An urlencoded form in a character set that is not a superset of ASCII.
    #[error("a form's character set must be UTF-8 or another superset of ASCII")]
    Charset,
    /// A part whose header is larger than 16 KiB.
    #[error("the header of a part is too large")]
    PartHeaderTooLarge,
}
