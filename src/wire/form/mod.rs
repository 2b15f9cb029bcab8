//! Forms and queries: the fields `api_user` and `api_key` are found, read and masked wherever a backend could read them.

mod credential_halves;
mod cut_boundary;
mod delimiter;
mod error;
pub(super) mod fields;
mod header_parameters;
mod key;
mod media_type;
mod multipart;
mod part_header;
pub mod query;
mod scanner;
mod urlencoded;

pub(super) use credential_halves::{CredentialHalves, CredentialValueBuffer};
pub(super) use media_type::MediaType;

pub use error::{FormError, MOST_FIELDS};
pub use key::CredentialKey;
pub use query::{QueryCredential, take_credential, without_credential};
pub use scanner::BodyScanner;
