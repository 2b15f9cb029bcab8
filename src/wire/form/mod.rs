//! Forms and queries: finds, reads and masks the fields `api_user` and `api_key` wherever a backend could read them.
//!
//! - `scanner` masks a streamed body, by `urlencoded` or `multipart`; `media_type` tells which form a body is, and
//!   `charset` whether it is one in the character set that it names.
//! - Of a multipart body, `delimiter` finds the boundary, `part_header` reads the header of a part with `header_parameters` and `encoded_word`;
//!   `part_refusal` has the texts.
//!   `cut_boundary` and `stray_disposition` watch for fields that only some backends see.
//! - `fields` reads all fields of a small form in memory, `page_form` those of a form of Gatepost's own, `query` takes a credential out of a query.
//! - `key` recognizes the two names, `credential_halves` collects the two values, `error` is the reason for a refusal.

mod charset;
mod credential_halves;
mod cut_boundary;
mod delimiter;
mod encoded_word;
mod error;
pub(super) mod fields;
mod header_parameters;
mod key;
mod media_type;
mod multipart;
mod page_form;
mod part_header;
mod part_refusal;
#[cfg(test)]
mod pieces;
pub mod query;
mod scanner;
mod stray_disposition;
mod urlencoded;
mod word_matcher;

pub(super) use credential_halves::{CredentialHalves, CredentialValueBuffer};
pub(super) use media_type::MediaType;

pub use error::FormError;
pub use key::CredentialKey;
pub use page_form::{PageForm, PageFormError};
pub use query::{QueryCredential, path_has_credential, take_credential, without_credential};
pub use scanner::BodyScanner;
