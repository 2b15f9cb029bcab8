//! HTTP/2, by the h2 crate below our own sessions: a connection and its streams, and the memory that they may take.
//!
//! - `connection` accepts requests until the client or the gateway ends the connection. `intake` reads them a few at a time.
//! - `client` is one request and the way to answer it. `given_up` counts those whose client does not wait for the answer.
//! - `sent_piece` counts what waits to be sent to a client that nobody vouches for.

pub mod client;
pub mod connection;
mod given_up;
mod intake;
pub mod sent_piece;
