//! SMTP as values: what clients and backends say, without a socket or a clock.

pub mod address;
pub mod answers;
pub mod auth;
pub mod bdat;
pub mod client;
pub mod command;
pub mod data;
pub mod header;
mod number;
pub mod parameters;
pub mod proxy_protocol;
pub mod received;
pub mod reply;
pub mod session;
pub mod xclient;

pub use client::Capabilities;
pub use reply::{Enhanced, Reply};
