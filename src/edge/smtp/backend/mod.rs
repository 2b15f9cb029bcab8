//! Mail backends: which one gets a message, and a pool of connections to each.

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
mod tests;
