//! The audit trail: one structured line in the log, target `audit`, for each change and each refusal. Who, what, from
//! where, with what outcome; never a secret.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use tracing::{info, warn};

/// Names of what was asked for are cut at this many characters: nobody has a longer one.
const LONGEST_SUBJECT: usize = 64;

/// Where a request came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Over the network.
    Remote {
        /// The client's address.
        source: IpAddr,
        /// As in the response and the rest of the log; empty where there is none.
        request_id: String,
    },
    /// From the command line, by the operator.
    CommandLine,
}

/// What was asked for; [`Action::as_str`] names it in metrics and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    CredentialGet,
    CredentialAdd,
    CredentialEdit,
    CredentialRemove,
    AccountAdd,
    AccountPassword,
    AccountRights,
    AccountSuspend,
    AccountResume,
    AccountRemove,
}

impl Action {
    /// The word for it in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::CredentialGet => "credential.get",
            Action::CredentialAdd => "credential.add",
            Action::CredentialEdit => "credential.edit",
            Action::CredentialRemove => "credential.remove",
            Action::AccountAdd => "account.add",
            Action::AccountPassword => "account.passwd",
            Action::AccountRights => "account.rights",
            Action::AccountSuspend => "account.suspend",
            Action::AccountResume => "account.resume",
            Action::AccountRemove => "account.remove",
        }
    }

    /// Whether it may take something away from somebody.
    pub const fn revokes(self) -> bool {
        match self {
            Action::CredentialEdit
            | Action::CredentialRemove
            | Action::AccountPassword
            | Action::AccountRights
            | Action::AccountSuspend
            | Action::AccountRemove => true,
            Action::CredentialGet | Action::CredentialAdd | Action::AccountAdd | Action::AccountResume => {
                false
            }
        }
    }
}

/// How it ended.
#[derive(Clone, Copy)]
pub enum Outcome<'a> {
    /// It is done, and in force everywhere.
    Done,
    /// It was refused for this reason; nothing has changed.
    Refused(&'a dyn fmt::Display),
    /// It could not be done for this reason, or it is open whether it was.
    Failed(&'a dyn fmt::Display),
}

impl Outcome<'_> {
    /// The word for it in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused(_) => "refused",
            Outcome::Failed(_) => "failed",
        }
    }
}

/// One thing that somebody asked for.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What.
    pub action: Action,
    /// Who: the account holder's username, or `operator`; as presented where nobody was recognised.
    pub actor: String,
    /// To whom: a username, as presented; empty for all of the account's.
    pub subject: String,
    /// What was to change, in words; never a secret.
    pub change: String,
    /// From where.
    pub origin: Origin,
}

impl Entry {
    /// Writes the line.
    pub fn record(&self, outcome: Outcome<'_>) {
        let (source, request_id) = match &self.origin {
            Origin::Remote { source, request_id } => (Cow::from(source.to_string()), request_id.as_str()),
            Origin::CommandLine => (Cow::from("command line"), ""),
        };
        let (action, change, word) = (self.action.as_str(), &self.change, outcome.as_str());
        let (actor, subject) = (shown(&self.actor), shown(&self.subject));
        match outcome {
            Outcome::Done => {
                info!(target: "audit", action, %actor, %subject, change, %source, request_id, outcome = word);
            }
            Outcome::Refused(reason) => {
                info!(target: "audit", action, %actor, %subject, change, %source, request_id, outcome = word, %reason);
            }
            Outcome::Failed(reason) => {
                warn!(target: "audit", action, %actor, %subject, change, %source, request_id, outcome = word, %reason);
            }
        }
    }
}

/// What a client presented as a name, made harmless for a log.
fn shown(text: &str) -> String {
    let letters = text.chars().take(LONGEST_SUBJECT);
    letters.map(|c| if c.is_control() { '?' } else { c }).collect()
}
