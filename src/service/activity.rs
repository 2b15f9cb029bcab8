//! The newest changes and denials of each account, for its holder. They are in memory alone: bounded, of this process, and gone when it
//! ends. The audit trail has all of them.
//!
//! A denial belongs to the account whose username was presented, and one of an unknown username to nobody. Both cost the same, since the
//! time of an answer must not tell which usernames exist.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::audit::{AuditAction, AuditOutcome, Origin, RequestedChange};
use crate::domain::{AccountId, Entry, LONGEST_NAME, LONGEST_TEXT, shown};

/// Changes of an account that are kept, as many denials, and as many events of logins: none push the others out.
const KEPT: usize = 50;
/// Accounts of which any are kept. With more of them, those go that had none for the longest.
const ACCOUNTS: usize = 1_000;
/// The account of denials that belong to nobody. No row has this number.
const NOBODY: AccountId = AccountId(0);

/// The newest changes and denials.
#[derive(Default)]
pub struct Activity(Mutex<ActivityBooks>);

#[derive(Default)]
struct ActivityBooks {
    accounts: HashMap<AccountId, AccountActivity, RandomState>,
    /// The number of events so far.
    events: u64,
}

#[derive(Default)]
struct AccountActivity {
    /// The newest ones first.
    changes: VecDeque<ActivityItem>,
    denials: VecDeque<ActivityItem>,
    /// Sessions, and passwords that credentials have changed themselves: each credential can cause any number of them.
    logins: VecDeque<ActivityItem>,
    /// The number of its last event.
    last: u64,
}

/// A change, or a denial and those like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityItem {
    /// The time of the newest one, in seconds since 1970 UTC.
    pub at: i64,
    /// The time of the oldest one.
    pub first_at: i64,
    /// The number of denials, refusals or events of a login that differ in nothing but time.
    pub count: u64,
    /// The username that was changed, or presented; empty for all of the account.
    pub name: String,
    /// The entry; `None` for the command line.
    pub entry: Option<Entry>,
    /// The client's address; `None` for the command line.
    pub source: Option<IpAddr>,
    /// The event.
    pub event: ActivityEvent,
}

/// An event of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivityEvent {
    /// A requested change.
    Change {
        /// The action.
        action: AuditAction,
        /// The username of the account holder or credential that requested it, or the operator.
        actor: String,
        /// The change, in words: `password email=0 web=1 note`.
        change: String,
        /// The outcome.
        outcome: ActivityOutcome,
    },
    /// A denial for this reason, in the words of the audit trail.
    Denial(String),
}

/// The outcome of a change, as its account holder may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivityOutcome {
    /// The change is in effect.
    Done,
    /// The change was refused for this reason. Nothing has changed.
    Refused(String),
    /// The change failed, or it is unknown if it was made.
    Failed,
}

/// A denial that is to be noted.
pub(super) struct ActivityDenial<'a> {
    pub(super) account: Option<AccountId>,
    pub(super) entry: Entry,
    pub(super) username: &'a [u8],
    pub(super) source: IpAddr,
    pub(super) reason: &'a str,
}

impl Activity {
    /// Returns the newest items of an account, at most `limit`, the newest first.
    pub fn newest(&self, account: AccountId, limit: usize) -> Vec<ActivityItem> {
        if account == NOBODY {
            return Vec::new();
        }
        let books = self.0.lock();
        let Some(found) = books.accounts.get(&account) else { return Vec::new() };
        let items = found.changes.iter().chain(&found.denials).chain(&found.logins);
        let mut items: Vec<ActivityItem> = items.cloned().collect();
        drop(books);
        items.sort_by_key(|item| std::cmp::Reverse(item.at));
        items.truncate(limit);
        items
    }

    /// Notes a change. Only asking for credentials is none. Refusals and events of logins that differ in nothing but time are one item.
    pub(super) fn changed(&self, asked: &RequestedChange, outcome: AuditOutcome<'_>) {
        let (Some(account), true) = (asked.account, asked.action != AuditAction::CredentialGet) else {
            return;
        };
        let (entry, source) = match &asked.origin {
            Origin::Remote { source, entry, .. } => (Some(*entry), Some(*source)),
            Origin::CommandLine => (None, None),
        };
        let text = |text: &str| shown(text.as_bytes(), LONGEST_TEXT);
        let outcome = match outcome {
            AuditOutcome::Done => ActivityOutcome::Done,
            AuditOutcome::Refused(reason) => ActivityOutcome::Refused(text(&reason.to_string())),
            AuditOutcome::Failed(_) => ActivityOutcome::Failed,
        };
        let is_done = outcome == ActivityOutcome::Done;
        let (actor, change) = (text(&asked.actor), text(&asked.change));
        let event = ActivityEvent::Change { action: asked.action, actor, change, outcome };
        let (name, now) = (shown(asked.subject.as_bytes(), LONGEST_NAME), now());
        let item = ActivityItem { at: now, first_at: now, count: 1, name, entry, source, event };
        let mut books = self.0.lock();
        let account = books.of(account);
        match is_of_login(asked) {
            true => push_merged(&mut account.logins, item),
            false if is_done => push(&mut account.changes, item),
            false => push_merged(&mut account.changes, item),
        }
    }

