//! `gatepost account …`: the accounts, which are the holders of credentials.

use std::io::{self, BufRead, BufWriter, Write};
use std::process::ExitCode;

use clap::{Subcommand, ValueHint};

use super::CommandError;
use super::output::{Listing, PAGE, say, unless_broken};
use super::password::PasswordSource;
use super::services::Services;
use crate::config::Config;
use crate::domain::Permissions;

/// The commands for accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Add an account; prompts twice for a password.
    Add {
        /// The account holder's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// Give the account these rights, the ceiling for all its credentials: a comma-separated list of email, api and
        /// web, or none.
        #[arg(long, default_value = "email,api,web", value_name = "PERMISSIONS", value_hint = ValueHint::Other)]
        rights: Permissions,
        #[command(flatten)]
        #[allow(missing_docs)]
        password: PasswordSource,
    },
    /// List all accounts.
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Change the account holder's password; prompts for it twice.
    Passwd {
        /// The account holder's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        password: PasswordSource,
    },
    /// Change the rights of the account, the ceiling for all its credentials.
    Rights {
        /// The account holder's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// Set exactly these rights: a comma-separated list of email, api and web, or none.
        #[arg(value_name = "PERMISSIONS", value_hint = ValueHint::Other)]
        rights: Permissions,
    },
    /// Suspend the account: its holder and its credentials are denied everything until it is resumed.
    Suspend {
        /// The account holder's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
    },
    /// Resume a suspended account.
    Resume {
        /// The account holder's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
    },
    /// Remove the account and all its credentials.
    Remove {
        /// The account holder's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the command. When it returns, the change is in effect in every running gateway.
///
/// # Errors
/// [`CommandError`]: nothing has changed, unless it says otherwise.
pub async fn run(command: AccountCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let services = match &command {
        AccountCommand::Add { .. } => Services::open_or_create(config).await?,
        AccountCommand::List { .. } => Services::open_to_read(config).await?,
        _ => Services::open(config).await?,
    };
    let done = execute(command, &services).await;
    services.finish(done).await.map(|()| ExitCode::SUCCESS)
}

async fn execute(command: AccountCommand, services: &Services) -> Result<(), CommandError> {
    let accounts = &services.accounts;
    match command {
        AccountCommand::Add { name, rights, password } => {
            let accounts = accounts.clone().with_rules_for_people();
            accounts.add(&name, password.read()?.expose(), rights).await?;
            say(&format!("account {name} added with rights {rights}"));
        }
        AccountCommand::List { json } => list(services, json).await?,
        AccountCommand::Passwd { name, password } => {
            // Before the prompt: nobody should type a password twice only to learn that the account does not exist.
            accounts.get_for_change(&name).await?;
            let accounts = accounts.clone().with_rules_for_people();
            accounts.set_password(&name, password.read()?.expose()).await?;
            say(&format!("password of account {name} changed"));
        }
        AccountCommand::Rights { name, rights } => {
            accounts.set_rights(&name, rights).await?;
            say(&format!("account {name} now has the rights {rights}"));
        }
        AccountCommand::Suspend { name } => {
            accounts.suspend(&name).await?;
            say(&format!("account {name} suspended"));
        }
        AccountCommand::Resume { name } => {
            accounts.resume(&name).await?;
            say(&format!("account {name} resumed"));
        }
        AccountCommand::Remove { name, yes } => {
            let account = accounts.get_for_change(&name).await?;
            if !yes && !confirmed(&name, account.credentials)? {
                return Err(CommandError::NotConfirmed);
            }
            accounts.remove(&name).await?;
            say(&format!("account {name} and its {} credentials removed", account.credentials));
        }
    }
    Ok(())
}

async fn list(services: &Services, json: bool) -> Result<(), CommandError> {
    let mut listing = Listing::of_accounts(BufWriter::new(io::stdout()), json)?;
    let mut after = None;
    loop {
        let page = services.accounts.list(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        if let Err(error) = page.iter().try_for_each(|account| listing.account(account)) {
            return Ok(unless_broken(Err(error))?);
        }
    }
    Ok(unless_broken(listing.end())?)
}

fn confirmed(name: &str, credentials: u64) -> io::Result<bool> {
    let mut question = io::stderr().lock();
    write!(
        question,
        "Permanently remove account {name} and its {credentials} credentials? Type the account name to confirm: "
    )?;
    question.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case(name))
}
