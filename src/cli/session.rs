//! `gatepost session …`: the sessions of browsers.

use std::io::{self, BufWriter};
use std::process::ExitCode;

use clap::{Subcommand, ValueHint};

use super::CommandError;
use super::output::{Listing, say, unless_broken};
use super::services::Services;
use crate::config::Config;
use crate::domain::{AccountError, Session, SessionId};
use crate::service::open_sessions::SessionChoice;
use crate::service::{ManagementError, Origin};

/// The commands for the sessions of browsers.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List the open sessions of an account holder or of a credential.
    List {
        /// The username of the account holder or of the credential, in any case.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// End the open sessions of an account holder or of a credential. The password stays as it is.
    End {
        /// The username of the account holder or of the credential, in any case.
        #[arg(value_hint = ValueHint::Other)]
        name: String,
        /// The ID of one session, as `session list` shows it. Default: all sessions.
        #[arg(value_hint = ValueHint::Other)]
        id: Option<i64>,
    },
}

/// Runs the command. When it returns, the change is in effect in every running gateway.
///
/// # Errors
/// [`CommandError`]: nothing has changed, unless it says otherwise.
pub async fn run(command: SessionCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let services = match &command {
        SessionCommand::List { .. } => Services::open_to_read(config).await?,
        SessionCommand::End { .. } => Services::open(config).await?,
    };
    let done = execute(command, &services).await.map_err(|error| match error {
        CommandError::Refused(ManagementError::NotAllowed(AccountError::NoSuchCredential)) => {
            CommandError::NoSuchName
        }
        other => other,
    });
    services.finish(done).await.map(|()| ExitCode::SUCCESS)
}

async fn execute(command: SessionCommand, services: &Services) -> Result<(), CommandError> {
    match command {
        SessionCommand::List { name, json } => {
            let sessions = services.sessions.of_name(&name).await?;
            unless_broken(list(&sessions, json))?;
        }
        SessionCommand::End { name, id } => {
            let choice = id.map_or(SessionChoice::All, |id| SessionChoice::One(SessionId(id)));
            let (count, _) = services.sessions.end_of_name(&name, choice, Origin::CommandLine).await?;
            say(&match (id, count) {
                (Some(id), _) => format!("session {id} of {name} ended"),
                (None, 1) => format!("1 session of {name} ended"),
                (None, count) => format!("{count} sessions of {name} ended"),
            });
        }
    }
    Ok(())
}

fn list(sessions: &[Session], json: bool) -> io::Result<()> {
    let mut listing = Listing::of_sessions(BufWriter::new(io::stdout()), json)?;
    sessions.iter().try_for_each(|session| listing.session(session))?;
    listing.end()
}
