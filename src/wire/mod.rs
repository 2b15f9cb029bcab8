//! Layer 1: protocols as pure functions between bytes and values. Nothing here uses a socket, a file or a clock. Every buffer
//! is bounded, no input panics, and any split of the input gives the same result.
//!
//! - [`form`]: `api_user` and `api_key` in forms and queries: finds, reads and masks them.
//! - [`http`]: Basic authorization, request targets, normalized paths, routes, origins, and framing.
//! - [`api`]: calls of the credentials API, their parameters and responses.
//! - [`smtp`]: both sides of SMTP.
//! - [`credential`]: the credential that a request carries, for all of these.

pub mod api;
pub mod credential;
pub mod form;
pub mod http;
mod percent;
pub mod smtp;

#[cfg(test)]
pub use self::http::steps_of;
pub use self::http::{
    AmbiguousPath, BASIC_BUFFER, BasicBuffer, BasicError, BodyLength, CONSOLE_COOKIE, ChunkedDecoder,
    ChunkedError, ChunkedItem, CorsField, FieldKind, GATE_COOKIE, HeadError, HeaderField, HeaderFields,
    LengthError, NextAddress, OwnOrigin, PathError, Preflight, Reading, ReadingKind, Readings, RequestFrames,
    RequestHead, RequestTarget, ResponseHead, RoutePattern, answer_fields, basic, belongs_to, cookies,
    encode_query, is_ordinary, listed_origin, merged_length, normalize, sends_mail, sets_own_cookie,
    unreserved, without_own_cookies, without_prefix,
};
pub use api::{
    CallParameters, CallParametersError, CredentialsAction, CredentialsCall, RefusalFormat, ReplyFormat,
    reply,
};
pub use credential::{CredentialError, LONGEST_VALUE, PresentedCredential, one_credential};
pub use form::{
    BodyScanner, CredentialKey, FormError, PageForm, PageFormError, QueryCredential, path_has_credential,
    take_credential, without_credential,
};
