//! Floor 5: the command line's own work.

pub mod account;
pub mod backend;
pub mod credential;
pub mod demo;
