//! Floor 5: the command line.

pub mod account;
pub mod backend;
pub mod credential;
pub mod demo;
pub mod failure;
pub mod output;
pub mod password;
pub mod session;
mod sink;

pub use failure::Failure;
