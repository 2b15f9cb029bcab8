//! SMTP as values: what clients and backends say, without a socket or a clock.

pub mod auth;
pub mod bdat;
pub mod client;
pub mod command;
pub mod data;
mod digits;
pub mod header;
pub mod parameters;
pub mod path;
pub mod proxy_protocol;
pub mod received_field;
pub mod replies;
pub mod reply;
pub mod session;
pub mod xclient;

pub use client::Capabilities;
pub use reply::{EnhancedStatusCode, Reply};
