//! Behaviour of pingora that Gatepost relies on and the compiler does not check: errors recognized by a text or by a cause,
//! and side effects that no signature shows. Each item has a test on pingora's own objects. An upgrade that changes one
//! fails there, and the message says where to look.
//!
//! Everything here is about a library, not about the rules of a protocol. The uses are in `edge::http`, unless stated.
//!
//! Errors (`tests/errors.rs`):
//! - An invalid chunk and an invalid trailer section are errors with the names in [`is_invalid_chunk`]. Used by `body::pacing`.
//! - A header with too many fields is an error whose cause is httparse's, see [`has_too_many_fields`]. Used by `server`.
//! - An error of the stream below a session is the cause of the session's error, see [`stream_error`]. Used by `framing`.
//! - The text of an error quotes the header that could not be read, see [`without_quotes`]. Used by `proxy::duplex`.
//! - A connection that fails before the first byte of a header is no request; later it is an error. Used by `server`.
//!
//! Requests over HTTP/1 (`tests/requests.rs`):
//! - The raw header keeps a `Content-Length` that pingora leaves out, and a lone LF. Used by `ambiguity`.
//! - An invalid target is escaped before it is parsed, in the raw header as well. Used by `framing`, which has it read again.
//! - Without `Transfer-Encoding`, bytes behind the header are the next request's; `finish` gives them out. Used by `framing`.
//! - The connection is kept if the client allows it: [`KEPT`] and `None` of `set_keepalive`. Used by `handler` and `framing`.
//! - `read_body_or_idle(true)` is an error once the client is gone, and keeps what the client sends early, provided that
//!   `is_body_empty` was called before. Used by `proxy`.
//! - pingora never says 100 by itself, and says it once when asked. Used by `respond::say_continue`.
//!
//! Responses over HTTP/1 (`tests/responses.rs`):
//! - pingora sets `Date` and `Connection`, and announces `close` if the request's body is unfinished. `client_stream` puts
//!   the header that `headers::response` decides on in the place of pingora's, in one write, with a date from [`date`].
//!   `proxy::duplex` closes a connection in the same case.
//! - The body is left out for HEAD, 204 and 304. Used by `respond` and `edge::ops`.
//! - A response that ends with the connection ends the connection. Used by `headers::response`.
//! - A session that has written nothing writes nothing when it is finished. Used by `proxy::delivery`.
//!
//! Backends (`tests/backends.rs`):
//! - A read of a header or body that was dropped half-way loses nothing. Used by `proxy::duplex`.
//! - A `Content-Length` beside a `Transfer-Encoding` stays in the raw header only. Used by `headers::response_length`.
//! - Names keep their case, in the order of the fields. Used by `headers::response`.
//! - An empty piece of a chunked body ends the body. Used by `proxy::duplex`, which sends none.
//! - A connection is given back for reuse only after a complete response that allows it. Used by `proxy::forward`.
//! - 101 switches protocols only if the request asked for it. Used by `proxy::duplex`.
//! - The connector panics over a file of root certificates that it cannot use. Used by `edge::net::tls_roots`.
//!
//! HTTP/2 (`tests/http2.rs`):
//! - `Date` is set, fields of a connection are removed, and informational responses are ignored. Used by `headers::response`.
//! - The end of a response goes with its header or its last piece, without another frame. Used by `respond`.
//! - A client has at most 100 open requests by default. Used by `server` and `intake`.
//! - A stream can be reset with a reason before its response. Used by `server`.
//! - The host of a request is the authority of its target. Used by `headers::request`.

use std::io;

use http::HeaderValue;
use pingora_error::{Error, ErrorType};

/// pingora declares these in a private module (`protocols::http::v1::body`). They compare by text.
const INVALID_CHUNK: ErrorType = ErrorType::new("InvalidChunk");
const INVALID_TRAILER_END: ErrorType = ErrorType::new("InvalidTrailerEnd");

/// For `set_keepalive`: the connection may be kept, and pingora sets no limit on the time until the next request.
pub const KEPT: Option<u64> = Some(0);

/// Returns true if pingora could not read a chunked body: a chunk or the trailer section is invalid or too long.
pub fn is_invalid_chunk(error: &Error) -> bool {
    [INVALID_CHUNK, INVALID_TRAILER_END].contains(error.etype())
}

/// Returns true if a header has more fields than pingora reads.
pub fn has_too_many_fields(error: &Error) -> bool {
    matches!(parser_error(error), Some(httparse::Error::TooManyHeaders))
}

/// The error of the stream below a session that made the session fail.
pub fn stream_error(error: &Error) -> Option<&io::Error> {
    error.cause.as_ref()?.downcast_ref()
}

/// The error's kind and known cause, without its context: that quotes a header that can't be read, and a password or a cookie
/// with it.
pub fn without_quotes(error: &Error) -> String {
    let kind = error.etype().as_str();
    let io = stream_error(error).map(ToString::to_string);
    let cause = io.or_else(|| parser_error(error).map(ToString::to_string));
    cause.map_or_else(|| kind.to_owned(), |cause| format!("{kind}: {cause}"))
}

/// The value of the `Date` that pingora writes into each response.
pub fn date() -> HeaderValue {
    pingora_core::protocols::http::date::get_cached_date()
}

fn parser_error(error: &Error) -> Option<&httparse::Error> {
    error.cause.as_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests;
