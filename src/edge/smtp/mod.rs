//! Mail submission.

mod backend;
pub mod backends;
mod conversation;
mod dial;
pub mod hostname;
pub mod lease;
mod pool;
mod transport;

#[cfg(test)]
mod tests;
