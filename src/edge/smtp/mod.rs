//! Mail submission: a client's connection comes to `server`, its `visit` drives the session, and each transaction's `delivery`
//! has a `lease` of one of the `backends`.

pub mod backend;
mod delivery;
pub mod entry;
pub mod hostname;
mod proxied;
pub mod server;
mod shutdown;
mod sources;
mod stream;
mod submitter;
mod visit;
