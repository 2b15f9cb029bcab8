//! Floor 1: pure bytes <-> values. Nothing here reads a socket, a file or a clock, every buffer is bounded, and no input
//! panics; where input comes in pieces, any split of it gives the same result.

mod attributes;
pub mod call;
pub mod chunked;
mod cut_boundary;
mod delimiter;
mod fields;
pub mod form;
mod http2_frames;
mod key;
mod media;
mod multipart;
pub mod origin;
pub mod parameters;
mod part;
pub mod path;
mod percent;
pub mod presented;
pub mod query;
pub mod reply;
pub mod route;
pub mod smtp;
mod suffix;
mod urlencoded;
mod xml;

pub use call::{Action, Call, Format};
pub use chunked::{ChunkedError, ChunkedValidator};
pub use form::{BodyScanner, FormError};
pub use http2_frames::RequestFrames;
pub use key::CredentialKey;
pub use origin::OwnOrigin;
pub use parameters::{Parameters, ParametersError};
pub use path::{PathError, Target, normalize};
pub use presented::{BASIC_BUFFER, BasicError, CredentialError, Gathered, Held, LONGEST_VALUE, basic};
pub use query::{Taken, take_credential, without_credential};
#[cfg(test)]
pub use route::steps_of;
pub use route::{RoutePattern, cut_short, sends_mail};
