//! The credentials of an account as the console and the API v1 see and change them: pages, notes, conditions, removals of several, the
//! passwords of people, and the activity.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gatepost::domain::{
    AccountError, ChangeCondition, CredentialId, CredentialVersion, Entry, NoteError, PageCursor,
    PasswordError, Permission, Permissions, Presented, PrincipalId, UseState,
};
use gatepost::service::activity::{ActivityEvent, ActivityItem, ActivityOutcome};
use gatepost::service::audit::AuditAction;
use gatepost::service::credentials::{Addition, Edit, Manager};
use gatepost::service::{CredentialPage, CredentialPageQuery, Decision, ManagementError};
use gatepost::state::store::{CredentialFilter, PrincipalUse};

use crate::common::random::Random;
use crate::management::{Gateway, PASSWORD, SOURCE, audit_trail, gateway};

fn names(page: &CredentialPage) -> Vec<String> {
    page.credentials.iter().map(|details| details.credential.name.to_string().to_lowercase()).collect()
}

impl Gateway {
    async fn page(&self, query: &CredentialPageQuery<'_>) -> CredentialPage {
        self.credentials.page(&self.holder, query).await.unwrap()
    }

    async fn authorize(
        &self,
        username: &str,
        secret: &[u8],
        permission: Permission,
        source: IpAddr,
    ) -> Decision {
        let presented = Presented { username: username.as_bytes(), secret };
        self.access.authorize(presented, permission, Entry::Api, source).await
    }
}

fn of_person(g: &Gateway) -> Manager {
    g.holder.clone().with_rules_for_people()
}

#[tokio::test]
async fn paging_there_and_back_equals_a_model() {
    let mut random = Random::new(7);
    let g = gateway().await;
    let mut model = BTreeMap::new();
    for n in 0..60 {
        let letter = char::from(b"abcxyz"[random.below(6) as usize]);
        let (name, has_note) = (format!("{letter}-{}", random.below(100_000)), random.chance(40));
        let note = if has_note { "a note" } else { "" };
        let addition = Addition { username: &name, password: PASSWORD, note, ..Addition::default() };
        if g.credentials.add(&g.holder, addition).await.is_ok() {
            model.insert(name, has_note);
        }
        assert!(n < 40 || !model.is_empty());
    }
    for round in 0..40 {
        let filter = CredentialFilter { has_note: random.chance(50), ..CredentialFilter::default() };
        let prefix = ["", "A", "x-", "zz", "no such", "a-1"][random.below(6) as usize];
        let limit = u32::try_from(random.between(1, 20)).unwrap();
        let passes = |(name, has_note): &(&String, &bool)| {
            name.starts_with(&prefix.to_lowercase()) && (!filter.has_note || **has_note)
        };
        let expected: Vec<String> = model.iter().filter(passes).map(|(name, _)| name.clone()).collect();
        let query = |cursor| CredentialPageQuery { prefix, filter, cursor, limit };
        let first = g.page(&query(None)).await;
        assert_eq!(first.previous, None);
        let (mut found, mut last) = (names(&first), first);
        while let Some(cursor) = last.next {
            // As a client gives it back.
            last = g.page(&query(Some(cursor.to_string().parse().unwrap()))).await;
            assert!(last.previous.is_some());
            found.extend(names(&last));
        }
        assert_eq!(found, expected, "round {round}: {prefix} {filter:?} {limit}");
        // Back again from the last page.
        let mut back = names(&last);
        while let Some(cursor) = last.previous {
            last = g.page(&query(Some(cursor))).await;
            back.splice(0..0, names(&last));
        }
        assert_eq!(back, expected, "round {round}, back: {prefix} {filter:?} {limit}");
    }
}

