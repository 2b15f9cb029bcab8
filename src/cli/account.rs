//! `gatepost account …`: the accounts, which are the holders of credentials.

use std::io::{self, BufRead, BufWriter, Write};
use std::process::ExitCode;

use clap::{Subcommand, ValueHint};

use super::Failure;
use super::output::{Listing, PAGE, say, unless_broken};
use super::password::PasswordSource;
use super::session::Session;
use crate::config::Config;
use crate::domain::Permissions;

/// The commands for accounts.
#[derive(Debug, Subcommand)]
pub enum Command {
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
/// [`Failure`]: nothing has changed, unless it says otherwise.
pub async fn run(command: Command, config: &Config) -> Result<ExitCode, Failure> {
    let session = match &command {
        Command::Add { .. } => Session::open_or_create(config).await?,
        _ => Session::open(config).await?,
    };
    let done = execute(command, &session).await;
    session.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn execute(command: Command, session: &Session) -> Result<(), Failure> {
    let accounts = &session.accounts;
    match command {
        Command::Add { name, rights, password } => {
            accounts.add(&name, password.read()?.expose(), rights).await?;
            say(&format!("account {name} added with rights {rights}"));
        }
        Command::List { json } => list(session, json).await?,
        Command::Passwd { name, password } => {
            // Before the prompt: nobody should type a password twice only to learn that the account does not exist.
            accounts.get(&name).await?;
            accounts.set_password(&name, password.read()?.expose()).await?;
            say(&format!("password of account {name} changed"));
        }
        Command::Rights { name, rights } => {
            accounts.set_rights(&name, rights).await?;
            say(&format!("account {name} now has the rights {rights}"));
        }
        Command::Suspend { name } => {
            accounts.suspend(&name).await?;
            say(&format!("account {name} suspended"));
        }
        Command::Resume { name } => {
            accounts.resume(&name).await?;
            say(&format!("account {name} resumed"));
        }
        Command::Remove { name, yes } => {
            let account = accounts.get(&name).await?;
            if !yes && !confirmed(&name, account.credentials)? {
                return Err(Failure::NotConfirmed);
            }
            accounts.remove(&name).await?;
            say(&format!("account {name} and its {} credentials removed", account.credentials));
        }
    }
    Ok(())
}

async fn list(session: &Session, json: bool) -> Result<(), Failure> {
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
    write!(
        question,
        "Permanently remove account {name} and its {credentials} credentials? Type the account name to confirm: "
    )?;
    question.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case(name))
}
