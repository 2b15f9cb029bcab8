//! Forms and queries: the fields `api_user` and `api_key` are found, read and masked wherever a backend could read them.

mod attributes;
mod cut_boundary;
mod delimiter;
mod error;
pub(super) mod fields;
mod halves;
mod key;
mod media;
mod multipart;
mod part;
pub mod query;
mod scanner;
mod urlencoded;

pub(super) use halves::{Halves, ValueBuffer};
pub(super) use media::Media;

pub use error::{FormError, MOST_FIELDS};
pub use key::CredentialKey;
pub use query::{QueryCredential, take_credential, without_credential};
pub use scanner::BodyScanner;
