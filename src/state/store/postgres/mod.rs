//! Everything specific to PostgreSQL: connecting, reads that must have seen what is known, and its errors in words.

mod connect;
mod faults;
mod floor;

pub use connect::connect_primary;
pub use floor::ReadFloor;
