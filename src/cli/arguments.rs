//! The definition of the command line. Help texts, completions and manual pages are made from it.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};

use super::completions::Shell;
use super::{account, credential, demo, man};

/// A gateway for mail and API backends that decides on every request: removed means removed.
///
/// Exit status: 0 if the command succeeded, 1 if it was refused or failed, 2 if it was used incorrectly.
#[derive(Parser)]
#[command(name = "gatepost", version)]
pub struct Arguments {
    /// Read the configuration from this file.
    #[arg(long, global = true, value_name = "FILE", default_value = "config/gatepost.toml")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: Command,
}

/// The commands of the first level.
#[derive(Subcommand)]
pub enum Command {
    /// Run a complete gateway on loopback, with a database and backends of its own.
    Demo(demo::DemoOptions),
    /// Run the gateway.
    Serve,
    /// Check the configuration and report all errors, each with its line and key.
    Check,
    /// Manage accounts, the holders of credentials.
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Manage the credentials of an account.
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell that reads the script.
        shell: Shell,
    },
    /// Print the manual page of a command, or write all pages into a directory.
    Man(man::ManOptions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definition_is_consistent() {
        Arguments::command().debug_assert();
    }
}
