//! Mail submission: the session as a client and a backend see it, and the pure session behind it.

#[path = "../common/mod.rs"]
mod common;

mod backends;
mod backpressure;
mod clients;
mod content;
mod devices;
mod dialogs;
mod exim;
mod faults;
mod idle;
mod limits;
mod line_ends;
mod listeners;
mod postfix;
mod proxy_protocol;
mod retries;
mod revocation;
mod secrets;
mod session;
mod shared;
mod smuggling;
mod stop;
mod store_down;
mod timeouts;
mod tls;
