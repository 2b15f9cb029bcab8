//! Mail submission: a client's connection comes to `server`, its `visit` drives the session, and each transaction's `delivery`
//! has a `lease` of one of the `backends`.

mod backend;
pub mod backends;
mod conversation;
mod delivery;
mod dial;
pub mod entry;
mod envelope;
pub mod hostname;
pub mod lease;
mod lost;
mod pool;
mod proxied;
pub mod server;
mod shutdown;
mod sources;
mod stream;
mod submitter;
mod transport;
mod visit;

#[cfg(test)]
mod tests;
