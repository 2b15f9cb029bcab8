//! The bodies of requests, as they are read from the client and forwarded.

pub(super) mod error;
pub(super) mod pacing;
pub(super) mod source;
pub mod spool;
