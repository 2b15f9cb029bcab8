//! SMTP as values: what clients and backends say, without a socket or a clock.

pub mod answers;
pub mod client;
pub mod reply;
pub mod xclient;

pub use client::Capabilities;
pub use reply::{Enhanced, Reply};
