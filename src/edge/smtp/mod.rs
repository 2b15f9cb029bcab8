//! Mail submission: a client's connection comes to `server`, its `visit` drives the session, and each transaction's `delivery`
//! has a `lease` of one of the `backends`.

pub mod backend;
mod client_io;
mod delivery;
pub mod hostname;
mod proxy_protocol;
pub mod server;
pub mod service;
mod session_driver;
mod shutdown;
mod source_limit;
mod submitter;
pub mod worker;
