//! The store against real files, with real faults.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _};
use tempfile::TempDir;

use super::*;
use crate::domain::{AccountError, Permission, PermissionEdit};

struct Fixture {
    store: Store,
    settings: StoreSettings,
    folder: TempDir,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        url: StoreUrl::Sqlite(folder.path().join("data/gatepost.db")),
        read_connections: 2,
        busy_timeout: Duration::from_millis(300),
    };
    Fixture { store: Store::open(&settings).await.unwrap(), settings, folder }
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn canonical(text: &str) -> Canonical {
    name(text).canonical()
}

fn hash(text: &str) -> StoredHash {
    StoredHash::new(text.into())
}

fn new(text: &str, permissions: &str) -> NewCredential {
    NewCredential {
        name: name(text),
        hash: hash("h"),
        permissions: PermissionEdit::from_json(permissions).unwrap(),
    }
}

fn edit(password: Option<&str>, permissions: &str) -> CredentialEdit {
    CredentialEdit { hash: password.map(hash), permissions: PermissionEdit::from_json(permissions).unwrap() }
}

impl Fixture {
    async fn account(&self, text: &str) -> AccountId {
        self.store.add_account(&name(text), &hash("h"), Permissions::ALL).await.unwrap().value
    }

    async fn add(&self, account: AccountId, text: &str) -> Result<u64, MutationError> {
        self.store.add_credential(account, Authority::Holder, &new(text, "{}")).await.map(|w| w.value)
    }
}

