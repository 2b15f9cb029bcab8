//! `gatepost account …`: who holds credentials.

use std::io::{self, BufRead, BufWriter, Write};
use std::process::ExitCode;

use clap::{Subcommand, ValueHint};

use super::CliError;
use super::output::{Listing, PAGE, say, unless_broken};
use super::password::PasswordSource;
use super::session::AdminSession;
use crate::config::Config;
use crate::domain::Permissions;

/// The commands for accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Add an account; prompts twice for its password.
    Add {
        /// The account holder's username.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// The rights of the account, the ceiling for all its credentials: a comma-separated list of email, api
        /// and web, or none.
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
        /// A comma-separated list of email, api and web, or none.
        #[arg(value_name = "PERMISSIONS", value_hint = ValueHint::Other)]
        rights: Permissions,
    },
    /// Suspend the account: neither its holder nor its credentials may do anything until it is resumed.
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

/// Carries the command out. When it returns, every running gateway has let go of the old state.
///
/// # Errors
/// [`CliError`]: nothing has changed, save where it says otherwise.
pub async fn run(command: AccountCommand, config: &Config) -> Result<ExitCode, CliError> {
    let session = match &command {
        AccountCommand::Add { .. } => AdminSession::open_or_make(config).await?,
        _ => AdminSession::open(config).await?,
    };
    let done = carry_out(command, &session).await;
    session.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn carry_out(command: AccountCommand, session: &AdminSession) -> Result<(), CliError> {
    let accounts = &session.accounts;
    match command {
        AccountCommand::Add { name, rights, password } => {
            accounts.add(&name, password.read()?.expose(), rights).await?;
            say(&format!("account {name} added, with the rights {rights}"));
        }
        AccountCommand::List { json } => list(session, json).await?,
        AccountCommand::Passwd { name, password } => {
            // Nobody should type a password twice to be told that there is no such account.
            accounts.get(&name).await?;
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
            let account = accounts.get(&name).await?;
            if !yes && !confirmed(&name, account.credentials)? {
                return Err(CliError::NotConfirmed);
            }
            accounts.remove(&name).await?;
            say(&format!("account {name} removed, with {} credentials", account.credentials));
        }
    }
    Ok(())
}

async fn list(session: &AdminSession, json: bool) -> Result<(), CliError> {
    let mut listing = Listing::of_accounts(BufWriter::new(io::stdout()), json)?;
    let mut after = None;
    loop {
        let page = session.accounts.list(after, PAGE).await?;
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
    write!(question, "Remove account {name} and its {credentials} credentials for good? Type its name: ")?;
    question.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case(name))
}
