//! Floor 4: sockets and pingora. A connection comes in by `listener`, is served by `connection`, and each request goes
//! through `exchange`: find the credential, decide, then `forward` to a backend of an `upstream` group, or answer.

pub mod http;
pub mod net;
pub mod ops;
pub mod smtp;
