//! The services that the console is made of.

use crate::service::Credentials;

/// The services of the console, which all its requests share.
pub struct Console {
    /// The management of credentials.
    pub credentials: Credentials,
}
