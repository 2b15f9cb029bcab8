//! Floor 1: pure bytes <-> values. Nothing here reads a socket, a file or a clock, every buffer is bounded, and no input
//! panics; where input comes in pieces, any split of it gives the same result.

mod attributes;
mod delimiter;
pub mod form;
mod key;
mod media;
mod multipart;
mod part;
mod percent;
pub mod presented;
pub mod query;
mod urlencoded;

pub use form::{BodyScanner, FormError};
pub use key::CredentialKey;
pub use presented::{BASIC_BUFFER, BasicError, CredentialError, Gathered, Held, LONGEST_VALUE, basic};
pub use query::{Taken, take_credential};
