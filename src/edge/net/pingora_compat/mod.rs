//! Behaviour of pingora that Gatepost relies on and the compiler does not check: side effects that no signature shows. Each item
//! has a test on pingora's own objects. An upgrade that changes one fails there, and the message says where to look.
//!
//! Everything here is about a library, not about the rules of a protocol. The uses are in `edge::http`, unless stated.
//!
//! Connections (`tests/connectors.rs`):
//! - The connector panics over a file of root certificates that it cannot use. Used by `edge::net::tls_roots`.

use http::HeaderValue;

/// The value of a `Date`, which is formatted once a second.
pub fn date() -> HeaderValue {
    pingora_core::protocols::http::date::get_cached_date()
}

#[cfg(test)]
mod tests;
