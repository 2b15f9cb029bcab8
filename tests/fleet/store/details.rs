//! Notes, versions, last uses and removals of several credentials.

use super::*;
use gatepost::domain::{
    ChangeCondition, CredentialDetails, CredentialId, CredentialVersion, Entry, LatestUse, Note, PrincipalId,
};
use gatepost::state::store::PrincipalUse;

fn note(text: &str) -> Option<Note> {
    Note::parse(text).unwrap()
}

fn noted(text: &str) -> CredentialEdit {
    CredentialEdit { note: Some(note(text)), ..CredentialEdit::default() }
}

impl Fixture {
    async fn details(&self, account: AccountId, text: &str) -> CredentialDetails {
        self.store.credential_by_name(account, &canonical(text)).await.unwrap().unwrap()
    }

    async fn edit(&self, account: AccountId, text: &str, edit: &CredentialEdit) -> Result<(), MutationError> {
        self.store.edit_credential(account, Authority::Holder, &canonical(text), edit).await.map(drop)
    }
}

#[tokio::test]
async fn a_note_is_kept_and_is_no_change_to_decisions() {
    for f in both().await {
        let account = f.account("holder").await;
        let new = NewCredential { note: note("of the shop"), ..new("cred", "{}") };
        let _ = f.store.add_credential(account, Authority::Holder, &new).await.unwrap();
        assert_eq!(f.details(account, "CRED").await.note, note("of the shop"));
        let before = f.store.changes().await.unwrap();
        for text in ["of \"another\" <b>shop</b> äöü 🦀", "", "again"] {
            let cred = canonical("cred");
            let written =
                f.store.edit_credential(account, Authority::Holder, &cred, &noted(text)).await.unwrap();
            assert!(!written.change.revokes && !written.change.ends_login);
            assert_eq!((written.value, f.details(account, "cred").await.note), (1, note(text)));
        }
        assert_eq!(f.store.changes().await.unwrap(), before, "nobody has to be told");
        // Together with another edit, it is one.
        let both = CredentialEdit { permissions: edit(None, r#"{"web":0}"#).permissions, ..noted("both") };
        f.edit(account, "cred", &both).await.unwrap();
        assert!(f.store.changes().await.unwrap() > before);
        let found = f.details(account, "cred").await;
        assert_eq!((found.note, found.credential.stored.as_str()), (note("both"), "email,api"));
        // An edit of something else leaves it as it is.
        f.edit(account, "cred", &edit(Some("x"), "{}")).await.unwrap();
        assert_eq!(f.details(account, "cred").await.note, note("both"));
        assert_eq!(f.edit(account, "nobody", &noted("x")).await, Err(AccountError::NoSuchCredential.into()));
        let other = f.account("other").await;
        assert_eq!(f.edit(other, "cred", &noted("x")).await, Err(AccountError::NoSuchCredential.into()));
        // What another tool wrote and breaks the rules is not shown.
        f.query(
            "UPDATE principal SET note = 'a' || chr(10) || 'b' WHERE name = 'cred'"
                .replace("chr", f.chr())
                .as_str(),
        )
        .await;
        assert_eq!(f.details(account, "cred").await.note, None);
    }
}

impl Fixture {
    fn chr(&self) -> &'static str {
        match self.place {
            Place::File(_) => "char",
            Place::Server(_) => "chr",
        }
    }
}

#[tokio::test]
async fn each_change_of_a_row_is_a_version_whoever_makes_it() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "cred").await.unwrap();
        f.add(account, "other").await.unwrap();
        let mut last = f.details(account, "cred").await.version;
        let mut is_newer = async || {
            let now = f.details(account, "cred").await.version;
            let is_newer = now > last;
            last = now;
            is_newer
        };
        for edit in [noted("x"), noted("x"), edit(None, "{}"), edit(Some("y"), "{}")] {
            f.edit(account, "cred", &edit).await.unwrap();
            assert!(is_newer().await, "{edit:?}");
        }
        for sql in ["UPDATE principal SET bits = 0 WHERE name = 'cred'", "UPDATE principal SET note = 'z'"] {
            f.query(sql).await;
            assert!(is_newer().await, "{sql}");
        }
        f.edit(account, "other", &noted("x")).await.unwrap();
        let id = f.details(account, "cred").await.credential.id;
        let used = PrincipalUse::now(PrincipalId(id.0), [192, 0, 2, 1].into(), Entry::Api);
        f.store.write_last_uses(&[used]).await.unwrap();
        assert!(!is_newer().await, "of another credential, and a use");
    }
}