#[tokio::test]
async fn a_name_is_taken_by_either_kind_in_any_case() {
    let f = fixture().await;
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

#[tokio::test]
async fn a_number_is_never_given_out_twice() {
    let f = fixture().await;
    let account = f.account("holder").await;
    f.add(account, "one").await.unwrap();
    let first = f.store.credential(account, &canonical("one")).await.unwrap().unwrap().id;
    let _ = f.store.remove_credential(account, Authority::Holder, &canonical("one")).await.unwrap();
    f.add(account, "one").await.unwrap();
    assert!(f.store.credential(account, &canonical("one")).await.unwrap().unwrap().id > first);
}

#[tokio::test]
async fn an_account_touches_its_own_credentials_only() {
    let f = fixture().await;
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

#[tokio::test]
async fn nobody_asks_for_more_than_the_account_has() {
    let f = fixture().await;
    let account = f.account("holder").await;
    let _ = f.store.set_rights(&canonical("holder"), "email".parse().unwrap()).await.unwrap();
    let above = Err(AccountError::AboveRights(Permission::Web).into());
    let by = Authority::Operator;
    let added = f.store.add_credential(account, by, &new("cred", r#"{"web":1}"#)).await;
    assert_eq!(added.map(|w| w.value), above.clone());
    assert!(f.store.principal(&canonical("cred")).await.unwrap().is_none(), "nothing is written");
    // What is granted by leaving it out is held back at the decision.
    assert_eq!(f.add(account, "cred").await, Ok(1));
    let edited = f.store.edit_credential(account, by, &canonical("cred"), &edit(None, r#"{"web":1}"#)).await;
    assert_eq!(edited.map(|w| w.value), above);
    let found = f.store.principal(&canonical("cred")).await.unwrap().unwrap();
    assert_eq!((found.bits, found.effective().as_str()), (Permissions::ALL, "email"));
}

#[tokio::test]
async fn a_suspended_account_is_managed_by_the_operator_only() {
    let f = fixture().await;
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

#[tokio::test]
async fn a_removed_account_takes_its_credentials_along() {
    let f = fixture().await;
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

#[tokio::test]
async fn pages_go_through_all_in_order() {
    let f = fixture().await;
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

#[tokio::test]
async fn edits_at_once_end_in_one_of_their_orders() {
    let f = fixture().await;
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

#[tokio::test]
async fn a_hash_is_renewed_only_in_place_of_the_one_it_was_made_from() {
    let f = fixture().await;
    f.account("holder").await;
    let holder = canonical("holder");
    let before = f.store.changes().await.unwrap();
    assert!(f.store.renew_hash(&holder, &hash("h"), &hash("h2")).await.unwrap());
    assert!(!f.store.renew_hash(&holder, &hash("h"), &hash("h3")).await.unwrap());
    assert!(!f.store.renew_hash(&canonical("nobody"), &hash("h"), &hash("h3")).await.unwrap());
    assert_eq!(f.store.principal(&holder).await.unwrap().unwrap().hash, hash("h2"));
    assert_eq!(f.store.changes().await.unwrap(), before, "nobody has to be told");
}

#[tokio::test]
async fn every_change_counts_whoever_makes_it() {
    let f = fixture().await;
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
    for change in changes {
        assert_eq!(change.after, number);
        assert!(change.upto > number);
        number = change.upto;
    }
    f.account("holder").await;
    let mut shell = other_connection(&f).await;
    number = f.store.changes().await.unwrap();
    sqlx::query("UPDATE principal SET bits = 0").execute(&mut shell).await.unwrap();
    assert!(f.store.changes().await.unwrap() > number);
}

#[tokio::test]
async fn no_statement_reads_more_than_it_has_to() {
    let f = fixture().await;
    let mut connection = other_connection(&f).await;
    for statement in sql::ALL.into_iter().chain([sqlite::CHANGES, sqlite::UNCOUNT, sqlite::HIGHEST_COST]) {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let mut query = sqlx::query(explain);
        for _ in 0..statement.matches('$').collect::<Vec<_>>().len() {
            query = query.bind(1);
        }
        let plan = query.fetch_all(&mut connection).await.unwrap();
        let steps: BTreeSet<String> = plan.iter().map(|row| row.get("detail")).collect();
        for step in &steps {
            assert!(!step.contains("SCAN") || step == "SCAN CONSTANT ROW", "{statement}: {steps:?}");
            assert!(!step.contains("TEMP B-TREE"), "{statement}: {steps:?}");
        }
    }
}

#[tokio::test]
async fn a_lock_of_another_process_is_unavailability_and_reading_goes_on() {
    let f = fixture().await;
    let account = f.account("holder").await;
    let mut other = other_connection(&f).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let began = Instant::now();
    let added = f.add(account, "cred").await;
    assert!(matches!(added, Err(MutationError::Store(StoreError::Unavailable(_)))), "{added:?}");
    assert!(began.elapsed() < f.settings.busy_timeout + Duration::from_secs(2));
    assert!(f.store.principal(&canonical("holder")).await.unwrap().is_some());
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(f.add(account, "cred").await, Ok(1));
}

#[tokio::test]
async fn a_full_database_refuses_and_recovers() {
    let f = fixture().await;
    let account = f.account("holder").await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&f.store.pools.writer).await.unwrap();
    let limit = |pages: i64| AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit(pages + 1)).execute(&f.store.pools.writer).await.unwrap();
    let mut added = 0;
    let refused = loop {
        match f.add(account, &format!("cred{added}")).await {
            Ok(count) => {
                added += 1;
                assert_eq!(count, added);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, MutationError::Store(StoreError::Unavailable(_))), "{refused:?}");
    assert!(refused.to_string().contains("full"), "{refused}");
    let holder = f.store.account(&canonical("holder")).await.unwrap().unwrap();
    assert_eq!(holder.credentials, added, "the refused one is not counted");
    let refused = canonical(&format!("cred{added}"));
    assert!(f.store.principal(&refused).await.unwrap().is_none());
    sqlx::query(limit(1_000_000)).execute(&f.store.pools.writer).await.unwrap();
    assert_eq!(f.add(account, refused.as_str()).await, Ok(added + 1));
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gatepost.db");
    std::fs::write(&path, [b'x'; 8192]).unwrap();
    let settings = StoreSettings { url: StoreUrl::Sqlite(path), ..StoreSettings::default() };
    let opened = Store::open(&settings).await;
    assert!(matches!(opened, Err(StoreError::Open { .. })));
}

#[tokio::test]
async fn it_opens_again_and_by_many_at_once() {
    let f = fixture().await;
    f.account("holder").await;
    f.store.close().await;
    assert!(f.store.principal(&canonical("holder")).await.is_err());
    let fresh = StoreSettings {
        url: StoreUrl::Sqlite(f.folder.path().join("fresh/gatepost.db")),
        busy_timeout: Duration::from_secs(5),
        ..f.settings.clone()
    };
    for settings in [f.settings.clone(), fresh] {
        let openers: Vec<_> = (0..4)
            .map(|_| {
                let settings = settings.clone();
                tokio::spawn(async move { Store::open(&settings).await.unwrap() })
            })
            .collect();
        for opener in openers {
            opener.await.unwrap().ping().await.unwrap();
        }
    }
    let store = Store::open(&f.settings).await.unwrap();
    assert!(store.principal(&canonical("holder")).await.unwrap().is_some());
}

#[tokio::test]
async fn every_connection_keeps_the_promises() {
    let f = fixture().await;
    for (pool, query_only) in [(&f.store.pools.writer, 0), (&f.store.pools.readers, 1)] {
        let mut connections = Vec::new();
        for _ in 0..pool.options().get_max_connections() {
            connections.push(pool.acquire().await.unwrap());
        }
        for connection in &mut connections {
            let journal: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection).await.unwrap();
            assert_eq!(journal, "wal");
            for (pragma, expected) in
                [("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 300), ("query_only", query_only)]
            {
                let query = AssertSqlSafe(format!("PRAGMA {pragma}"));
                let value: i64 = sqlx::query_scalar(query).fetch_one(&mut **connection).await.unwrap();
                assert_eq!(value, expected, "{pragma}");
            }
        }
    }
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let f = fixture().await;
    f.account("holder").await;
    for entry in std::fs::read_dir(f.folder.path().join("data")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

async fn other_connection(f: &Fixture) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(f.store.path());
    let mut connection = options.connect().await.unwrap();
    connection.ping().await.unwrap();
    connection
}

#[tokio::test]
async fn the_highest_cost_is_that_of_hashes_that_can_be_one() {
    let f = fixture().await;
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

#[tokio::test]
async fn a_read_that_hangs_is_unavailability() {
    let f = fixture().await;
    let hangs = f.store.pools.read(std::future::pending::<Result<(), sqlx::Error>>());
    assert!(matches!(hangs.await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn only_who_may_make_a_store_makes_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/gatepost.db");
    let settings = StoreSettings { url: StoreUrl::Sqlite(file.clone()), ..StoreSettings::default() };
    assert!(matches!(Store::open_existing(&settings).await, Err(StoreError::Open { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let made = Store::open(&settings).await.unwrap();
    assert!(made.is_new());
    assert!(!Store::open_existing(&settings).await.unwrap().is_new());
}
