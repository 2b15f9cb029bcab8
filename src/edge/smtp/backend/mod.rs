//! Mail backends: which one gets a message, and a pool of connections to each.

pub(super) mod error;
pub mod group;
pub mod lease;
pub(super) mod pool;
pub(super) mod upstream;

#[cfg(test)]
mod tests;
