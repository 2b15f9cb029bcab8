//! The header fields of requests and responses on their way through.

pub mod hop_by_hop;
pub mod request;
pub mod response;
pub mod response_length;