#[tokio::test]
async fn a_page_is_of_one_account_and_bounded() {
    let g = gateway().await;
    g.accounts.add("stranger", PASSWORD, Permissions::ALL).await.unwrap();
    g.add("john").await.unwrap();
    let stranger = g.credentials.operator("stranger", gatepost::service::Origin::CommandLine).await.unwrap();
    let query = CredentialPageQuery { limit: u32::MAX, ..CredentialPageQuery::default() };
    assert!(g.credentials.page(&stranger, &query).await.unwrap().credentials.is_empty());
    let john = g.page(&query).await.credentials.remove(0);
    let id = john.credential.id;
    assert_eq!(g.credentials.by_id(&g.holder, id).await.unwrap().version, john.version);
    for (by, id) in [(&stranger, id), (&g.holder, CredentialId(id.0 + 1))] {
        let refused = g.credentials.by_id(by, id).await.unwrap_err();
        assert_eq!(refused, AccountError::NoSuchCredential.into());
    }
    // A cursor of another search, or beyond all names, is no error.
    for cursor in ["gt:zzz", "lt:aaa", "le:john", "ge:john"] {
        let cursor: PageCursor = cursor.parse().unwrap();
        let page = g.page(&CredentialPageQuery { prefix: "j", cursor: Some(cursor), ..query }).await;
        assert!(page.credentials.len() <= 1 && !page.is_short, "{cursor}");
    }
    g.store.close().await;
    let refused = g.credentials.page(&g.holder, &query).await.unwrap_err();
    assert!(matches!(refused, ManagementError::Store(_)));
}

#[tokio::test]
async fn the_last_use_is_shown_from_memory_first() {
    let g = gateway().await;
    g.add("john").await.unwrap();
    let query = CredentialPageQuery { limit: 10, ..CredentialPageQuery::default() };
    assert_eq!(g.page(&query).await.credentials[0].last_use, None);
    let decision = g.authorize("john", PASSWORD, Permission::Api, SOURCE).await;
    assert!(matches!(decision, Decision::Allowed(_)));
    let shown = g.page(&query).await.credentials.remove(0);
    let last = shown.last_use.unwrap();
    assert_eq!((last.entry, last.address), (Some(Entry::Api), Some(SOURCE)));
    let id = shown.credential.id;
    let stored = g.store.credential_by_id(g.holder.account(), id).await.unwrap().unwrap();
    assert_eq!(stored.last_use, None, "it is not written yet");
    // The filter does not show what memory knows better.
    let never = CredentialFilter { use_state: Some(UseState::NeverUsed), ..CredentialFilter::default() };
    assert!(g.page(&CredentialPageQuery { filter: never, ..query.clone() }).await.credentials.is_empty());
    g.access.write_uses().await;
    let active = CredentialFilter { use_state: Some(UseState::Active), ..CredentialFilter::default() };
    assert_eq!(names(&g.page(&CredentialPageQuery { filter: active, ..query.clone() }).await), ["john"]);
    assert_eq!(g.credentials.by_id(&g.holder, id).await.unwrap().last_use, Some(last));
    // Another gateway has written a later one.
    let later = PrincipalUse::now(PrincipalId(id.0), [198, 51, 100, 1].into(), Entry::Web);
    let later = PrincipalUse { used_at: last.used_at + 30, ..later };
    g.store.write_last_uses(&[later]).await.unwrap();
    assert_eq!(g.page(&query).await.credentials[0].last_use, Some(later.as_last()));
}

#[tokio::test]
async fn a_note_is_checked_and_in_the_trail_without_its_text() {
    let g = gateway().await;
    let long = "x".repeat(201);
    for (note, refused) in [("a\nb", NoteError::Control), (long.as_str(), NoteError::Length)] {
        let addition = Addition { username: "john", password: PASSWORD, note, ..Addition::default() };
        assert_eq!(g.credentials.add(&g.holder, addition).await.unwrap_err(), refused.into());
    }
    let note = "of the private shop";
    let addition = Addition { username: "john", password: PASSWORD, note, ..Addition::default() };
    g.credentials.add(&g.holder, addition).await.unwrap();
    let seen = g.epochs.now();
    let edit = |note| Edit { username: "john", note: Some(note), ..Edit::default() };
    g.credentials.edit(&g.holder, edit(" another ")).await.unwrap();
    let john = g.credentials.by_name(&g.holder, "JOHN").await.unwrap();
    assert_eq!(john.note.unwrap().as_str(), "another");
    assert!(g.epochs.now() >= seen);
    g.credentials.edit(&g.holder, edit("")).await.unwrap();
    assert_eq!(g.credentials.by_name(&g.holder, "john").await.unwrap().note, None);
    assert_eq!(
        g.credentials.edit(&g.holder, edit("a\u{2028}b")).await.unwrap_err(),
        NoteError::Control.into()
    );
    let trail = audit_trail();
    assert!(trail.contains(&"credential.add|holder|john|note|192.0.2.7|done|-".to_owned()), "{trail:?}");
    assert!(trail.contains(&"credential.edit|holder|john|note|192.0.2.7|done|-".to_owned()), "{trail:?}");
    assert!(!trail.iter().any(|line| line.contains("shop") || line.contains("another")), "{trail:?}");
}

