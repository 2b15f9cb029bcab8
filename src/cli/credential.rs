//! `gatepost credential …`: the credentials of an account, through the same service as the API.

use std::io::{self, BufWriter};
use std::process::ExitCode;

use clap::{ArgGroup, Subcommand, ValueHint};

use super::apply::ApplyOptions;
use super::output::{Listing, PAGE, say, unless_broken};
use super::password::PasswordSource;
use super::services::Services;
use super::{CommandError, REFUSED, WRONG_USAGE};
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
    /// Add a credential; prompts twice for a password.
    Add {
        /// The credential's username.
        #[arg(value_name = "CREDENTIAL", value_hint = ValueHint::Other)]
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
    /// Change a credential; options that are not given change nothing.
    #[command(group = ArgGroup::new("change").multiple(true).required(true)
        .args(["permissions", "grant", "revoke", "password", "password_stdin"]))]
    Edit {
        /// The credential's username.
        #[arg(value_name = "CREDENTIAL", value_hint = ValueHint::Other)]
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
    /// Make the credentials of an account equal to a file: add, edit and remove what differs.
    Apply(ApplyOptions),
    /// Remove a credential.
    Remove {
        /// The credential's username.
        #[arg(value_name = "CREDENTIAL", value_hint = ValueHint::Other)]
        name: String,
        /// The account holder's username.
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
        account: String,
    },
}

impl CredentialCommand {
    fn account(&self) -> &str {
        match self {
            // Its file may name it.
            CredentialCommand::Apply(options) => options.account.as_deref().unwrap_or_default(),
            CredentialCommand::List { account, .. }
            | CredentialCommand::Add { account, .. }
            | CredentialCommand::Edit { account, .. }
            | CredentialCommand::Remove { account, .. } => account,
        }
    }

    /// Returns the change of permissions.
    ///
    /// # Errors
    /// A permission is both granted and revoked.
    fn edit(&self) -> Result<PermissionEdit, PermissionsError> {
        match self {
            CredentialCommand::Add { permissions: Some(set), .. }
            | CredentialCommand::Edit { permissions: Some(set), .. } => Ok(PermissionEdit::exactly(*set)),
            CredentialCommand::Edit { grant, revoke, .. } => {
                partly(grant.unwrap_or_default(), revoke.unwrap_or_default())
            }
            CredentialCommand::Add { .. }
            | CredentialCommand::Apply(_)
            | CredentialCommand::List { .. }
            | CredentialCommand::Remove { .. } => Ok(PermissionEdit::default()),
        }
    }
}

/// Runs the command. When it returns, the change is in effect in every running gateway.
///
/// # Errors
/// [`CommandError`]: nothing has changed, unless it says otherwise.
pub async fn run(command: CredentialCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let edit = match command.edit() {
        Ok(edit) => edit,
        Err(error) => {
            complain(&format!("gatepost: {error}"));
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    };
    if let CredentialCommand::Apply(options) = &command {
        return apply(options, config).await;
    }
    let services = match &command {
        CredentialCommand::List { .. } => Services::open_to_read(config).await?,
        _ => Services::open(config).await?,
    };
    let (credentials, account, origin) = (&services.credentials, command.account(), Origin::CommandLine);
    let operator = match &command {
        CredentialCommand::List { .. } | CredentialCommand::Add { .. } => {
            credentials.operator(account, origin).await
        }
        CredentialCommand::Edit { .. } | CredentialCommand::Remove { .. } | CredentialCommand::Apply(_) => {
            credentials.revoking_operator(account, origin).await
        }
    };
    let done = match operator {
        Ok(operator) => execute(command, edit, &services, &operator.with_rules_for_people()).await,
        Err(refusal) => Err(refusal.into()),
    };
    services.finish(done).await.map(|()| ExitCode::SUCCESS)
}

/// Runs `gatepost credential apply`. The errors of the file are told as those of a configuration.
async fn apply(options: &ApplyOptions, config: &Config) -> Result<ExitCode, CommandError> {
    match apply_file(options, config).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(CommandError::BadFile(errors)) => {
            complain(&errors.to_string());
            Ok(ExitCode::from(REFUSED))
        }
        Err(error @ CommandError::NoAccount(_)) => {
            complain(&format!("gatepost: {error}"));
            Ok(ExitCode::from(WRONG_USAGE))
        }
        Err(error) => Err(error),
    }
}

async fn apply_file(options: &ApplyOptions, config: &Config) -> Result<(), CommandError> {
    // Before the store is opened: most errors are found here.
    let file = options.read()?;
    let services = match options.dry_run {
        true => Services::open_to_read(config).await?,
        false => Services::open(config).await?,
    };
    let done = options.run(file, &services).await;
    services.finish(done).await
}

async fn execute(
    command: CredentialCommand,
    permissions: PermissionEdit,
    services: &Services,
    operator: &Manager,
) -> Result<(), CommandError> {
    let credentials = &services.credentials;
    match command {
        CredentialCommand::List { json, .. } => list(services, operator, json).await?,
        // It has its own way.
        CredentialCommand::Apply(_) => {}
        CredentialCommand::Add { name, account, password, .. } => {
            let password = password.read()?;
            let password = password.expose();
            let addition = Addition { username: &name, password, permissions, ..Addition::default() };
            let count = credentials.add(operator, addition).await?.count;
            say(&format!("credential {name} added; account {account} now has {count} credentials"));
        }
        CredentialCommand::Edit { name, password, source, .. } => {
            let password = (password || source.password_stdin).then(|| source.read()).transpose()?;
            let password = password.as_ref().map(|secret| secret.expose());
            let edit = Edit { username: &name, password, permissions, ..Edit::default() };
            credentials.edit(operator, edit).await?;
            say(&format!("credential {name} changed"));
        }
        CredentialCommand::Remove { name, account } => {
            let count = credentials.remove(operator, &name).await?.count;
            say(&format!("credential {name} removed; account {account} now has {count} credentials"));
        }
    }
    Ok(())
}

/// Returns the change that grants and revokes these permissions.
///
/// # Errors
/// A permission is both granted and revoked.
fn partly(grant: Permissions, revoke: Permissions) -> Result<PermissionEdit, PermissionsError> {
    let mut edit = PermissionEdit::default();
    for (set, value) in [(grant, "1"), (revoke, "0")] {
        for permission in set.iter() {
            edit.name(permission.as_str(), value)?;
        }
    }
    Ok(edit)
}

async fn list(services: &Services, operator: &Manager, json: bool) -> Result<(), CommandError> {
    let mut listing = Listing::of_credentials(BufWriter::new(io::stdout()), json)?;
    let mut after = None;
    loop {
        let page = services.credentials.list(operator, after, PAGE).await?;
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
    struct CredentialArguments {
        #[command(subcommand)]
        command: CredentialCommand,
    }

    fn parse(line: &str) -> Result<CredentialCommand, clap::Error> {
        CredentialArguments::try_parse_from(line.split(' ')).map(|line| line.command)
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
