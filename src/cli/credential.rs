//! `gatepost credential …`: the credentials of an account, by the same service as the API.

use std::io::{self, BufWriter};
use std::process::ExitCode;

use clap::{ArgGroup, Subcommand, ValueHint};

use super::output::{Listing, PAGE, say, unless_broken};
use super::password::PasswordSource;
use super::session::AdminSession;
use super::{CliError, WRONG_USAGE};
use crate::config::Config;
use crate::domain::{PermissionEdit, Permissions, PermissionsError};
use crate::server::complain;
use crate::service::Origin;
use crate::service::credentials::{Addition, Edit, Manager};

/// The commands for the credentials of an account.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// List the credentials of the account, with their effective permissions.
    List {
        /// The account holder's username.
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
        account: String,
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Add a credential; prompts twice for its password.
    Add {
        /// The credential's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// The account holder's username.
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
        account: String,
        /// Grant exactly these permissions: a comma-separated list of email, api and web, or none. Default: all
        /// rights of the account.
        #[arg(long, value_hint = ValueHint::Other)]
        permissions: Option<Permissions>,
        #[command(flatten)]
        #[allow(missing_docs)]
        password: PasswordSource,
    },
    /// Change a credential; whatever is not named stays as it is.
    #[command(group = ArgGroup::new("change").multiple(true).required(true)
        .args(["permissions", "grant", "revoke", "password", "password_stdin"]))]
    Edit {
        /// The credential's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// The account holder's username.
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
        account: String,
        /// Replace the permissions with exactly these: a comma-separated list of email, api and web, or none.
        #[arg(long, conflicts_with_all = ["grant", "revoke"], value_hint = ValueHint::Other)]
        permissions: Option<Permissions>,
        /// Grant these permissions in addition to the current ones.
        #[arg(long, value_name = "PERMISSIONS", value_hint = ValueHint::Other)]
        grant: Option<Permissions>,
        /// Revoke these permissions.
        #[arg(long, value_name = "PERMISSIONS", value_hint = ValueHint::Other)]
        revoke: Option<Permissions>,
        /// Set a new password; prompts for it twice.
        #[arg(long, conflicts_with = "password_stdin")]
        password: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        source: PasswordSource,
    },
    /// Remove a credential.
    Remove {
        /// The credential's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// The account holder's username.
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
        account: String,
    },
}

impl CredentialCommand {
    fn account(&self) -> &str {
        match self {
            CredentialCommand::List { account, .. }
            | CredentialCommand::Add { account, .. }
            | CredentialCommand::Edit { account, .. }
            | CredentialCommand::Remove { account, .. } => account,
        }
    }

    /// What is asked for of the permissions.
    ///
    /// # Errors
    /// One and the same is granted and revoked.
    fn edit(&self) -> Result<PermissionEdit, PermissionsError> {
        match self {
            CredentialCommand::Add { permissions: Some(set), .. }
            | CredentialCommand::Edit { permissions: Some(set), .. } => Ok(PermissionEdit::exactly(*set)),
            CredentialCommand::Edit { grant, revoke, .. } => {
                partly(grant.unwrap_or_default(), revoke.unwrap_or_default())
            }
            CredentialCommand::Add { .. }
            | CredentialCommand::List { .. }
            | CredentialCommand::Remove { .. } => Ok(PermissionEdit::default()),
        }
    }
}

/// Carries the command out. When it returns, every running gateway has let go of the old state.
///
/// # Errors
/// [`CliError`]: nothing has changed, save where it says otherwise.
pub async fn run(command: CredentialCommand, config: &Config) -> Result<ExitCode, CliError> {
    let edit = match command.edit() {
        Ok(edit) => edit,
        Err(error) => {
            complain(&format!("gatepost: {error}"));
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    };
    let session = AdminSession::open(config).await?;
    let done = match session.credentials.operator(command.account(), Origin::CommandLine).await {
        Ok(operator) => carry_out(command, edit, &session, &operator).await,
        Err(refusal) => Err(refusal.into()),
    };
    session.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn carry_out(
    command: CredentialCommand,
    permissions: PermissionEdit,
    session: &AdminSession,
    operator: &Manager,
) -> Result<(), CliError> {
    let credentials = &session.credentials;
    match command {
        CredentialCommand::List { json, .. } => list(session, operator, json).await?,
        CredentialCommand::Add { name, account, password, .. } => {
            let password = password.read()?;
            let addition = Addition { username: &name, password: password.expose(), permissions };
            let count = credentials.add(operator, addition).await?;
            say(&format!("credential {name} added; account {account} has {count}"));
        }
        CredentialCommand::Edit { name, password, source, .. } => {
            let password = (password || source.password_stdin).then(|| source.read()).transpose()?;
            let password = password.as_ref().map(|secret| secret.expose());
            credentials.edit(operator, Edit { username: &name, password, permissions }).await?;
            say(&format!("credential {name} changed"));
        }
        CredentialCommand::Remove { name, account } => {
            let count = credentials.remove(operator, &name).await?;
            say(&format!("credential {name} removed; account {account} has {count}"));
        }
    }
    Ok(())
}

/// # Errors
/// One and the same is granted and revoked.
fn partly(grant: Permissions, revoke: Permissions) -> Result<PermissionEdit, PermissionsError> {
    let mut edit = PermissionEdit::default();
    for (set, value) in [(grant, "1"), (revoke, "0")] {
        for permission in set.iter() {
            edit.name(permission.as_str(), value)?;
        }
    }
    Ok(edit)
}

async fn list(session: &AdminSession, operator: &Manager, json: bool) -> Result<(), CliError> {
    let mut listing = Listing::of_credentials(BufWriter::new(io::stdout()), json)?;
    let mut after = None;
    loop {
        let page = session.credentials.list(operator, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        if let Err(error) = page.iter().try_for_each(|credential| listing.credential(credential)) {
            return Ok(unless_broken(Err(error))?);
        }
    }
    Ok(unless_broken(listing.end())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: CredentialCommand,
    }

    fn parse(line: &str) -> Result<CredentialCommand, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.command)
    }

    #[test]
    fn what_would_change_nothing_or_contradicts_itself_is_wrong_usage() {
        for wrong in [
            "x edit john --account holder",
            "x edit john --grant api",
            "x edit john --account holder --permissions api --grant web",
            "x edit john --account holder --password --password-stdin",
            "x edit john --account holder --grant apo",
            "x edit john --account holder --grant ",
            "x add john",
            "x add john secret123 --account holder",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
        for right in [
            "x edit john --account holder --password",
            "x edit john --account holder --password-stdin --grant api --revoke web",
            "x edit john --account holder --permissions none",
            "x add john --account holder --permissions email,api --password-stdin",
            "x list --account holder --json",
        ] {
            parse(right).unwrap();
        }
    }

    #[test]
    fn granting_and_revoking_names_just_these() {
        let edit = partly("api".parse().unwrap(), "web".parse().unwrap()).unwrap();
        assert_eq!(edit.apply("email,web".parse().unwrap()).as_str(), "email,api");
        assert!(partly(Permissions::ALL, "web".parse().unwrap()).is_err());
    }
}
