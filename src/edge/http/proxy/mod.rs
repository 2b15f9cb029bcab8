//! The way of an authorized request to a backend, and of the response back.

pub mod exchange;
pub mod forward;
pub mod health;
mod relay;
pub mod tunnel;
pub mod upstream;
