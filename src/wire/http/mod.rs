//! HTTP without a socket.
//!
//! - `authorization` decodes Basic credentials, `origin` compares the origin of a request with the server's. `cors` has the
//!   fields by which pages of other origins may read an answer.
//! - `path` normalizes a path, `readings` are the paths that servers could take it for. `route` matches it with the pattern of a
//!   route, made of `pattern_segment`s. `suffix` relates paths that extend a route's path, `mail_path` recognizes the paths that
//!   send mail.
//! - `request_head` and `response_head` read the heads of HTTP/1 messages into `header_fields`, each classified by its `field_kind`.
//!   `field_lines` reads the usual ones, and leaves the others to the httparse crate. `body_length` finds the end of a body. `head_error` has their errors.
//!   `characters` has the sets of characters that the parts of a header consist of.
//! - `cookies` finds and removes the cookies of sessions, `next_address` is the address that a login leads back to.
//! - `chunked` decodes the chunked transfer coding, `http2_frames` counts the requests of an HTTP/2 connection.

pub mod authorization;
mod body_length;
mod characters;
pub mod chunked;
pub mod cookies;
pub mod cors;
mod field_kind;
mod field_lines;
mod head_error;
mod header_fields;
mod http2_frames;
mod mail_path;
pub mod next_address;
pub mod origin;
pub mod path;
mod pattern_segment;
pub mod readings;
mod request_head;
mod response_head;
pub mod route;
mod suffix;

pub use authorization::{BASIC_BUFFER, BasicBuffer, BasicError, basic};
pub use body_length::{BodyLength, LengthError, merged_length};
pub use chunked::{ChunkedDecoder, ChunkedError, ChunkedItem};
pub use cookies::{
    CONSOLE_COOKIE, GATE_COOKIE, cookies, sets_own_cookie, without_own_cookies, without_prefix,
};
pub use cors::{CorsField, Preflight, answer_fields, listed_origin};
pub use field_kind::FieldKind;
pub use head_error::HeadError;
pub use header_fields::{HeaderField, HeaderFields};
pub use http2_frames::RequestFrames;
pub use mail_path::sends_mail;
pub use next_address::{NextAddress, belongs_to};
pub use origin::OwnOrigin;
pub use path::{PathError, RequestTarget, encode_query, is_ordinary, normalize, unreserved};
#[cfg(test)]
pub use pattern_segment::steps_of;
pub use readings::{AmbiguousPath, Reading, ReadingKind, Readings};
pub use request_head::RequestHead;
pub use response_head::ResponseHead;
pub use route::RoutePattern;
