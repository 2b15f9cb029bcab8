//! Sessions: they begin for a login, and end with it.

use gatepost::domain::{Entry, Principal, SessionDigest, SessionId};
use gatepost::state::store::{BegunSession, MOST_SESSIONS, NewSession, SessionUse};

use super::*;

const IDLE: i64 = 600;
const LIFETIME: i64 = 3600;

fn digest(n: u8) -> SessionDigest {
    SessionDigest::from_bytes([n; 32])
}

impl Fixture {
    async fn principal(&self, text: &str) -> Principal {
        self.store.principal(&canonical(text)).await.unwrap().unwrap()
    }

    async fn try_begin(
        &self,
        principal: &Principal,
        n: u8,
        entry: Entry,
    ) -> Result<BegunSession, MutationError> {
        let new = NewSession {
            principal: principal.clone(),
            entry,
            digest: digest(n),
            source: "192.0.2.1".parse().unwrap(),
            browser: "Browser 1.0".to_owned(),
            created_at: now(),
            idle: Duration::from_secs(IDLE as u64),
            lifetime: Duration::from_secs(LIFETIME as u64),
        };
        self.store.begin_session(new).await
    }

    async fn begin(&self, text: &str, n: u8) -> SessionId {
        let principal = self.principal(text).await;
        self.try_begin(&principal, n, Entry::Web).await.unwrap().session.id
    }

    async fn is_there(&self, n: u8) -> bool {
        self.store.session(&digest(n)).await.unwrap().is_some()
    }

    /// The sessions that are there, by the bytes of their digests.
    async fn there(&self, of: std::ops::Range<u8>) -> Vec<u8> {
        let mut there = Vec::new();
        for n in of {
            if self.is_there(n).await {
                there.push(n);
            }
        }
        there
    }

    /// The names in the log since that number, in PostgreSQL; the number of changes in SQLite.
    async fn noted(&self, since: i64) -> (i64, Option<String>) {
        let number = self.store.changes().await.unwrap();
        let names = match self.place {
            Place::File(_) => None,
            Place::Server(_) => {
                let sql = format!(
                    "SELECT coalesce(string_agg(names::TEXT, ' ' ORDER BY seq), '') FROM log WHERE seq > {since}"
                );
                Some(self.query(&sql).await)
            }
        };
        (number - since, names)
    }

    /// Checks that exactly this was noted since that number: that some change was made, of these names.
    async fn expect_noted(&self, since: i64, names: &str) {
        let (number, noted) = self.noted(since).await;
        assert_eq!(number > 0, !names.is_empty(), "{number} changes, expected {names}");
        assert!(noted.as_ref().is_none_or(|noted| noted == names), "{noted:?}, expected {names}");
    }
}

#[tokio::test]
async fn a_session_is_found_by_its_digest_with_its_principal() {
    for f in both().await {
        let account = f.account("Holder").await;
        f.add(account, "Seer").await.unwrap();
        let before = f.store.changes().await.unwrap();
        let id = f.begin("seer", 1).await;
        let found = f.store.session(&digest(1)).await.unwrap().unwrap();
        assert_eq!((found.id, found.entry, found.principal.name.as_str()), (id, Entry::Web, "Seer"));
        assert_eq!(found.principal.account_name.as_str(), "Holder");
        assert!(found.principal.active && found.principal.hash == hash("h"));
        assert_eq!((found.confirmed_at, found.used_at), (found.created_at, found.created_at));
        assert_eq!((found.idle_until, found.ends_at), (found.created_at + IDLE, found.created_at + LIFETIME));
        assert!(!f.is_there(2).await);
        let listed = f.store.sessions(found.principal.id()).await.unwrap();
        assert_eq!((listed.len(), listed[0].id, listed[0].browser.as_str()), (1, id, "Browser 1.0"));
        assert_eq!(f.store.sessions(f.principal("holder").await.id()).await, Ok(vec![]));
        // Its beginning is no change, its use and a confirmation are none, and neither is a note.
        let used_at = found.created_at + 100;
        f.store.write_session_uses(&[SessionUse { id, used_at }]).await.unwrap();
        assert_eq!(f.store.confirm_session(found.principal.id(), id, used_at).await, Ok(true));
        f.query("UPDATE principal SET note = 'a note'").await;
        f.expect_noted(before, "").await;
        let found = f.store.session(&digest(1)).await.unwrap().unwrap();
        assert_eq!((found.used_at, found.idle_until, found.confirmed_at), (used_at, used_at + IDLE, used_at));
        // An earlier use, as another process may write it later, takes nothing back.
        f.store.write_session_uses(&[SessionUse { id, used_at: used_at - 50 }]).await.unwrap();
        assert_eq!(f.store.session(&digest(1)).await.unwrap().unwrap().used_at, used_at);
        // A token is of one session.
        let again = f.try_begin(&f.principal("seer").await, 1, Entry::Web).await;
        assert!(matches!(again, Err(MutationError::Store(_))), "{again:?}");
    }
}