    /// Notes a denial, together with those that differ from it in nothing but time.
    pub(super) fn denied(&self, denial: &ActivityDenial<'_>) {
        let now = now();
        let mut books = self.0.lock();
        let denials = &mut books.of(denial.account.unwrap_or(NOBODY)).denials;
        let known = denials.iter().position(|item| denial.is_like(item));
        let item = match known.and_then(|place| denials.remove(place)) {
            Some(item) => ActivityItem { at: now.max(item.at), count: item.count.saturating_add(1), ..item },
            None => denial.item(now),
        };
        push(denials, item);
    }
}

impl ActivityBooks {
    /// Returns the part of an account that has another event.
    fn of(&mut self, account: AccountId) -> &mut AccountActivity {
        self.events += 1;
        if self.accounts.len() >= ACCOUNTS && !self.accounts.contains_key(&account) {
            self.drop_oldest();
        }
        let found = self.accounts.entry(account).or_default();
        found.last = self.events;
        found
    }

    /// Drops a quarter of the accounts: those that had no event for the longest.
    fn drop_oldest(&mut self) {
        let mut last: Vec<u64> = self.accounts.values().map(|account| account.last).collect();
        let (_, limit, _) = last.select_nth_unstable(ACCOUNTS / 4);
        let limit = *limit;
        self.accounts.retain(|_, account| account.last >= limit);
    }
}

impl ActivityDenial<'_> {
    fn is_like(&self, item: &ActivityItem) -> bool {
        item.source == Some(self.source)
            && item.entry == Some(self.entry)
            && matches!(&item.event, ActivityEvent::Denial(reason) if *reason == self.reason)
            && item.name.as_bytes().eq_ignore_ascii_case(self.username)
    }

    fn item(&self, now: i64) -> ActivityItem {
        ActivityItem {
            at: now,
            first_at: now,
            count: 1,
            name: shown(self.username, LONGEST_NAME),
            entry: Some(self.entry),
            source: Some(self.source),
            event: ActivityEvent::Denial(self.reason.to_owned()),
        }
    }
}

/// Returns true for what a credential can cause by its own login.
fn is_of_login(asked: &RequestedChange) -> bool {
    match asked.action {
        AuditAction::SessionBegin | AuditAction::SessionEnd | AuditAction::SessionConfirm => true,
        AuditAction::CredentialEdit => asked.actor.eq_ignore_ascii_case(&asked.subject),
        _ => false,
    }
}

/// Adds an item, together with one that differs from it in nothing but time.
fn push_merged(items: &mut VecDeque<ActivityItem>, item: ActivityItem) {
    let is_like = |known: &ActivityItem| {
        known.event == item.event
            && known.name == item.name
            && (known.entry, known.source) == (item.entry, item.source)
    };
    let place = items.iter().position(is_like);
    let item = match place.and_then(|place| items.remove(place)) {
        Some(known) => {
            let (at, count) = (item.at.max(known.at), known.count.saturating_add(1));
            ActivityItem { at, count, first_at: known.first_at, ..item }
        }
        None => item,
    };
    push(items, item);
}

fn push(items: &mut VecDeque<ActivityItem>, item: ActivityItem) {
    items.truncate(KEPT - 1);
    items.push_front(item);
}

