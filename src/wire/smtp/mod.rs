//! SMTP as values: what clients and backends say, without a socket or a clock.

pub mod answers;
pub mod reply;

pub use reply::{Enhanced, Reply};