#[tokio::test]
async fn its_end_is_a_change_of_its_principal() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "Seer").await.unwrap();
        let (id, _) = (f.begin("seer", 1).await, f.begin("seer", 2).await);
        f.begin("holder", 3).await;
        let (seer, holder) = (f.principal("seer").await.id(), f.principal("holder").await.id());
        let before = f.store.changes().await.unwrap();
        let foreign = f.store.end_session(holder, id).await;
        assert_eq!(foreign.map(drop), Err(AccountError::NoSuchSession.into()));
        f.expect_noted(before, "").await;
        let ended = f.store.end_session(seer, id).await.unwrap().change;
        assert_eq!((ended.name, ended.revokes, ended.ends_login), (canonical("seer"), true, false));
        f.expect_noted(before, "{seer}").await;
        assert_eq!(f.there(1..4).await, [2, 3]);
        let again = f.store.end_session(seer, id).await;
        assert_eq!(again.map(drop), Err(AccountError::NoSuchSession.into()));

        f.begin("seer", 4).await;
        let own = f.begin("seer", 5).await;
        let before = f.store.changes().await.unwrap();
        let ended = f.store.end_other_sessions(seer, Some(own)).await.unwrap();
        assert_eq!((ended.value, ended.change.name), (2, canonical("seer")));
        f.expect_noted(before, "{seer}").await;
        assert_eq!(f.there(1..6).await, [3, 5]);
        assert_eq!(f.store.end_other_sessions(seer, None).await.unwrap().value, 1);
        let none = f.store.end_other_sessions(seer, None).await;
        assert_eq!(none.map(drop), Err(AccountError::NoSuchSession.into()));
        // By an operator, past the store.
        let before = f.store.changes().await.unwrap();
        f.query("DELETE FROM session").await;
        f.expect_noted(before, "{holder}").await;
    }
}

#[tokio::test]
async fn whoever_changes_the_password_ends_the_sessions() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "seer").await.unwrap();
        let begin = async || {
            f.query("DELETE FROM session").await;
            f.begin("holder", 1).await;
            f.begin("seer", 2).await;
            assert_eq!(f.there(1..3).await, [1, 2]);
        };
        begin().await;
        let by = Authority::Operator;
        let changed = f.store.edit_credential(account, by, &canonical("seer"), &edit(Some("x"), "{}")).await;
        assert!(changed.is_ok());
        assert_eq!(f.there(1..3).await, [1], "by the credential's management");
        begin().await;
        let changed =
            f.store.edit_credential(account, by, &canonical("seer"), &edit(None, "{\"web\":0}")).await;
        assert!(changed.is_ok());
        assert_eq!(f.there(1..3).await, [1, 2], "another change ends nothing");
        let changed = f.store.set_password(&canonical("holder"), &hash("x")).await;
        assert!(changed.is_ok());
        assert_eq!(f.there(1..3).await, [2], "that of the account is its own");
        begin().await;
        f.query("UPDATE principal SET hash = 'by SQL' WHERE name = 'seer'").await;
        assert_eq!(f.there(1..3).await, [1], "by SQL");
        begin().await;
        let before = f.store.changes().await.unwrap();
        let renewed = f.store.renew_hash(&canonical("seer"), &hash("by SQL"), &hash("renewed")).await;
        assert_eq!(renewed, Ok(true));
        assert_eq!(f.there(1..3).await, [1, 2], "another hash of the same password ends nothing");
        f.expect_noted(before, "").await;
        // And it is so for that one statement.
        f.query("UPDATE principal SET hash = 'by SQL again' WHERE name = 'seer'").await;
        assert_eq!(f.there(1..3).await, [1]);
    }
}

#[tokio::test]
async fn a_suspension_and_a_removal_end_those_of_all_credentials() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "seer").await.unwrap();
        f.account("other").await;
        let begin = async || {
            f.query("DELETE FROM session").await;
            for (n, name) in [(1, "holder"), (2, "seer"), (3, "other")] {
                f.begin(name, n).await;
            }
        };
        begin().await;
        let _ = f.store.set_active(&canonical("holder"), false).await.unwrap();
        assert_eq!(f.there(1..4).await, [3]);
        let begun = f.try_begin(&f.principal("seer").await, 4, Entry::Web).await;
        assert_eq!(begun.map(drop), Err(AccountError::Suspended.into()));
        let _ = f.store.set_active(&canonical("holder"), true).await.unwrap();
        assert_eq!(f.there(1..5).await, [3]);
        begin().await;
        f.query("UPDATE principal SET active = 0 WHERE name = 'holder'").await;
        assert_eq!(f.there(1..4).await, [3], "by SQL");
        f.query("UPDATE principal SET active = 1").await;
        begin().await;
        let _ = f.store.remove_credential(account, Authority::Holder, &canonical("seer")).await.unwrap();
        assert_eq!(f.there(1..4).await, [1, 3]);
        let _ = f.store.remove_account(&canonical("holder")).await.unwrap();
        assert_eq!(f.there(1..4).await, [3]);
    }
}

