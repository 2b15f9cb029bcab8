//! HTTP: a connection comes to `server`, and each request goes through `handler`: find the credential, decide (`authorize`), then
//! `proxy` it to a backend, or `respond`.

pub mod handler;
pub mod server;
pub mod service;
