//! The page with the newest changes and denials of an account.

use super::answer::ConsoleAnswer;
use super::credential_words;
use super::page_request::{PageRequest, PageResult};
use crate::domain::{Entry, Permission};
use crate::edge::http::pages::views::{ActivityRow, ActivityView, ListLink, Outcome, Section, Stamp};
use crate::service::activity::{ActivityEvent, ActivityItem, ActivityOutcome};
use crate::service::audit::AuditAction;

/// The most events that are shown.
const MOST: usize = 100;

/// The kinds of events that the page shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ActivityKind {
    All,
    Changes,
    Denials,
}

impl ActivityKind {
    const ALL: [ActivityKind; 3] = [ActivityKind::All, ActivityKind::Changes, ActivityKind::Denials];

    const fn as_str(self) -> &'static str {
        match self {
            ActivityKind::All => "all",
            ActivityKind::Changes => "changes",
            ActivityKind::Denials => "denials",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            ActivityKind::All => "All",
            ActivityKind::Changes => "Changes",
            ActivityKind::Denials => "Denials",
        }
    }

    fn has(self, event: &ActivityEvent) -> bool {
        match self {
            ActivityKind::All => true,
            ActivityKind::Changes => matches!(event, ActivityEvent::Change { .. }),
            ActivityKind::Denials => matches!(event, ActivityEvent::Denial(_)),
        }
    }
}

/// Shows the page.
pub fn show(request: &PageRequest<'_>) -> PageResult {
    let manager = request.manager()?;
    let activity = &request.console.activity;
    let wanted = request.query.get("kind").unwrap_or_default();
    let kinds = ActivityKind::ALL.into_iter();
    let kind = kinds.clone().find(|kind| kind.as_str() == wanted).unwrap_or(ActivityKind::All);
    let items = activity.newest(manager.account(), MOST);
    let shown = items.iter().filter(|item| kind.has(&item.event));
    let link = |one: ActivityKind| ListLink {
        text: one.words().to_owned(),
        address: match one {
            ActivityKind::All => "/activity".to_owned(),
            one => format!("/activity?kind={}", one.as_str()),
        },
        is_current: one == kind,
    };
    let view = ActivityView {
        frame: request.frame(Section::Activity),
        rows: shown.map(|item| row(item, request.now)).collect(),
        filters: kinds.map(link).collect(),
        since: Stamp::new(request.console.started_at, request.now),
        is_of_one_node: request.console.has_other_nodes,
    };
    Ok(ConsoleAnswer::page(200, &view))
}

fn row(item: &ActivityItem, now: i64) -> ActivityRow {
    let entry = item.entry.map_or("command line", credential_words::entry);
    let row = ActivityRow {
        when: Stamp::new(item.at, now),
        outcome: Outcome::Denied,
        what: String::new(),
        subject: item.name.clone(),
        detail: String::new(),
        by: String::new(),
        entry: entry.to_owned(),
        source: item.source.map(|source| source.to_string()).unwrap_or_default(),
        count: item.count,
    };
    match &item.event {
        ActivityEvent::Denial(reason) => ActivityRow { what: denial(reason, item.entry).to_owned(), ..row },
        ActivityEvent::Change { action, actor, change, outcome } => {
            let to = |action: AuditAction| format!("Request to {}", asked(action));
            let (outcome, what, detail) = match outcome {
                ActivityOutcome::Done => (Outcome::Changed, done(*action).to_owned(), words(*action, change)),
                ActivityOutcome::Refused(reason) => (Outcome::Refused, to(*action), reason.clone()),
                ActivityOutcome::Failed => {
                    let detail = "It is not confirmed that the change is in effect.".to_owned();
                    (Outcome::NotConfirmed, to(*action), detail)
                }
            };
            ActivityRow { outcome, what, detail, by: actor.clone(), ..row }
        }
    }
}

