//! Mail submission over SMTP (RFC 5321, RFC 6409).
//!
//! - `service` is what all workers share, `worker` is one worker's part of it, `hostname` is Gatepost's own name.
//! - `server` accepts a connection: `proxy_protocol`, implicit TLS. `client_io` reads and writes on it.
//! - `session_driver` runs a [session](crate::wire::smtp::session) on that connection: it waits for input or a `shutdown`,
//!   decides at AUTH and MAIL, and notices revocations.
//! - `delivery` passes one transaction of a `submitter` to a connection of one of the mail backends (`backend`), after a
//!   `last_look`.
//! - `refusal` is the table from each reason for a refusal to its reply.

pub mod backend;
mod client_io;
mod delivery;
pub mod hostname;
mod last_look;
mod mail_log;
mod proxy_protocol;
mod refusal;
pub mod server;
pub mod service;
mod session_driver;
mod shutdown;
mod submitter;
pub mod worker;
