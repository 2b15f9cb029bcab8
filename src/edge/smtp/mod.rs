//! Mail submission.

pub mod backends;
pub mod lease;
