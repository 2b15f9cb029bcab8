//! SMTP without a socket or a clock: what clients and backends send, as values.
//!
//! - The server side: `session` is a client's session, fed with bytes. It uses `command` (with `path`, `parameters` and `host_name`),
//!   `auth`, `data`, `newline_normalizer`, `last_line` and `bdat` for content, `header` and `received_field` for what Gatepost removes from it and
//!   adds to it.
//! - The client side: `reply_parser` reads the replies of backends, `reply_salvage` malformed ones to a message, `extensions` what their EHLO replies offer; `xclient` is a
//!   command of Postfix for proxies.
//! - Both: `reply` is a reply as a value, `replies` are those that Gatepost sends itself.
//! - `proxy_protocol` is the header that a proxy in front of Gatepost sends.

pub mod auth;
pub mod bdat;

pub mod command;
pub mod data;
mod digits;
pub mod extensions;
pub mod header;
mod host_name;
mod last_line;
pub mod newline_normalizer;
pub mod parameters;
pub mod path;
pub mod proxy_protocol;
pub mod received_field;
pub mod replies;
pub mod reply;
pub mod reply_parser;
pub mod reply_salvage;
pub mod session;
pub mod xclient;

pub use extensions::Capabilities;
pub use reply::{EnhancedStatusCode, Reply};
