//! The operators' listener.

pub mod server;
