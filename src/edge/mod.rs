//! Layer 4: sockets and pingora. `http`, `smtp` and `ops` each serve one kind of listener and do not know each other. `net` is
//! what they have in common, and knows no protocol. `tests/house/layers.rs` checks both.

pub mod http;
pub mod net;
pub mod ops;
pub mod smtp;