#[tokio::test]
async fn a_change_for_what_it_no_longer_is_changes_nothing() {
    let g = gateway().await;
    g.add("john").await.unwrap();
    let john = g.credentials.by_name(&g.holder, "john").await.unwrap();
    let condition = ChangeCondition { id: Some(john.credential.id), version: Some(john.version) };
    let edit = Edit { username: "john", note: Some("one"), condition, ..Edit::default() };
    g.credentials.edit(&g.holder, edit).await.unwrap();
    let failed = AccountError::ConditionFailed.into();
    let again = Edit { note: Some("two"), password: Some(b"an0ther one"), ..edit };
    assert_eq!(g.credentials.edit(&g.holder, again).await.unwrap_err(), failed);
    assert_eq!(g.credentials.remove_if(&g.holder, "john", condition).await.unwrap_err(), failed);
    let now = g.credentials.by_name(&g.holder, "john").await.unwrap();
    assert_eq!(now.note.unwrap().as_str(), "one");
    assert!(g.opens("john", PASSWORD).await);
    let condition = ChangeCondition { version: Some(now.version), ..condition };
    assert_eq!(g.credentials.remove_if(&g.holder, "john", condition).await.unwrap().count, 0);
    let gone = ChangeCondition { id: None, version: Some(CredentialVersion(1)) };
    let refused = g.credentials.remove_if(&g.holder, "john", gone).await.unwrap_err();
    assert_eq!(refused, AccountError::NoSuchCredential.into());
}

#[tokio::test]
async fn several_are_removed_at_once_each_with_its_line() {
    let g = gateway().await;
    for name in ["one", "two", "three"] {
        g.add(name).await.unwrap();
        let allowed = g.authorize(name, PASSWORD, Permission::Api, SOURCE).await;
        assert!(matches!(allowed, Decision::Allowed(_)));
    }
    let _ = audit_trail();
    let asked = ["One", "nobody", "three", "not a name"].map(|name| (name, None));
    let (outcomes, effect) = g.credentials.remove_many(&g.holder, &asked).await.unwrap();
    let missing = Err(AccountError::NoSuchCredential.into());
    assert_eq!(outcomes, [Ok(()), missing.clone(), Ok(()), missing]);
    assert_eq!(effect.nodes, 1);
    // In effect when answered: the cache allows none of them any more.
    for (name, is_there) in [("one", false), ("two", true), ("three", false)] {
        let presented = Presented { username: name.as_bytes(), secret: PASSWORD };
        assert!(g.access.check_cached(&presented, Permission::Api, Entry::Api).is_none(), "stale");
        let decision = g.authorize(name, PASSWORD, Permission::Api, SOURCE).await;
        assert_eq!(matches!(decision, Decision::Allowed(_)), is_there, "{name}");
    }
    let mut trail = audit_trail();
    trail.retain(|line| line.starts_with("credential.remove"));
    trail.sort();
    let expected = [
        "credential.remove|holder|One||192.0.2.7|done|-",
        "credential.remove|holder|nobody||192.0.2.7|refused|no such credential",
        "credential.remove|holder|not a name||192.0.2.7|refused|no such credential",
        "credential.remove|holder|three||192.0.2.7|done|-",
    ];
    assert_eq!(trail, expected);
    let many = vec![("two", None); 201];
    let refused = g.credentials.remove_many(&g.holder, &many).await.unwrap_err();
    assert_eq!(refused, AccountError::TooManyAtOnce.into());
    assert!(g.credentials.remove_many(&g.holder, &[]).await.unwrap().0.is_empty());
    // Another credential has the name by now.
    let (outcomes, _) =
        g.credentials.remove_many(&g.holder, &[("two", Some(CredentialId(999)))]).await.unwrap();
    assert_eq!(outcomes, [Err(AccountError::NoSuchCredential.into())]);
    g.accounts.suspend("holder").await.unwrap();
    let (outcomes, _) = g.credentials.remove_many(&g.holder, &[("two", None)]).await.unwrap();
    assert_eq!(outcomes, [Err(AccountError::Suspended.into())]);
    g.accounts.resume("holder").await.unwrap();
    g.store.close().await;
    let (outcomes, _) =
        g.credentials.remove_many(&g.holder, &[("two", None), ("three", None)]).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(ManagementError::Store(_)))), "{outcomes:?}");
}

