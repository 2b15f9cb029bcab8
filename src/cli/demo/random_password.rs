//! Passwords of the demo's logins.

use anyhow::{Context, Result, anyhow};

use crate::domain::generated_password;

/// Returns a password, as the console generates them.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn random_password() -> Result<String> {
    let made = generated_password(getrandom::fill);
    let made = made.map_err(|error| anyhow!("no random numbers from the system: {error}"))?;
    Ok(made.context("the random numbers of the system are not random")?.to_string())
}
