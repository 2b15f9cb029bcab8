//! Connections below any protocol: listening sockets, worker threads, TLS, name lookups, and how to wait.

pub mod in_flight;
pub mod listener;
pub mod nonblocking;
pub mod tcp_stream;
pub mod worker;
