//! The header fields of requests and responses on their way through, and of Gatepost's own answers.

pub mod answer;
pub mod hop_by_hop;
pub mod request;
pub mod response;
