//! Requested changes of accounts and credentials, for the audit trail ([`crate::state::audit`]).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::domain::{AccountId, Entry};
use crate::state::audit::{News, Record, Weight};

const COMMAND_LINE: &str = "command line";

/// The origin of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The network.
    Remote {
        /// The client's address.
        source: IpAddr,
        /// The request ID, as in the response and the rest of the log; empty if there is none.
        request_id: String,
        /// The entry.
        entry: Entry,
    },
    /// The command line, used by the operator.
    CommandLine,
}

/// A requested action; [`AuditAction::as_str`] is its name in metrics and log.
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
    SessionBegin,
    SessionEnd,
    SessionConfirm,
}

impl AuditAction {
    /// All actions.
    pub const ALL: [AuditAction; 13] = [
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
        AuditAction::SessionBegin,
        AuditAction::SessionEnd,
        AuditAction::SessionConfirm,
    ];

    /// Returns true for an action that a gateway does itself. Most of those on accounts belong to the command line, a process without
    /// metrics.
    pub const fn is_counted(self) -> bool {
        !self.entries().is_empty()
    }

    /// The entries at which it is asked for.
    pub const fn entries(self) -> &'static [Entry] {
        match self {
            AuditAction::CredentialGet
            | AuditAction::CredentialAdd
            | AuditAction::CredentialEdit
            | AuditAction::CredentialRemove => &[Entry::Api, Entry::Console],
            AuditAction::SessionBegin | AuditAction::SessionEnd => &[Entry::Web, Entry::Console],
            // A holder's own; the operator's belong to the command line.
            AuditAction::AccountPassword | AuditAction::SessionConfirm => &[Entry::Console],
            AuditAction::AccountAdd
            | AuditAction::AccountRights
            | AuditAction::AccountSuspend
            | AuditAction::AccountResume
            | AuditAction::AccountRemove => &[],
        }
    }

    /// The word in metrics and log.
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
            AuditAction::SessionBegin => "session.begin",
            AuditAction::SessionEnd => "session.end",
            AuditAction::SessionConfirm => "session.confirm",
        }
    }

    /// Returns true if the action may be a revocation.
    pub const fn revokes(self) -> bool {
        match self {
            AuditAction::CredentialEdit
            | AuditAction::CredentialRemove
            | AuditAction::AccountPassword
            | AuditAction::AccountRights
            | AuditAction::AccountSuspend
            | AuditAction::AccountRemove
            | AuditAction::SessionEnd => true,
            AuditAction::CredentialGet
            | AuditAction::CredentialAdd
            | AuditAction::AccountAdd
            | AuditAction::AccountResume
            | AuditAction::SessionBegin
            | AuditAction::SessionConfirm => false,
        }
    }
}

/// The outcome of a requested change.
#[derive(Clone, Copy)]
pub enum AuditOutcome<'a> {
    /// The change is in effect everywhere.
    Done,
    /// The change was refused for this reason. Nothing has changed.
    Refused(&'a dyn fmt::Display),
    /// The change failed for this reason, or it is unknown if it was made.
    Failed(&'a dyn fmt::Display),
}

impl AuditOutcome<'_> {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Done => "done",
            AuditOutcome::Refused(_) => "refused",
            AuditOutcome::Failed(_) => "failed",
        }
    }
}

/// A change that somebody requested.
#[derive(Clone, Debug)]
pub struct RequestedChange {
    /// The action.
    pub action: AuditAction,
    /// The account holder's username, or [`operator`]; the presented username if nobody was identified.
    pub actor: String,
    /// The username that the change concerns, as presented; empty for all of the account.
    pub subject: String,
    /// The change, in words. Never contains a secret.
    pub change: String,
    /// The origin of the request.
    pub origin: Origin,
    /// The account that the change concerns, if it is known.
    pub account: Option<AccountId>,
}

impl RequestedChange {
    /// Writes the audit line.
    pub fn record(&self, outcome: AuditOutcome<'_>) {
        let (source, request_id, entry) = match &self.origin {
            Origin::Remote { source, request_id, entry } => {
                (Cow::from(source.to_string()), Some(request_id.as_str()), Some(entry.as_str()))
            }
            Origin::CommandLine => (Cow::from(COMMAND_LINE), None, None),
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
            entry,
            source: &source,
            request_id,
            outcome: outcome.as_str(),
            reason: reason.as_deref(),
            ..Record::default()
        };
        record.write(weight);
    }

    /// Returns the news for the audit trails of running gateways; `None` for a change over the network, which a gateway logs itself.
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

/// Returns the operator at the command line: the numeric user ID, and the name of a user who ran sudo.
pub fn operator() -> String {
    let user = rustix::process::getuid().as_raw();
    match std::env::var("SUDO_USER") {
        Ok(name) => format!("operator (uid {user}, sudo by {name})"),
        Err(_) => format!("operator (uid {user})"),
    }
}
