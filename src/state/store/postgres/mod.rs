//! Everything specific to PostgreSQL: connecting, reads that must have seen what is known, and its errors in words.

mod connect;
mod faults;
mod floor;

pub(in crate::state) use connect::Servers;
pub(in crate::state) use faults::unavailable;
pub use floor::ReadFloor;
