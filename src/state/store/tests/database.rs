use super::*;

#[tokio::test]
async fn no_statement_reads_more_than_it_has_to() {
    let f = fixture().await;
    let mut connection = other_connection(&f).await;
    let own = [sqlite::CHANGES, sqlite::RENEWAL, sqlite::UNCOUNT, sqlite::CLEARING, sqlite::CLEARED];
    for statement in sql::ALL.into_iter().chain(own).chain([sqlite::HIGHEST_COST]) {
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
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&f.pools().writer).await.unwrap();
    let limit = |pages: i64| AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit(pages + 1)).execute(&f.pools().writer).await.unwrap();
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
    sqlx::query(limit(1_000_000)).execute(&f.pools().writer).await.unwrap();
    assert_eq!(f.add(account, refused.as_str()).await, Ok(added + 1));
}

// Case E17: each of the three files, moved away, replaced, and back again.
#[tokio::test]
async fn files_that_are_no_longer_at_their_path_are_not_read() {
    let f = fixture().await;
    f.account("holder").await;
    let (file, away) = (f.store.file().unwrap().0.to_path_buf(), f.folder.path().join("away"));
    for end in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{}{end}", file.display()));
        std::fs::rename(&path, &away).unwrap();
        for replaced in [false, true] {
            if replaced {
                std::fs::copy(&away, &path).unwrap();
            }
            let read = f.store.principal(&canonical("holder")).await.unwrap_err();
            assert!(
                matches!(&read, StoreError::Replaced(text) if text.contains("restart the gateway")),
                "{read}"
            );
            assert!(matches!(f.store.ping().await, Err(StoreError::Replaced(_))));
            let written = f.store.set_active(&canonical("holder"), false).await;
            assert!(matches!(written, Err(MutationError::Store(StoreError::Replaced(_)))));
        }
        std::fs::rename(&away, &path).unwrap();
        assert!(f.store.principal(&canonical("holder")).await.unwrap().unwrap().active, "{end}");
    }
}

// Case E13: each reason for which a database cannot be opened, in words that say what to do.
#[tokio::test]
async fn a_database_that_cannot_be_opened_says_what_to_do() {
    let reason = async |path: &Path| {
        let url = StoreUrl::Sqlite(path.to_path_buf());
        let error = Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && !text.contains("code:"), "{text}");
        text
    };
    let f = fixture().await;
    let mut other = other_connection(&f).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (4711, 'later', 1, x'00', 1)";
    sqlx::query(newer).execute(&mut other).await.unwrap();
    let text = reason(f.store.file().unwrap().0).await;
    let known = sqlite::known_schema();
    let expected = format!("made by a newer version of Gatepost (schema 4711; this one knows {known})");
    assert!(text.contains(&expected), "{text}");

    let at = |name: &str| f.folder.path().join(name);
    std::fs::write(at("text"), "not a database, and long enough to be one. ".repeat(100)).unwrap();
    assert!(reason(&at("text")).await.contains("not a SQLite database: check store.url"));
    let whole = std::fs::read(f.store.file().unwrap().0).unwrap();
    let mut damaged = whole[..100.min(whole.len())].to_vec();
    damaged.resize(8192, 0xa5);
    std::fs::write(at("damaged"), damaged).unwrap();
    let text = reason(&at("damaged")).await;
    assert!(text.contains("it is damaged") || text.contains("not a SQLite database"), "{text}");
    std::fs::create_dir(at("directory")).unwrap();
    assert!(reason(&at("directory")).await.contains("is a directory, expected a file"));
    std::fs::write(at("file"), "").unwrap();
    assert!(reason(&at("file/gatepost.db")).await.contains("not a directory"));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(at("foreign")).create_if_missing(true);
    let mut foreign = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE customers (id)").execute(&mut foreign).await.unwrap();
    assert!(reason(&at("foreign")).await.contains("a database of another program: check store.url"));
    let locked = fixture().await;
    let mut other = other_connection(&locked).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let refused = locked.store.set_active(&canonical("nobody"), false).await.unwrap_err();
    assert!(refused.to_string().contains("locked by another process: end that process"), "{refused}");
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
    for (pool, query_only) in [(&f.pools().writer, 0), (&f.pools().readers, 1)] {
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

#[tokio::test]
async fn a_read_that_hangs_is_unavailability() {
    let f = fixture().await;
    let hangs = f.pools().read(std::future::pending::<Result<(), sqlx::Error>>());
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

/// Makes the schema that of the version before the networks.
async fn make_older(f: &Fixture) {
    let older = "DROP TRIGGER principal_versioned; DROP TABLE principal_last_use; DROP INDEX principal_by_name; \
         DROP TRIGGER session_ended_by_password; DROP TRIGGER session_ended_by_suspension; DROP TABLE session; \
         ALTER TABLE change DROP COLUMN renewing; ALTER TABLE change DROP COLUMN clearing; ALTER TABLE principal DROP COLUMN version; \
         ALTER TABLE principal DROP COLUMN note; DROP TABLE principal_use; DROP TABLE secret; ALTER TABLE principal DROP COLUMN senders; \
         ALTER TABLE principal DROP COLUMN expires_at; ALTER TABLE principal DROP COLUMN networks; \
         DELETE FROM _sqlx_migrations WHERE version > 2";
    sqlx::raw_sql(older).execute(&f.pools().writer).await.unwrap();
    f.store.close().await;
}

#[tokio::test]
async fn who_only_reads_does_not_migrate() {
    let f = fixture().await;
    f.account("someone").await;
    make_older(&f).await;
    let is_older = async || Store::inspect(&f.settings).await;
    assert_eq!(is_older().await, Ok(StoreState::Older));
    let refused = Store::open_to_read(&f.settings).await.unwrap_err().to_string();
    assert!(
        refused.ends_with("made by an older version of Gatepost: it is migrated when the gateway starts"),
        "{refused}"
    );
    assert_eq!(is_older().await, Ok(StoreState::Older));
    Store::open(&f.settings).await.unwrap().close().await;
    assert_eq!(is_older().await, Ok(StoreState::Usable));
    let read = Store::open_to_read(&f.settings).await.unwrap();
    assert!(read.principal(&canonical("someone")).await.unwrap().is_some());
}
