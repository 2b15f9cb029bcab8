//! Both sides of HTTP/1: the connection of a client, and a connection to a backend.

pub mod backend;
mod body_reader;
pub mod client;