/// The present time in seconds since 1970 UTC.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial<'a>(account: Option<i64>, username: &'a str, source: &str) -> ActivityDenial<'a> {
        ActivityDenial {
            account: account.map(AccountId),
            entry: Entry::Smtp,
            username: username.as_bytes(),
            source: source.parse().unwrap(),
            reason: "wrong",
        }
    }

    fn change(account: Option<i64>, action: AuditAction, subject: &str) -> RequestedChange {
        RequestedChange {
            action,
            actor: "holder".to_owned(),
            subject: subject.to_owned(),
            change: "email=0".to_owned(),
            origin: Origin::CommandLine,
            account: account.map(AccountId),
        }
    }

    #[test]
    fn denials_of_a_kind_are_one_item_and_a_flood_of_them_keeps_the_changes() {
        let activity = Activity::default();
        activity.changed(&change(Some(1), AuditAction::CredentialEdit, "cred"), AuditOutcome::Done);
        for _ in 0..1_000 {
            activity.denied(&denial(Some(1), "cred", "192.0.2.1"));
            activity.denied(&denial(Some(1), "CRED", "192.0.2.1"));
        }
        activity.denied(&ActivityDenial { reason: "throttled", ..denial(Some(1), "cred", "192.0.2.1") });
        activity.denied(&ActivityDenial { entry: Entry::Api, ..denial(Some(1), "cred", "192.0.2.1") });
        let items = activity.newest(AccountId(1), 10);
        assert_eq!(items.iter().map(|item| item.count).max(), Some(2_000));
        assert_eq!(items.len(), 4);
        for n in 0..1_000 {
            activity.denied(&denial(Some(1), &format!("user{n}"), "192.0.2.1"));
        }
        let items = activity.newest(AccountId(1), usize::MAX);
        assert_eq!(items.len(), KEPT + 1);
        let is_change = |item: &&ActivityItem| matches!(item.event, ActivityEvent::Change { .. });
        assert_eq!(items.iter().filter(is_change).count(), 1);
        assert_eq!(activity.newest(AccountId(1), 3).len(), 3);
    }

    #[test]
    fn sessions_own_passwords_and_refusals_leave_the_changes() {
        let activity = Activity::default();
        activity.changed(&change(Some(1), AuditAction::CredentialRemove, "cred"), AuditOutcome::Done);
        let by_itself = |action: AuditAction, change_of: String| RequestedChange {
            actor: "cred".to_owned(),
            change: change_of,
            ..change(Some(1), action, "cred")
        };
        for n in 0..1_000 {
            let begin = by_itself(AuditAction::SessionBegin, String::new());
            activity.changed(&begin, AuditOutcome::Done);
            let end = by_itself(AuditAction::SessionEnd, format!("session={n}"));
            activity.changed(&end, AuditOutcome::Done);
            let edit = by_itself(AuditAction::CredentialEdit, "password".to_owned());
            activity.changed(&edit, AuditOutcome::Done);
            let edit = change(Some(1), AuditAction::CredentialEdit, "cred");
            activity.changed(&edit, AuditOutcome::Refused(&"no"));
        }
        let items = activity.newest(AccountId(1), usize::MAX);
        let of = |wanted: AuditAction| -> Vec<u64> {
            let is_wanted = |item: &&ActivityItem| matches!(&item.event, ActivityEvent::Change { action, .. } if *action == wanted);
            items.iter().filter(is_wanted).map(|item| item.count).collect()
        };
        assert_eq!(of(AuditAction::CredentialRemove), [1]);
        assert_eq!(of(AuditAction::SessionBegin), [1_000]);
        assert_eq!(of(AuditAction::CredentialEdit), [1_000, 1_000], "refused, and its own");
        assert_eq!(of(AuditAction::SessionEnd).len(), KEPT - 2);
    }

    #[test]
    fn an_account_sees_its_own_and_unknown_names_belong_to_nobody() {
        let activity = Activity::default();
        activity.denied(&denial(None, "unknown", "192.0.2.1"));
        activity.denied(&denial(Some(2), "other", "192.0.2.1"));
        assert!(activity.newest(AccountId(1), 10).is_empty() && activity.newest(NOBODY, 10).is_empty());
        assert_eq!(activity.newest(AccountId(2), 10)[0].name, "other");
        activity.changed(&change(None, AuditAction::CredentialEdit, "cred"), AuditOutcome::Done);
        activity.changed(&change(Some(3), AuditAction::CredentialGet, "cred"), AuditOutcome::Refused(&"no"));
        assert!(activity.newest(AccountId(3), 10).is_empty(), "nothing was changed");
    }

    #[test]
    fn a_failure_tells_no_more_than_that() {
        let activity = Activity::default();
        let asked = change(Some(1), AuditAction::CredentialAdd, "a\nb");
        activity.changed(&asked, AuditOutcome::Failed(&"disk /var/lib is full"));
        activity.changed(&asked, AuditOutcome::Refused(&"username is already taken"));
        let items = activity.newest(AccountId(1), 10);
        let outcome = |item: &ActivityItem| match &item.event {
            ActivityEvent::Change { outcome, .. } => outcome.clone(),
            ActivityEvent::Denial(_) => panic!("it is a change"),
        };
        let outcomes: Vec<_> = items.iter().map(outcome).collect();
        let refused = ActivityOutcome::Refused("username is already taken".to_owned());
        assert_eq!(outcomes, [refused, ActivityOutcome::Failed]);
        assert_eq!((items[0].name.as_str(), items[0].source, items[0].entry), ("a\\nb", None, None));
    }

    #[test]
    fn the_accounts_are_bounded() {
        let activity = Activity::default();
        for n in 1..=10 * ACCOUNTS as i64 {
            activity.denied(&denial(Some(n), "cred", "192.0.2.1"));
            activity.denied(&denial(Some(1), "cred", "192.0.2.1"));
            assert!(activity.0.lock().accounts.len() <= ACCOUNTS);
        }
        assert_eq!(activity.newest(AccountId(1), 1)[0].count, 10 * ACCOUNTS as u64 + 1, "it was in use");
        assert!(activity.newest(AccountId(2), 1).is_empty());
    }
}