#[tokio::test]
async fn people_choose_no_common_password_and_programs_may() {
    let g = gateway().await;
    let common = ManagementError::Password(PasswordError::Common);
    let person = of_person(&g);
    let addition = |username, password| Addition { username, password, ..Addition::default() };
    let refused = g.credentials.add(&person, addition("john", b"Password1")).await.unwrap_err();
    assert_eq!(refused, common);
    g.credentials.add(&person, addition("john", b"correct horse battery")).await.unwrap();
    let edit = |password| Edit { username: "john", password: Some(password), ..Edit::default() };
    assert_eq!(g.credentials.edit(&person, edit(b"qwerty123")).await.unwrap_err(), common);
    assert!(g.opens("john", b"correct horse battery").await);
    // The original API: as it was.
    let no_digit = ManagementError::Password(PasswordError::NoDigit);
    g.credentials.edit(&g.holder, edit(b"qwerty123")).await.unwrap();
    assert_eq!(g.credentials.edit(&g.holder, edit(b"correct horse battery")).await.unwrap_err(), no_digit);
    let accounts = g.accounts.clone().with_rules_for_people();
    assert_eq!(accounts.set_password("holder", b"passw0rd").await.unwrap_err(), common);
    assert_eq!(accounts.add("second", b"trustno1", Permissions::ALL).await.unwrap_err(), common);
}

#[tokio::test]
async fn an_account_sees_its_changes_and_denials() {
    let g = gateway().await;
    g.add("john").await.unwrap();
    let edit = Edit { username: "nobody", note: Some("x"), ..Edit::default() };
    let _ = g.credentials.edit(&g.holder, edit).await.unwrap_err();
    let other: IpAddr = "198.51.100.9".parse().unwrap();
    for _ in 0..3 {
        let wrong = g.authorize("JOHN", b"wrong passw0rd", Permission::Api, other).await;
        assert!(matches!(wrong, Decision::Denied(_)));
        let unknown = g.authorize("unknown", b"wrong passw0rd", Permission::Api, other).await;
        assert!(matches!(unknown, Decision::Denied(_)));
    }
    g.accounts.set_rights("holder", "email".parse().unwrap()).await.unwrap();
    let lacks = g.authorize("john", PASSWORD, Permission::Api, SOURCE).await;
    assert!(matches!(lacks, Decision::Denied(_)), "{lacks:?}");
    let items = g.access.activity().newest(g.holder.account(), 10);
    let denials: Vec<&ActivityItem> =
        items.iter().filter(|item| matches!(item.event, ActivityEvent::Denial(_))).collect();
    let reasons: Vec<_> = denials.iter().map(|item| (&item.event, item.source, item.count)).collect();
    let denial = |reason: &str| ActivityEvent::Denial(reason.to_owned());
    assert!(reasons.contains(&(&denial("forbidden"), Some(SOURCE), 1)), "{reasons:?}");
    let by_guessing: u64 =
        denials.iter().filter(|item| item.source == Some(other)).map(|item| item.count).sum();
    assert_eq!(by_guessing, 3, "{denials:?}");
    assert!(denials.iter().all(|item| item.name.eq_ignore_ascii_case("john")), "{denials:?}");
    let changes: Vec<_> = items
        .iter()
        .filter_map(|item| match &item.event {
            ActivityEvent::Change { action, outcome, .. } => {
                Some((*action, outcome, item.name.as_str(), item.entry))
            }
            ActivityEvent::Denial(_) => None,
        })
        .collect();
    let refused = ActivityOutcome::Refused("no such credential".to_owned());
    let expected = [
        (AuditAction::CredentialEdit, &refused, "nobody", Some(Entry::Api)),
        (AuditAction::CredentialAdd, &ActivityOutcome::Done, "john", Some(Entry::Api)),
    ];
    assert_eq!(changes, expected);
}
