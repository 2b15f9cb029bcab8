//! HTTP: Basic logins, request targets, paths and the routes they match, origins; and framing by chunks and HTTP/2 frames.

pub mod authorization;
pub mod chunked;
mod http2_frames;
pub mod origin;
pub mod path;
pub mod route;
mod suffix;

pub use authorization::{BASIC_BUFFER, BasicError, basic};
pub use chunked::{ChunkedError, ChunkedValidator};
pub use http2_frames::RequestFrames;
pub use origin::OwnOrigin;
pub use path::{PathError, RequestTarget, normalize};
#[cfg(test)]
pub use route::steps_of;
pub use route::{RoutePattern, cut_short, sends_mail};
