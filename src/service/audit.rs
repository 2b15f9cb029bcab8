//! What is asked for by those who manage, for the audit trail ([`crate::state::audit`]).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::state::audit::{News, Record, Weight};

const COMMAND_LINE: &str = "command line";

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

/// What was asked for; [`AuditAction::as_str`] names it in metrics and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AuditAction {
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

impl AuditAction {
    /// All of them.
    pub const ALL: [AuditAction; 10] = [
        AuditAction::CredentialGet,
        AuditAction::CredentialAdd,
        AuditAction::CredentialEdit,
        AuditAction::CredentialRemove,
        AuditAction::AccountAdd,
        AuditAction::AccountPassword,
        AuditAction::AccountRights,
        AuditAction::AccountSuspend,
        AuditAction::AccountResume,
        AuditAction::AccountRemove,
    ];

    /// The word for it in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditAction::CredentialGet => "credential.get",
            AuditAction::CredentialAdd => "credential.add",
            AuditAction::CredentialEdit => "credential.edit",
            AuditAction::CredentialRemove => "credential.remove",
            AuditAction::AccountAdd => "account.add",
            AuditAction::AccountPassword => "account.passwd",
            AuditAction::AccountRights => "account.rights",
            AuditAction::AccountSuspend => "account.suspend",
            AuditAction::AccountResume => "account.resume",
            AuditAction::AccountRemove => "account.remove",
        }
    }

    /// Whether it may take something away from somebody.
    pub const fn revokes(self) -> bool {
        match self {
            AuditAction::CredentialEdit
            | AuditAction::CredentialRemove
            | AuditAction::AccountPassword
            | AuditAction::AccountRights
            | AuditAction::AccountSuspend
            | AuditAction::AccountRemove => true,
            AuditAction::CredentialGet
            | AuditAction::CredentialAdd
            | AuditAction::AccountAdd
            | AuditAction::AccountResume => false,
        }
    }
}

/// How it ended.
#[derive(Clone, Copy)]
pub enum AuditOutcome<'a> {
    /// It is done, and in force everywhere.
    Done,
    /// It was refused for this reason; nothing has changed.
    Refused(&'a dyn fmt::Display),
    /// It could not be done for this reason, or it is open whether it was.
    Failed(&'a dyn fmt::Display),
}

impl AuditOutcome<'_> {
    /// The words for all of them.
    pub const WORDS: [&'static str; 3] = ["done", "refused", "failed"];

    /// The word for it in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Done => "done",
            AuditOutcome::Refused(_) => "refused",
            AuditOutcome::Failed(_) => "failed",
        }
    }
}

/// One thing that somebody asked for.
#[derive(Clone, Debug)]
pub struct RequestedChange {
    /// What.
    pub action: AuditAction,
    /// Who: the account holder's username, or [`operator`]; as presented where nobody was recognised.
    pub actor: String,
    /// To whom: a username, as presented; empty for all of the account's.
    pub subject: String,
    /// What was to change, in words; never a secret.
    pub change: String,
    /// From where.
    pub origin: Origin,
}

impl RequestedChange {
    /// Writes the line.
    pub fn record(&self, outcome: AuditOutcome<'_>) {
        let (source, request_id) = match &self.origin {
            Origin::Remote { source, request_id } => {
                (Cow::from(source.to_string()), Some(request_id.as_str()))
            }
            Origin::CommandLine => (Cow::from(COMMAND_LINE), None),
        };
        let (weight, reason) = match outcome {
            AuditOutcome::Done => (Weight::Plain, None),
            AuditOutcome::Refused(reason) => (Weight::Plain, Some(reason.to_string())),
            AuditOutcome::Failed(reason) => (Weight::Trouble, Some(reason.to_string())),
        };
        let record = Record {
            action: self.action.as_str(),
            actor: &self.actor,
            subject: Some(&self.subject),
            change: Some(&self.change),
            source: &source,
            request_id,
            outcome: outcome.as_str(),
            reason: reason.as_deref(),
            ..Record::default()
        };
        record.write(weight);
    }

    /// What running gateways log of it once it is done; `None` where it came in over the network, by one of them.
    pub fn news(&self) -> Option<News> {
        (self.origin == Origin::CommandLine).then(|| News {
            action: self.action.as_str().to_owned(),
            actor: self.actor.clone(),
            subject: self.subject.clone(),
            change: self.change.clone(),
            source: COMMAND_LINE.to_owned(),
        })
    }
}

/// The operator at the command line, by the system's number of the user, and by name where it came by sudo.
pub fn operator() -> String {
    let user = rustix::process::getuid().as_raw();
    match std::env::var("SUDO_USER") {
        Ok(name) => format!("operator (uid {user}, sudo by {name})"),
        Err(_) => format!("operator (uid {user})"),
    }
}
