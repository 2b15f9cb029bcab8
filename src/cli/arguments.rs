//! The definition of the command line. Help texts, completions and manual pages are made from it.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};

use super::account::AccountCommand;
use super::cluster::ClusterCommand;
use super::completions::Shell;
use super::credential::CredentialCommand;
use super::demo::DemoOptions;
use super::find::FindOptions;
use super::man::ManOptions;
use super::session::SessionCommand;

/// A gateway for APIs, dashboards and mail that checks the login of every request and every message.
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
    /// Run the gateway.
    Serve,
    /// Check the configuration and the files that it names, and report all errors and warnings.
    Check,
    /// Run a complete gateway on loopback, with its own database and backends.
    Demo(DemoOptions),
    /// Manage accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Manage the credentials of an account.
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// List and end the sessions of browsers.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Show and set what concerns all gateways on one store.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Find the account or credential of a name, with its account, state and permissions.
    Find(FindOptions),
    /// Print a completion script for a shell.
    Completions {
        /// The shell that reads the script.
        shell: Shell,
    },
    /// Print the manual page of a command, or write the pages of all commands into a directory.
    Man(ManOptions),
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