#[tokio::test]
async fn it_begins_only_for_the_login_that_was_verified() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "seer").await.unwrap();
        let (seer, holder) = (f.principal("seer").await, f.principal("holder").await);
        let begin = async |principal: &Principal| f.try_begin(principal, 1, Entry::Web).await.map(drop);
        let by = Authority::Operator;
        let changed = f.store.edit_credential(account, by, &canonical("seer"), &edit(Some("x"), "{}")).await;
        assert!(changed.is_ok());
        assert_eq!(begin(&seer).await, Err(AccountError::LoginChanged.into()), "another password");
        let seer = f.principal("seer").await;
        let _ = f.store.remove_credential(account, by, &canonical("seer")).await.unwrap();
        f.add(account, "seer").await.unwrap();
        assert_eq!(begin(&seer).await, Err(AccountError::LoginChanged.into()), "another one of that name");
        let _ = f.store.remove_account(&canonical("holder")).await.unwrap();
        assert_eq!(begin(&holder).await, Err(AccountError::NoSuchAccount.into()));
        assert!(!f.is_there(1).await);
    }
}

#[tokio::test]
async fn the_oldest_goes_for_the_seventeenth() {
    for f in both().await {
        f.account("holder").await;
        let principal = f.principal("holder").await;
        let most = u8::try_from(MOST_SESSIONS).unwrap();
        for n in 0..most {
            let begun = f.try_begin(&principal, n, Entry::Web).await.unwrap();
            assert!(begun.ended.is_none());
        }
        let other = f.try_begin(&principal, 100, Entry::Console).await.unwrap();
        assert!(other.ended.is_none(), "each entry counts its own");
        let before = f.store.changes().await.unwrap();
        let begun = f.try_begin(&principal, most, Entry::Web).await.unwrap();
        let ended = begun.ended.expect("another one has ended");
        assert_eq!((ended.name, ended.revokes), (canonical("holder"), true));
        f.expect_noted(before, "{holder}").await;
        assert_eq!(f.there(0..most + 1).await, (1..=most).collect::<Vec<_>>());
        assert!(f.is_there(100).await);
        // Many at once leave no more.
        let logins: Vec<_> = (20..40)
            .map(|n| {
                let (store, principal) = (f.store.clone(), principal.clone());
                let new = NewSession {
                    principal,
                    entry: Entry::Web,
                    digest: digest(n),
                    source: "2001:db8::1".parse().unwrap(),
                    browser: String::new(),
                    created_at: now(),
                    idle: Duration::from_secs(60),
                    lifetime: Duration::from_secs(60),
                };
                tokio::spawn(async move { store.begin_session(new).await.map(drop) })
            })
            .collect();
        for login in logins {
            login.await.unwrap().unwrap();
        }
        let left = f.query("SELECT count(*) || '' FROM session WHERE entry = 'web'").await;
        assert_eq!(left, "16");
    }
}

#[tokio::test]
async fn what_has_run_out_is_not_listed_and_is_cleared_away_without_a_change() {
    for f in both().await {
        f.account("holder").await;
        let holder = f.principal("holder").await.id();
        for n in 1..4 {
            f.begin("holder", n).await;
        }
        let age = async |n: u8, by: i64| {
            let sql = format!(
                "UPDATE session SET used_at = used_at - {by}, idle_until = idle_until - {by} WHERE digest = '{}'",
                digest(n).to_hex()
            );
            f.query(&sql).await;
        };
        f.begin("holder", 4).await;
        age(1, IDLE + 3700).await;
        age(2, IDLE + 3500).await;
        assert_eq!(f.store.sessions(holder).await.unwrap().len(), 2);
        let before = f.store.changes().await.unwrap();
        assert_eq!(f.store.clear_sessions().await, Ok(1));
        assert_eq!(f.there(1..5).await, [2, 3, 4]);
        f.expect_noted(before, "").await;
        assert_eq!(f.store.clear_sessions().await, Ok(0));
        // One that may still be in use elsewhere, whose last use was not written, is a change.
        f.query(&format!("DELETE FROM session WHERE digest = '{}'", digest(2).to_hex())).await;
        f.expect_noted(before, "{holder}").await;
        // However long ago that was by the clock: other processes may know of a later use, or have another clock.
        age(3, 50_000).await;
        let before = f.store.changes().await.unwrap();
        f.query(&format!("DELETE FROM session WHERE digest = '{}'", digest(3).to_hex())).await;
        f.expect_noted(before, "{holder}").await;
        age(4, 50_000).await;
        f.query("UPDATE session SET ends_at = ends_at - 50000").await;
        let before = f.store.changes().await.unwrap();
        assert_eq!(f.store.end_other_sessions(holder, None).await.unwrap().value, 1);
        f.expect_noted(before, "{holder}").await;
    }
}
