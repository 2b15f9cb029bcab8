//! Layer 1: pure functions between bytes and values. Nothing here reads a socket, a file or a clock, every buffer is bounded, and no input
//! panics; where input comes in pieces, any split of it gives the same result.
//!
//! - [`form`]: `api_user` and `api_key` in forms and queries: found, read and masked.
//! - [`http`]: Basic logins, request targets, paths, routes, origins and framing.
//! - [`api`]: calls of the credentials API, their parameters and replies.
//! - [`smtp`]: both sides of SMTP.
//! - [`credential`]: credentials as clients present them, for all of these.

pub mod api;
pub mod credential;
pub mod form;
pub mod http;
mod percent;
pub mod smtp;

#[cfg(test)]
pub use self::http::steps_of;
pub use self::http::{
    BASIC_BUFFER, BasicError, ChunkedError, ChunkedValidator, OwnOrigin, PathError, RequestFrames,
    RequestTarget, RoutePattern, basic, cut_short, normalize, sends_mail,
};
pub use api::{CallParameters, CallParametersError, CredentialsAction, CredentialsCall, ReplyFormat, reply};
pub use credential::{CredentialError, LONGEST_VALUE, PresentedCredential, one_credential};
pub use form::{BodyScanner, CredentialKey, FormError, QueryCredential, take_credential, without_credential};
