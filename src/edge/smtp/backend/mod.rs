//! Mail backends, and the connections to them.
//!
//! `group` chooses a backend (`mail_backend`) for a transaction and hands out a connection from that backend's `pool`. A
//! `lease` holds it for the transaction and substitutes another one if it fails early; `lost` is what happens after that.
//! `connect` prepares a new connection, `client` exchanges commands and replies on it, `envelope` pipelines MAIL and RCPT, and
//! `transport` reads and writes, with or without TLS.

mod attempts;
pub(super) mod client;
pub(super) mod connect;
pub(super) mod envelope;
pub mod group;
pub mod lease;
pub(super) mod lost;
pub(super) mod mail_backend;
pub(super) mod pool;
pub(super) mod transport;

#[cfg(test)]
pub(crate) mod tests;
