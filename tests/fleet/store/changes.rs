//! Changes, and what is read after them.

use super::*;

#[tokio::test]
async fn a_name_is_taken_by_either_kind_in_any_case() {
    for f in both().await {
        let one = f.account("First.Holder").await;
        let two = f.account("second").await;
        assert_eq!(f.add(one, "John@Example").await, Ok(1));
        for taken in ["john@example", "JOHN@EXAMPLE", "first.holder", "SECOND"] {
            assert_eq!(f.add(one, taken).await, Err(AccountError::NameTaken.into()), "{taken}");
            assert_eq!(f.add(two, taken).await, Err(AccountError::NameTaken.into()), "{taken}");
            let account = f.store.add_account(&name(taken), &hash("h"), Permissions::ALL).await;
            assert_eq!(account.map(|w| w.value), Err(AccountError::NameTaken.into()), "{taken}");
        }
        let found = f.store.principal(&canonical("JOHN@example")).await.unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.account_name.as_str()), ("John@Example", "First.Holder"));
        assert!(matches!(found.kind, PrincipalKind::Credential(_)));
        assert_eq!(f.store.account(&canonical("second")).await.unwrap().unwrap().credentials, 0);
    }
}

#[tokio::test]
async fn a_number_is_never_given_out_twice() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "one").await.unwrap();
        let first = f.store.credential(account, &canonical("one")).await.unwrap().unwrap().id;
        let _ = f.store.remove_credential(account, Authority::Holder, &canonical("one")).await.unwrap();
        f.add(account, "one").await.unwrap();
        assert!(f.store.credential(account, &canonical("one")).await.unwrap().unwrap().id > first);
    }
}

#[tokio::test]
async fn an_account_touches_its_own_credentials_only() {
    for f in both().await {
        let (one, two) = (f.account("holder.one").await, f.account("holder.two").await);
        f.add(one, "cred").await.unwrap();
        let by = Authority::Operator;
        for target in ["cred", "holder.one", "holder.two", "nobody"] {
            let target = canonical(target);
            let edited = f.store.edit_credential(two, by, &target, &edit(Some("x"), "{}")).await;
            assert_eq!(edited.map(|w| w.value), Err(AccountError::NoSuchCredential.into()));
            let removed = f.store.remove_credential(two, by, &target).await;
            assert_eq!(removed.map(|w| w.value), Err(AccountError::NoSuchCredential.into()));
            assert!(f.store.credential(two, &target).await.unwrap().is_none());
        }
        assert!(f.store.credentials(two, None, 10).await.unwrap().is_empty());
        // A credential is no account either.
        let id = f.store.credential(one, &canonical("cred")).await.unwrap().unwrap().id;
        assert_eq!(f.add(AccountId(id.0), "other").await, Err(AccountError::NoSuchAccount.into()));
        let set = f.store.set_active(&canonical("cred"), false).await;
        assert_eq!(set.map(|w| w.value), Err(AccountError::NoSuchAccount.into()));
    }
}

