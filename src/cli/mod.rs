//! Layer 5: the command line.

pub mod account;
pub mod apply;
mod apply_plan;
mod apply_report;
pub mod arguments;
pub mod backend;
pub mod check;
pub mod cluster;
pub mod completions;
pub mod credential;
mod dashboard;
pub mod demo;
pub mod error;
pub mod find;
pub mod man;
pub mod output;
pub mod password;
pub mod services;
pub mod session;
mod sink;

pub use arguments::{Arguments, Command};
pub use error::CommandError;

/// The exit status of a command that was refused or failed.
pub const REFUSED: u8 = 1;

/// The exit status of a command that was used incorrectly.
pub const WRONG_USAGE: u8 = 2;
