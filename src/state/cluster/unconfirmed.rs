//! The errors of a change that is not known to be in effect everywhere.

use std::time::Duration;

use thiserror::Error;

/// A change may not be in effect in every process yet. Repeating it is safe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unconfirmed {
    /// At least one running process on the same file has not acknowledged the change, which is written.
    #[error("the change is written, but a running gateway has not confirmed it: {0}")]
    Silent(String),
    /// PostgreSQL was lost before all nodes had confirmed the change, or is another server by now.
    #[error("the change is not confirmed: {reason}; if it is stored, it is in force within {} ms at the latest", within.as_millis())]
    Unknown {
        /// The cause.
        reason: String,
        /// The longest time until it is in effect on all nodes, if it is stored.
        within: Duration,
    },
}
