//! Mail backends: which one gets a message, and a pool of connections to each.

pub(super) mod client;
pub(super) mod connect;
pub(super) mod envelope;
pub(super) mod error;
pub mod group;
pub mod lease;
pub(super) mod pool;
pub(super) mod transport;
pub(super) mod upstream;

#[cfg(test)]
mod tests;