#[tokio::test]
async fn a_condition_is_checked_with_the_change() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "cred").await.unwrap();
        let (seen, cred) = (f.details(account, "cred").await, canonical("cred"));
        let condition = ChangeCondition { id: Some(seen.credential.id), version: Some(seen.version) };
        let failed = Err(AccountError::ConditionFailed.into());
        let wrong = [
            ChangeCondition { version: Some(CredentialVersion(seen.version.0 + 1)), ..condition },
            ChangeCondition { id: Some(CredentialId(seen.credential.id.0 + 1)), version: None },
        ];
        for condition in wrong {
            let edited = CredentialEdit { condition, ..noted("x") };
            assert_eq!(f.edit(account, "cred", &edited).await, failed);
            let by = Authority::Holder;
            let removed = f.store.remove_credential_if(account, by, &cred, condition).await.map(drop);
            assert_eq!(removed, failed);
        }
        let unchanged = f.details(account, "cred").await;
        assert_eq!((unchanged.version, unchanged.note), (seen.version, None), "nothing was written");
        // Of many edits that have seen the same version, one is made.
        let edits: Vec<_> = (0..12)
            .map(|n| {
                let (store, edit) =
                    (f.store.clone(), CredentialEdit { condition, ..noted(&format!("n{n}")) });
                tokio::spawn(async move {
                    store.edit_credential(account, Authority::Holder, &cred, &edit).await.map(drop)
                })
            })
            .collect();
        let mut made = 0;
        for edit in edits {
            match edit.await.unwrap() {
                Ok(()) => made += 1,
                refused => assert_eq!(refused, failed),
            }
        }
        assert_eq!(made, 1);
        // Another credential that was given the name later is not the one that is meant.
        let _ = f.store.remove_credential(account, Authority::Holder, &cred).await.unwrap();
        let meant = ChangeCondition { id: condition.id, version: None };
        let edited = CredentialEdit { condition: meant, ..noted("x") };
        assert_eq!(f.edit(account, "cred", &edited).await, Err(AccountError::NoSuchCredential.into()));
        f.add(account, "cred").await.unwrap();
        assert_eq!(f.edit(account, "cred", &edited).await, failed);
    }
}

#[tokio::test]
async fn a_credential_is_found_by_its_number_in_its_account_only() {
    for f in both().await {
        let (account, other) = (f.account("holder").await, f.account("other").await);
        f.add(account, "Cred").await.unwrap();
        let id = f.details(account, "cred").await.credential.id;
        let found = f.store.credential_by_id(account, id).await.unwrap().unwrap();
        assert_eq!((found.credential.name.as_str(), found.last_use), ("Cred", None));
        for (account, id) in
            [(other, id), (account, CredentialId(id.0 + 1)), (account, CredentialId(account.0))]
        {
            assert!(f.store.credential_by_id(account, id).await.unwrap().is_none());
        }
        let _ = f.store.set_active(&canonical("holder"), false).await.unwrap();
        let suspended = f.store.credential_by_id(account, id).await.unwrap().unwrap().credential;
        assert_eq!((suspended.active, suspended.effective), (false, Permissions::NONE));
    }
}

#[tokio::test]
async fn the_last_use_stays_for_longer_than_its_network_and_counts_as_no_change() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "cred").await.unwrap();
        let id = f.details(account, "cred").await.credential.id;
        let before = f.store.changes().await.unwrap();
        let at = |address: [u8; 4], used_at| {
            let used = PrincipalUse::now(PrincipalId(id.0), address.into(), Entry::Smtp);
            PrincipalUse { used_at, ..used }
        };
        let (old, newer) = (now() - 200 * 24 * 60 * 60, now() - 100 * 24 * 60 * 60);
        f.store.write_last_uses(&[at([192, 0, 2, 2], newer)]).await.unwrap();
        // Another node writes later what is earlier.
        f.store.write_last_uses(&[at([192, 0, 2, 1], old)]).await.unwrap();
        f.store.write_uses(&[]).await.unwrap();
        let expected =
            LatestUse { used_at: newer, entry: Some(Entry::Smtp), address: Some([192, 0, 2, 2].into()) };
        assert_eq!(f.details(account, "cred").await.last_use, Some(expected));
        assert_eq!(f.store.changes().await.unwrap(), before);
        // An entry of a later version, and an address that is none.
        f.query("UPDATE principal_last_use SET entry = 'sasl', address = 'x'").await;
        let unknown = LatestUse { entry: None, address: None, ..expected };
        assert_eq!(f.details(account, "cred").await.last_use, Some(unknown));
        // It goes with its credential, and whoever is removed meanwhile is skipped.
        let _ = f.store.remove_credential(account, Authority::Holder, &canonical("cred")).await.unwrap();
        f.store.write_last_uses(&[at([192, 0, 2, 2], now())]).await.unwrap();
        assert_eq!(f.query("SELECT count(*) FROM principal_last_use").await, "0");
    }
}

#[tokio::test]
async fn several_are_removed_in_one_change_of_their_account() {
    for f in both().await {
        let (account, other) = (f.account("Holder").await, f.account("other").await);
        for text in ["one", "two", "three"] {
            f.add(account, text).await.unwrap();
        }
        f.add(other, "foreign").await.unwrap();
        let names =
            ["ONE", "nobody", "three", "foreign", "holder", "one"].map(|name| (canonical(name), None));
        let by = Authority::Holder;
        let removed = f.store.remove_credentials(account, by, &names).await.unwrap();
        assert_eq!(removed.value, [true, false, true, false, false, false]);
        let change = removed.change;
        assert_eq!((change.name, change.revokes, change.ends_login), (canonical("holder"), true, false));
        if let ChangePosition::Counted { after, upto } = change.position {
            assert_eq!(upto - after, 2);
        }
        let holder = f.store.account(&canonical("holder")).await.unwrap().unwrap();
        assert_eq!(holder.credentials, 1);
        assert!(f.store.principal(&canonical("two")).await.unwrap().is_some());
        assert!(f.store.principal(&canonical("foreign")).await.unwrap().is_some());
        let another = [(canonical("two"), Some(CredentialId(999_999)))];
        assert_eq!(f.store.remove_credentials(account, by, &another).await.unwrap().value, [false]);
        let _ = f.store.set_active(&canonical("holder"), false).await.unwrap();
        let refused = f.store.remove_credentials(account, by, &[(canonical("two"), None)]).await.map(drop);
        assert_eq!(refused, Err(AccountError::Suspended.into()));
        assert!(f.store.principal(&canonical("two")).await.unwrap().is_some(), "nothing was removed");
    }
}
