//! SMTP as values: what clients and backends say, without a socket or a clock.

pub mod address;
pub mod answers;
pub mod bdat;
pub mod client;
pub mod command;
pub mod data;
pub mod parameters;
pub mod reply;
pub mod xclient;

pub use client::Capabilities;
pub use reply::{Enhanced, Reply};
