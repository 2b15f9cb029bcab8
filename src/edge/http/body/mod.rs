//! The bodies of requests, as they are read from the client and forwarded.

pub(super) mod source;
pub mod spool;
