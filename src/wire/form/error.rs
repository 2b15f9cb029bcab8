//! Why a form is refused.

use thiserror::Error;

use crate::wire::credential::CredentialError;

/// How many fields or parts a form may have.
pub const MOST_FIELDS: usize = 10_000;

/// Why a form was refused; all of them are 400 to the caller, and the text is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormError {
    /// The credential in it can't be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Not a well-formed form, or one that can be read in two ways; with the place.
    #[error("malformed form: {0}")]
    Malformed(&'static str),
    /// Urlencoded in a character set that isn't a superset of ASCII.
    #[error("a form's character set must be UTF-8 or another superset of ASCII")]
    Charset,
    /// More than [`MOST_FIELDS`].
    #[error("the form has too many fields")]
    TooManyFields,
    /// A part's header over 16 KiB.
    #[error("the header of a part is too large")]
    PartHeaderTooLarge,
}
