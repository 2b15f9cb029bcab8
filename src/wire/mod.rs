//! Floor 1: pure bytes <-> values. Nothing here reads a socket, a file or a clock, every buffer is bounded, and no input
//! panics; where input comes in pieces, any split of it gives the same result.

pub mod api;
pub mod form;
pub mod http;
mod percent;
pub mod presented;
pub mod smtp;

#[cfg(test)]
pub use self::http::steps_of;
pub use self::http::{
    ChunkedError, ChunkedValidator, OwnOrigin, PathError, RequestFrames, RoutePattern, Target, cut_short,
    normalize, sends_mail,
};
pub use api::{Action, Call, Format, Parameters, ParametersError, reply};
pub use form::{BodyScanner, CredentialKey, FormError, Taken, take_credential, without_credential};
pub use presented::{BASIC_BUFFER, BasicError, CredentialError, Gathered, Held, LONGEST_VALUE, basic};
