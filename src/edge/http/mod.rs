//! HTTP: the proxy and the management API. `server` reads requests from a client's connection. `handler` takes each one through
//! `router`, `authorize` and `proxy`, or answers it (`management`, `gate`, `console`, `respond`). `pages` are Gatepost's own.

mod access_log;
pub mod authorize;
pub mod body;
pub mod client_session;
pub mod console;
mod cors;
mod cross_site;
pub mod error;
pub mod form_body;
pub mod gate;
pub mod handler;
pub mod headers;
pub mod http1;
pub mod http2;
pub mod management;
mod masking;
mod own_origin;
pub mod pages;
pub mod peer;
mod preflight;
pub mod proxy;
pub mod quota;
mod refusal_answer;
mod refused;
pub mod request_quota;
pub mod respond;
mod revocation;
pub mod router;
pub mod server;
pub mod service;
pub mod target;