#[tokio::test]
async fn nobody_asks_for_more_than_the_account_has() {
    for f in both().await {
        let account = f.account("holder").await;
        let _ = f.store.set_rights(&canonical("holder"), "email".parse().unwrap()).await.unwrap();
        let above = Err(AccountError::AboveRights(Permission::Web).into());
        let by = Authority::Operator;
        let added = f.store.add_credential(account, by, &new("cred", r#"{"web":1}"#)).await;
        assert_eq!(added.map(|w| w.value), above.clone());
        assert!(f.store.principal(&canonical("cred")).await.unwrap().is_none(), "nothing is written");
        // What is granted by leaving it out is held back at the decision.
        assert_eq!(f.add(account, "cred").await, Ok(1));
        let edited =
            f.store.edit_credential(account, by, &canonical("cred"), &edit(None, r#"{"web":1}"#)).await;
        assert_eq!(edited.map(|w| w.value), above);
        let found = f.store.principal(&canonical("cred")).await.unwrap().unwrap();
        assert_eq!((found.bits, found.effective().as_str()), (Permissions::ALL, "email"));
    }
}

#[tokio::test]
async fn a_suspended_account_is_managed_by_the_operator_only() {
    for f in both().await {
        let account = f.account("holder").await;
        f.add(account, "cred").await.unwrap();
        let _ = f.store.set_active(&canonical("holder"), false).await.unwrap();
        let found = f.store.principal(&canonical("cred")).await.unwrap().unwrap();
        assert_eq!((found.active, found.effective()), (false, Permissions::NONE));
        assert_eq!(f.add(account, "more").await, Err(AccountError::Suspended.into()));
        let cred = canonical("cred");
        let edited = f.store.edit_credential(account, Authority::Holder, &cred, &edit(None, "{}")).await;
        assert_eq!(edited.map(|w| w.value), Err(AccountError::Suspended.into()));
        let removed = f.store.remove_credential(account, Authority::Holder, &cred).await;
        assert_eq!(removed.map(|w| w.value), Err(AccountError::Suspended.into()));
        let removed = f.store.remove_credential(account, Authority::Operator, &cred).await;
        assert_eq!(removed.unwrap().value, 0);
    }
}

#[tokio::test]
async fn a_removed_account_takes_its_credentials_along() {
    for f in both().await {
        let account = f.account("holder").await;
        for i in 0..10 {
            f.add(account, &format!("cred{i}")).await.unwrap();
        }
        assert_eq!(f.store.account(&canonical("holder")).await.unwrap().unwrap().credentials, 10);
        let removed = f.store.remove_account(&canonical("HOLDER")).await.unwrap();
        assert_eq!(removed.change.name, canonical("holder"));
        assert!(f.store.principal(&canonical("cred3")).await.unwrap().is_none());
        assert_eq!(f.add(account, "cred3").await, Err(AccountError::NoSuchAccount.into()));
        let again = f.account("holder").await;
        assert!(again > account);
        assert_eq!(f.add(again, "cred3").await, Ok(1));
    }
}

#[tokio::test]
async fn pages_go_through_all_in_order() {
    for f in both().await {
        let (account, other) = (f.account("holder").await, f.account("other").await);
        for i in 0..7 {
            f.add(account, &format!("cred{i}")).await.unwrap();
            f.add(other, &format!("other{i}")).await.unwrap();
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = f.store.credentials(account, after, 3).await.unwrap();
            assert!(page.len() <= 3);
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            seen.extend(page.into_iter().map(|c| c.name.to_string()));
        }
        assert_eq!(seen, (0..7).map(|i| format!("cred{i}")).collect::<Vec<_>>());
        let accounts = f.store.accounts(None, 1).await.unwrap();
        assert_eq!(accounts[0].name.as_str(), "holder");
        let accounts = f.store.accounts(Some(accounts[0].id), 5).await.unwrap();
        assert_eq!(accounts.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["other"]);
    }
}

#[tokio::test]
async fn edits_at_once_end_in_one_of_their_orders() {
    for f in both().await {
        let account = f.account("holder").await;
        let whole = [("p0", r#"{"email":1,"api":0,"web":0}"#), ("p1", r#"{"email":0,"api":1,"web":1}"#)];
        for round in 0..40 {
            let cred = format!("cred{round}");
            f.add(account, &cred).await.unwrap();
            let cred = canonical(&cred);
            let edits = [
                edit(Some(whole[0].0), whole[0].1),
                edit(Some(whole[1].0), whole[1].1),
                edit(None, r#"{"email":0}"#),
            ];
            let tasks = edits.map(|edit| {
                let store = f.store.clone();
                tokio::spawn(async move {
                    let _ = store.edit_credential(account, Authority::Holder, &cred, &edit).await.unwrap();
                })
            });
            for task in tasks {
                task.await.unwrap();
            }
            let found = f.store.principal(&cred).await.unwrap().unwrap();
            let state = (found.hash.expose().to_owned(), found.bits.as_str());
            // The third edit takes email away from p0 where it comes after it, and nothing from p1 wherever it comes.
            let orders = [("p0", "email"), ("p0", "none"), ("p1", "api,web")];
            assert!(orders.contains(&(state.0.as_str(), state.1)), "{state:?}");
        }
    }
}

#[tokio::test]
async fn a_hash_is_renewed_only_in_place_of_the_one_it_was_made_from() {
    for f in both().await {
        f.account("holder").await;
        let holder = canonical("holder");
        let before = f.store.changes().await.unwrap();
        assert!(f.store.renew_hash(&holder, &hash("h"), &hash("h2")).await.unwrap());
        assert!(!f.store.renew_hash(&holder, &hash("h"), &hash("h3")).await.unwrap());
        assert!(!f.store.renew_hash(&canonical("nobody"), &hash("h"), &hash("h3")).await.unwrap());
        assert_eq!(f.store.principal(&holder).await.unwrap().unwrap().hash, hash("h2"));
        assert_eq!(f.store.changes().await.unwrap(), before, "nobody has to be told");
    }
}

#[tokio::test]
async fn every_change_counts_whoever_makes_it() {
    for f in both().await {
        let account = f.account("holder").await;
        let mut number = f.store.changes().await.unwrap();
        let by = Authority::Holder;
        let (holder, cred) = (canonical("holder"), canonical("cred"));
        let changes = [
            f.store.add_credential(account, by, &new("cred", "{}")).await.unwrap().change,
            f.store.edit_credential(account, by, &cred, &edit(None, "{}")).await.unwrap().change,
            f.store.set_active(&holder, false).await.unwrap().change,
            f.store.set_active(&holder, true).await.unwrap().change,
            f.store.set_rights(&holder, Permissions::NONE).await.unwrap().change,
            f.store.set_password(&holder, &hash("h2")).await.unwrap().change,
            f.store.remove_account(&holder).await.unwrap().change,
        ];
        let first = number;
        for change in changes {
            match change.position {
                ChangePosition::Counted { after, upto } => {
                    assert_eq!(after, number);
                    assert!(upto > number);
                    number = upto;
                }
                // The edit that changes nothing has the number of the last change.
                ChangePosition::Logged { number: logged, .. } => {
                    let logged = i64::try_from(logged).unwrap();
                    assert!((number..=number + 1).contains(&logged), "{change:?} after {number}");
                    number = logged;
                }
            }
            assert!(f.store.changes().await.unwrap() >= number);
        }
        assert!(number >= first + 6);
        f.account("holder").await;
        number = f.store.changes().await.unwrap();
        f.query("UPDATE principal SET bits = 0").await;
        assert!(f.store.changes().await.unwrap() > number);
    }
}

#[tokio::test]
async fn the_highest_cost_is_that_of_hashes_that_can_be_one() {
    for f in both().await {
        assert_eq!(f.store.highest_cost(17).await, Ok(0), "of nobody");
        let tail = "x".repeat(53);
        for (holder, stored, highest) in [
            ("one", format!("$2b$08${tail}"), 8),
            ("two", format!("$gp-sha256$2b$11${tail}"), 11),
            ("three", format!("$2y$10${tail}"), 11),
            ("four", format!("$2b$31${tail}"), 11),
            ("five", "damaged".to_owned(), 11),
        ] {
            let added = f.store.add_account(&name(holder), &StoredHash::new(stored), Permissions::ALL).await;
            assert!(added.is_ok());
            assert_eq!(f.store.highest_cost(17).await, Ok(highest), "{holder}");
        }
    }
}

// A grant is never waited for, and what may take something away always is.
#[tokio::test]
async fn a_change_says_if_it_may_take_something_away() {
    for f in both().await {
        let account = f.account("holder").await;
        let (holder, cred, by) = (canonical("holder"), canonical("cred"), Authority::Operator);
        let edited = async |edit: CredentialEdit| {
            f.store.edit_credential(account, by, &cred, &edit).await.unwrap().change
        };
        let only_email: Permissions = "email".parse().unwrap();
        let changes = [
            (f.store.add_credential(account, by, &new("cred", "{}")).await.unwrap().change, false, false),
            (edited(edit(None, "{}")).await, false, false),
            (edited(edit(None, r#"{"email":1,"api":1}"#)).await, false, false),
            (edited(edit(None, r#"{"email":1,"api":0}"#)).await, true, false),
            (edited(edit(None, r#"{"api":0}"#)).await, true, false),
            (edited(edit(Some("p"), "{}")).await, true, true),
            (f.store.set_active(&holder, false).await.unwrap().change, true, false),
            (f.store.set_active(&holder, true).await.unwrap().change, false, false),
            (f.store.set_rights(&holder, only_email).await.unwrap().change, true, false),
            // Perhaps the first call was answered with an error.
            (f.store.set_rights(&holder, only_email).await.unwrap().change, true, false),
            (f.store.set_rights(&holder, Permissions::ALL).await.unwrap().change, false, false),
            (f.store.set_password(&holder, &hash("h2")).await.unwrap().change, true, true),
            (f.store.remove_credential(account, by, &cred).await.unwrap().change, true, true),
            (f.store.remove_account(&holder).await.unwrap().change, true, true),
        ];
        for (nth, (change, revokes, ends_login)) in changes.into_iter().enumerate() {
            assert_eq!((change.revokes, change.ends_login), (revokes, ends_login), "change {nth}");
        }
    }
}

// Counts and ceilings stay right whichever process makes a change.
#[tokio::test]
async fn two_processes_change_one_account_at_once() {
    for f in both().await {
        let account = f.account("holder").await;
        let other = Store::open(&f.settings).await.unwrap();
        let stores = [f.store.clone(), other];
        let adders: Vec<_> = (0..20)
            .map(|n| {
                let store = stores[n % 2].clone();
                tokio::spawn(async move {
                    store.add_credential(account, Authority::Holder, &new(&format!("cred{n}"), "{}")).await
                })
            })
            .collect();
        let mut counts = Vec::new();
        for adder in adders {
            counts.push(adder.await.unwrap().unwrap().value);
        }
        counts.sort_unstable();
        assert_eq!(counts, (1..=20).collect::<Vec<_>>());
        assert_eq!(f.store.account(&canonical("holder")).await.unwrap().unwrap().credentials, 20);
        // Only one of those that ask for the same name gets it.
        let askers: Vec<_> = (0..8)
            .map(|n| {
                let store = stores[n % 2].clone();
                tokio::spawn(async move {
                    store.add_credential(account, Authority::Holder, &new("same", "{}")).await
                })
            })
            .collect();
        let mut taken = 0;
        for asker in askers {
            match asker.await.unwrap() {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error, AccountError::NameTaken.into());
                    taken += 1;
                }
            }
        }
        assert_eq!(taken, 7);
        assert_eq!(f.store.account(&canonical("holder")).await.unwrap().unwrap().credentials, 21);
    }
}
