//! The error of a change that is not known to be in effect everywhere.

use thiserror::Error;

/// At least one running process has not acknowledged a change. The change is written, and may not be in effect everywhere yet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the change is written, but a running gateway has not confirmed it: {0}")]
pub struct Unconfirmed(pub(super) String);