/// A change that was made, in words.
const fn done(action: AuditAction) -> &'static str {
    match action {
        AuditAction::CredentialGet => "Credentials shown",
        AuditAction::CredentialAdd => "Credential added",
        AuditAction::CredentialEdit => "Credential changed",
        AuditAction::CredentialRemove => "Credential removed",
        AuditAction::AccountAdd => "Account added",
        AuditAction::AccountPassword => "Password of the account changed",
        AuditAction::AccountRights => "Rights of the account changed",
        AuditAction::AccountSuspend => "Account suspended",
        AuditAction::AccountResume => "Suspension ended",
        AuditAction::AccountRemove => "Account removed",
        AuditAction::SessionBegin => "Logged in",
        AuditAction::SessionEnd => "Session ended",
        AuditAction::SessionConfirm => "Password given again",
    }
}

/// A change that was asked for, in words.
const fn asked(action: AuditAction) -> &'static str {
    match action {
        AuditAction::CredentialGet => "show credentials",
        AuditAction::CredentialAdd => "add a credential",
        AuditAction::CredentialEdit => "change a credential",
        AuditAction::CredentialRemove => "remove a credential",
        AuditAction::AccountAdd => "add the account",
        AuditAction::AccountPassword => "change the password of the account",
        AuditAction::AccountRights => "change the rights of the account",
        AuditAction::AccountSuspend => "suspend the account",
        AuditAction::AccountResume => "end the suspension",
        AuditAction::AccountRemove => "remove the account",
        AuditAction::SessionBegin => "log in",
        AuditAction::SessionEnd => "end a session",
        AuditAction::SessionConfirm => "give the password again",
    }
}

/// The words for a reason of the audit trail.
fn denial(reason: &str, entry: Option<Entry>) -> &str {
    match reason {
        "unknown" => "Unknown username",
        "wrong" => "Wrong password",
        "suspended" => "Account suspended",
        "forbidden" => match entry {
            Some(Entry::Web) => "Permission “web” missing",
            Some(Entry::Smtp) => "Permission “email” missing",
            Some(Entry::Api | Entry::Console) | None => "Permission missing",
        },
        "throttled" => "Too many attempts",
        "cross-site" => "Sent by another site",
        other => other,
    }
}

/// The words for the details of a change: `password web=1 email=0`.
fn words(action: AuditAction, change: &str) -> String {
    if action == AuditAction::CredentialAdd {
        return added(change);
    }
    let word = |word: &str| match word.split_once('=') {
        Some((permission, "1")) => format!("{permission} granted"),
        Some((permission, "0")) => format!("{permission} revoked"),
        _ if word == "password" => "new password".to_owned(),
        _ if word == "note" => "note changed".to_owned(),
        _ => word.to_owned(),
    };
    // The number of a session says nothing to anybody.
    let told = change.split_whitespace().filter(|word| !word.starts_with("session="));
    told.map(word).collect::<Vec<_>>().join(", ")
}

/// The words for the permissions of a new credential. Those that are not named are granted.
fn added(change: &str) -> String {
    let is_refused =
        |permission: &Permission| change.split_whitespace().any(|word| word == format!("{permission}=0"));
    let granted: Vec<&str> =
        Permission::ALL.into_iter().filter(|one| !is_refused(one)).map(Permission::as_str).collect();
    match granted.is_empty() {
        true => "without permissions".to_owned(),
        false => format!("with {}", granted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_in_words() {
        let add = |change| words(AuditAction::CredentialAdd, change);
        assert_eq!(add("email=0 api=1 web=1 note"), "with api, web");
        assert_eq!(add("email=0 api=0 web=0"), "without permissions");
        assert_eq!(add(""), "with email, api, web");
        let edit = |change| words(AuditAction::CredentialEdit, change);
        assert_eq!(
            edit("password email=0 web=1 note"),
            "new password, email revoked, web granted, note changed"
        );
        assert_eq!(edit(""), "");
        assert_eq!(words(AuditAction::SessionEnd, "session=17"), "");
        assert_eq!(denial("forbidden", Some(Entry::Web)), "Permission “web” missing");
    }
}
