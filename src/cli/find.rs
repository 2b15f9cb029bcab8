//! `gatepost find NAME`: the account or credential of that name.

use std::io;
use std::process::ExitCode;

use clap::{Args, ValueHint};

use super::CommandError;
use super::output::{unless_broken, write_principal};
use super::services::Services;
use crate::config::Config;

/// The options of `gatepost find`.
#[derive(Debug, Args)]
pub struct FindOptions {
    /// The username of an account holder or of a credential, in any case.
    #[arg(value_hint = ValueHint::Other)]
    pub name: String,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`CommandError`]: there is no such name, or the store cannot be used.
pub async fn run(options: FindOptions, config: &Config) -> Result<ExitCode, CommandError> {
    let services = Services::open_to_read(config).await?;
    let found = services.accounts.find(&options.name).await.map_err(CommandError::from);
    let found = services.finish(found).await?.ok_or(CommandError::NoSuchName)?;
    unless_broken(write_principal(io::stdout().lock(), options.json, &found))?;
    Ok(ExitCode::SUCCESS)
}
