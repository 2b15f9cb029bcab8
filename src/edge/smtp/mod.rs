//! Mail submission. `server` welcomes a client's connection, `session_driver` runs its session, and the `delivery` of each
//! transaction has a lease of a connection to one of the mail backends (`backend`).

pub mod backend;
mod client_io;
mod delivery;
pub mod hostname;
mod proxy_protocol;
mod refusal;
pub mod server;
pub mod service;
mod session_driver;
mod shutdown;
mod source_limit;
mod submitter;
pub mod worker;
