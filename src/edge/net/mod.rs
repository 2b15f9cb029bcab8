//! Connections below any protocol: listening sockets, worker threads, TLS, name lookups, and how to wait.

pub mod certificate_validity;
pub(super) mod deadline;
pub mod descriptors;
pub(super) mod happy_eyeballs;
pub mod in_flight;
pub mod key_kind;
pub mod listener;
pub mod nonblocking;
pub mod pem_file;
pub(super) mod pingora_compat;
pub mod rare_log;
pub mod refusal_log;
pub mod refused_connections;
pub mod request_ids;
pub(super) mod resolver;
pub mod source_limit;
pub(super) mod stream_wrapper;
pub mod tcp_stream;
pub mod tls_certificate;
pub mod tls_roots;
pub(super) mod watch;
pub mod worker;
