//! The way of an authorized request to a backend, and of the response back.

pub mod delivery;
pub mod duplex;
pub mod exchange;
pub mod fast_path;
pub mod forward;
pub mod health;
pub mod tunnel;
pub mod upstream;
pub mod write_buffer;
