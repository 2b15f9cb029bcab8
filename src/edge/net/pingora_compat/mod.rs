//! Behaviour of pingora that Gatepost relies on and the compiler does not check: side effects that no signature shows. Each item
//! has a test on pingora's own objects. An upgrade that changes one fails there, and the message says where to look.
//!
//! Everything here is about a library, not about the rules of a protocol. The uses are in `edge::http`, unless stated.
//!
//! HTTP/2 (`tests/http2.rs`):
//! - `Date` is set, fields of a connection are removed, and informational responses are ignored. Used by `headers::response`.
//! - The end of a response goes with its header or its last piece, without another frame. Used by `http2_client`.
//! - A client has at most 100 open requests by default. Used by `server` and `intake`.
//! - A stream can be reset with a reason before its response. Used by `server`.
//! - The host of a request is the authority of its target. Used by `http2_client`.
//! - The wait for a client ends when that resets its stream. Used by `http2_client`.
//!
//! Connections (`tests/connectors.rs`):
//! - The connector panics over a file of root certificates that it cannot use. Used by `edge::net::tls_roots`.

use http::HeaderValue;

/// The value of a `Date`, as pingora writes it into each response over HTTP/2.
pub fn date() -> HeaderValue {
    pingora_core::protocols::http::date::get_cached_date()
}

#[cfg(test)]
mod tests;
