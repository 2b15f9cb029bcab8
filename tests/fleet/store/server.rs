//! The store and its server: which ones are refused, how they are reached, and what is said when they are not.

use std::time::Instant;

use gatepost::config::StoreUrl;
use gatepost::domain::fleet::Era;
use gatepost::domain::{Entry, PageDirection, PrincipalId, UseState};
use gatepost::state::store::{CredentialFilter, NameRange, PrincipalUse, StoreError, StoreState};
use sha2::{Digest, Sha384};

use super::*;
use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::{Stop, give_to_user};
use crate::common::psql::Session;
use crate::common::tls::Authority as CertificateAuthority;

/// A store in PostgreSQL with one account, `holder`.
pub async fn in_server() -> Fixture {
    let [_, f] = both().await;
    f.account("holder").await;
    f
}

/// The database of a store in PostgreSQL.
pub fn database(f: &Fixture) -> &PostgresDatabase<'static> {
    let Place::Server(database) = &f.place else { unreachable!("it is a server") };
    database
}

async fn refusal(settings: &StoreSettings) -> String {
    Store::open_existing(settings).await.map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn a_server_that_could_lose_what_it_committed_is_refused() {
    let server = PostgresServer::start(&[("fsync", "off")]);
    let settings = postgres_settings(&server.url("postgres"));
    let text = Store::open(&settings).await.unwrap_err().to_string();
    assert!(text.contains("set fsync = on in postgresql.conf and restart the server"), "{text}");
    assert!(Store::inspect(&settings).await.unwrap_err().contains("fsync"));
}

#[tokio::test]
async fn a_neighbouring_version_runs_beside_and_a_much_older_one_does_not() {
    let f = in_server().await;
    f.query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (4711, 'later', true, 'x', 1)",
    )
    .await;
    let beside = Store::open(&f.settings).await.unwrap();
    assert!(beside.principal(&canonical("holder")).await.unwrap().is_some() && !beside.is_new());
    f.query("UPDATE oldest_schema SET number = 4711").await;
    let text = Store::open(&f.settings).await.unwrap_err().to_string();
    assert!(text.contains("made by a newer version of Gatepost (schema 4711;"), "{text}");
}

/// A database as the first version has left it, with the account `holder`.
fn of_the_first_version() -> PostgresDatabase<'static> {
    let database = PostgresServer::shared().database();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/state/store/postgres/migrations");
    let text = std::fs::read_to_string(format!("{folder}/0001_principal.sql")).unwrap();
    let checksum: String = Sha384::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    database.psql(&format!(
        "BEGIN;\n{text}\nINSERT INTO principal (name, hash, bits, created_at, updated_at) VALUES ('holder', 'h', 7, 0, 0);\n\
         CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, \
         execution_time BIGINT NOT NULL);\n\
         INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (1, 'principal', true, '\\x{checksum}', 1);\nCOMMIT;"
    ));
    database
}

#[tokio::test]
async fn a_command_that_reads_does_not_migrate() {
    let database = of_the_first_version();
    let settings = postgres_settings(&database.url());
    assert_eq!(Store::inspect(&settings).await, Ok(StoreState::Older));
    let text = Store::open_to_read(&settings).await.map(drop).unwrap_err().to_string();
    assert!(text.ends_with("it is migrated when the gateway starts"), "{text}");
    assert_eq!(Store::inspect(&settings).await, Ok(StoreState::Older));
    Store::open(&settings).await.unwrap().close().await;
    assert_eq!(Store::inspect(&settings).await, Ok(StoreState::Usable));
    let read = Store::open_to_read(&settings).await.unwrap();
    assert!(read.principal(&canonical("holder")).await.unwrap().is_some());
}

#[tokio::test]
async fn an_empty_database_is_filled_by_those_that_may_and_by_many_at_once() {
    let database = PostgresServer::shared().database();
    let settings = postgres_settings(&database.url());
    assert!(refusal(&settings).await.contains("no tables of Gatepost yet"));
    assert_eq!(database.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    let openers: Vec<_> = (0..4)
        .map(|_| {
            let settings = settings.clone();
            tokio::spawn(async move { Store::open(&settings).await.unwrap() })
        })
        .collect();
    for opener in openers {
        opener.await.unwrap().ping().await.unwrap();
    }
    let foreign = PostgresServer::shared().database();
    foreign.psql("CREATE TABLE principal (id BIGINT)");
    let text = Store::open(&postgres_settings(&foreign.url())).await.unwrap_err().to_string();
    assert!(text.contains("a database of another program"), "{text}");
}

#[tokio::test]
async fn the_primary_is_found_among_several_hosts() {
    let primary = PostgresServer::start(&[]);
    let standby = PostgresServer::standby_of(&primary, "other", &[]);
    let hosts = format!("{},{}", standby.address(), primary.address());
    let settings = postgres_settings(&format!("postgres://postgres@{hosts}/postgres"));
    let store = Store::open(&settings).await.unwrap();
    store.add_account(&name("holder"), &hash("h"), Permissions::ALL).await.map(drop).unwrap();
    let only_standby = postgres_settings(&standby.url("postgres"));
    let text = refusal(&only_standby).await;
    assert!(text.contains("it is in recovery, not the primary"), "{text}");
    // A gateway starts nevertheless, and never decides on it.
    let store = Store::open(&only_standby).await.unwrap();
    assert!(matches!(store.principal(&canonical("holder")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(Store::inspect(&only_standby).await, Ok(StoreState::Unreachable(_))));
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again_at_once() {
    let server = PostgresServer::start(&[]);
    let store = Store::open(&postgres_settings(&server.url("postgres"))).await.unwrap();
    let add = async |text: &str| {
        store
            .add_account(&name(text), &hash("h"), Permissions::ALL)
            .await
            .map(|written| written.change.position)
    };
    let Ok(ChangePosition::Logged { number, era, .. }) = add("one").await else {
        panic!("no place in the log")
    };
    for stop in [Stop::Fast, Stop::Immediate] {
        // Each of them leaves a connection behind, and each of those is lost.
        let reads = [(); 4].map(|()| {
            let store = store.clone();
            tokio::spawn(async move { store.principal(&canonical("one")).await })
        });
        for read in reads {
            assert!(read.await.unwrap().unwrap().is_some());
        }
        server.stop(stop);
        if stop == Stop::Immediate {
            let read = store.principal(&canonical("one")).await;
            assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
            assert!(matches!(add("two").await, Err(MutationError::Store(StoreError::Unavailable(_)))));
        }
        server.start_again();
        // As the node does that has joined again.
        let era = server.psql("postgres", "SELECT gatepost_era()").parse().unwrap();
        store.read_minimum().publish(number, era);
        assert!(store.principal(&canonical("one")).await.unwrap().is_some());
    }
    let Ok(ChangePosition::Logged { number: next, era: later, .. }) = add("two").await else {
        panic!("no place")
    };
    assert!(next > number && later.started_at > era.started_at, "{era} {later}");
    assert_eq!(later.to_string(), server.psql("postgres", "SELECT gatepost_era()"));
}

#[tokio::test]
async fn a_state_older_than_what_is_known_is_unavailability() {
    let f = in_server().await;
    let era: Era = f.query("SELECT gatepost_era()").await.parse().unwrap();
    let number = u64::try_from(f.store.changes().await.unwrap()).unwrap();
    let (holder, minimum) = (canonical("holder"), f.store.read_minimum());
    minimum.publish(number, era);
    assert!(f.store.principal(&holder).await.unwrap().is_some());
    assert!(f.store.principal(&canonical("nobody")).await.unwrap().is_none());
    minimum.publish(number + 1, era);
    for name in [holder, canonical("nobody")] {
        let read = f.store.principal(&name).await.unwrap_err().to_string();
        assert!(read.contains("lags behind"), "{read}");
    }
    assert!(f.store.ping().await.is_err() && f.store.accounts(None, 10).await.is_err());
    f.account("other").await;
    assert!(f.store.principal(&holder).await.unwrap().is_some());
    minimum.publish(1, Era { timeline: era.timeline + 1, ..era });
    let read = f.store.principal(&holder).await.unwrap_err().to_string();
    assert!(read.contains("leads to another server"), "{read}");
}

#[tokio::test]
async fn a_lock_of_another_session_is_unavailability_within_its_time() {
    let mut f = in_server().await;
    f.settings.busy_timeout = Duration::from_millis(500);
    let store = Store::open(&f.settings).await.unwrap();
    let holder = canonical("holder");
    let mut session = Session::open(&database(&f).url());
    session.run("BEGIN; SELECT FROM principal WHERE lower(name) = 'holder' FOR UPDATE;");
    let began = Instant::now();
    let written = store.set_active(&holder, false).await.map(drop).unwrap_err().to_string();
    assert!(written.contains("nothing was changed"), "{written}");
    assert!(store.principal(&holder).await.unwrap().unwrap().active);
    session.run("LOCK TABLE principal IN ACCESS EXCLUSIVE MODE;");
    let read = store.principal(&holder).await.unwrap_err().to_string();
    assert!(read.contains("no answer within 500ms"), "{read}");
    assert!(began.elapsed() < Duration::from_secs(10));
    session.run("COMMIT;");
    let written = store.set_active(&holder, false).await.unwrap();
    assert!(written.change.revokes && !store.principal(&holder).await.unwrap().unwrap().active);
}

#[tokio::test]
async fn no_statement_reads_more_than_it_has_to() {
    let f = in_server().await;
    let all = &f.settings;
    f.query("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$")
        .await;
    f.store.close().await;
    let scans =
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname LIKE 'principal%' ORDER BY relname";
    f.query("SELECT pg_stat_reset()").await;
    let f = Fixture { store: Store::open(all).await.unwrap(), ..f };
    let account = f.account("other").await;
    let (cred, other, by) = (canonical("cred"), canonical("other"), Authority::Operator);
    f.add(account, "cred").await.unwrap();
    let _ = f.store.edit_credential(account, by, &cred, &edit(Some("x"), "{}")).await.unwrap();
    assert!(f.store.renew_hash(&cred, &hash("x"), &hash("y")).await.unwrap());
    let _ = (f.store.principal(&cred).await.unwrap(), f.store.ping().await.unwrap());
    let _ = (
        f.store.credential(account, &cred).await.unwrap(),
        f.store.credentials(account, None, 5).await.unwrap(),
    );
    let pages = [PageDirection::Forwards, PageDirection::Backwards];
    let filter =
        CredentialFilter { has_note: true, use_state: Some(UseState::Active), ..CredentialFilter::default() };
    for (direction, filter) in pages.into_iter().zip([CredentialFilter::default(), filter]) {
        let range = NameRange { lower: "c".to_owned(), upper: "c~".to_owned() };
        let _ = f.store.credential_page(account, &range, direction, &filter, 5).await.unwrap();
        assert!(f.store.has_credential_in(account, &range).await.unwrap());
    }
    let found = f.store.credential_by_name(account, &cred).await.unwrap().unwrap();
    assert!(f.store.credential_by_id(account, found.credential.id).await.unwrap().is_some());
    let used = PrincipalUse::now(PrincipalId(found.credential.id.0), [192, 0, 2, 1].into(), Entry::Api);
    f.store.write_last_uses(&[used]).await.unwrap();
    let _ = (f.store.account(&other).await.unwrap(), f.store.accounts(None, 5).await.unwrap());
    let _ = (f.store.highest_cost(17).await.unwrap(), f.store.changes().await.unwrap());
    let _ = f.store.set_rights(&other, Permissions::NONE).await.unwrap();
    let _ = f.store.set_active(&other, true).await.unwrap();
    let _ = f.store.set_password(&other, &hash("h")).await.unwrap();
    let _ = f.store.remove_credential(account, by, &cred).await.unwrap();
    let _ = f.store.remove_account(&other).await.unwrap();
    f.store.close().await;
    // The figures of a session are complete once it has ended.
    let mine = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gatepost'";
    while f.query(mine).await != "0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(f.query(scans).await, "principal|0\nprincipal_last_use|0\nprincipal_use|0");
}

/// An account of 20,000 credentials beside others, each used a while ago.
const MANY: &str = "INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
     SELECT (SELECT id FROM principal WHERE name = 'holder'), 'cred' || i, 'h', 2, 0, 0 FROM generate_series(1, 20000) AS i; \
     INSERT INTO principal (name, hash, bits, created_at, updated_at) \
     SELECT 'cred-' || i, 'h', 2, 0, 0 FROM generate_series(1, 20000) AS i; \
     INSERT INTO principal_last_use SELECT id, 1, 'smtp', '192.0.2.1' FROM principal; \
     ANALYZE principal; ANALYZE principal_last_use;";

// No table is read from its beginning to its end.
#[tokio::test]
async fn a_page_is_read_by_the_index_of_names() {
    let server = PostgresServer::start(&[
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_nested_statements", "off"),
    ]);
    let store = Store::open(&postgres_settings(&server.url("postgres"))).await.unwrap();
    let account = store.add_account(&name("holder"), &hash("h"), Permissions::ALL).await.unwrap().value;
    server.psql("postgres", MANY);
    let before = server.log().text().len();
    let filtered = CredentialFilter {
        holds: Permissions::ALL,
        use_state: Some(UseState::Unused),
        ..CredentialFilter::default()
    };
    let never = CredentialFilter { use_state: Some(UseState::NeverUsed), ..filtered };
    for filter in [CredentialFilter::default(), filtered, never] {
        for direction in [PageDirection::Forwards, PageDirection::Backwards] {
            for (lower, upper) in [("", "~"), ("cred1", "cred1~"), ("cred5!", "~")] {
                let range = NameRange { lower: lower.to_owned(), upper: upper.to_owned() };
                let page = store.credential_page(account, &range, direction, &filter, 100).await.unwrap();
                assert_eq!(page.credentials.is_empty(), filter == never);
            }
        }
    }
    store.close().await;
    // The log is read by a thread. What the server wrote before this line has arrived with it.
    server.psql("postgres", "DO $$ BEGIN RAISE LOG 'these were all plans'; END $$;");
    server.log().wait_for(&["these were all plans"]);
    let log = server.log().text()[before..].to_owned();
    let plans = log.split("Query Text: ").skip(1);
    let plans: Vec<&str> = plans.filter(|plan| plan.contains("name || '')")).collect();
    assert!(plans.len() >= 18 + 12, "{log}");
    for plan in plans {
        let steps = plan.split_once("cost=").map_or("", |(_, steps)| steps);
        assert!(steps.contains(" principal_by_name") && !steps.contains("Seq Scan on principal"), "{plan}");
        // With a filter, the planner doesn't know that the range has 2,000 names at most, and may sort those.
        assert!(plan.contains("Filter: ((") || !steps.contains("Sort Key: (lower"), "{plan}");
    }
}

#[tokio::test]
async fn certificates_are_verified_as_the_url_says() {
    let server = PostgresServer::start(&[]);
    let (authority, folder) = (CertificateAuthority::new(), tempfile::tempdir().unwrap());
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let show = |name: &str| {
        let identity = authority.issue(name);
        for (file, text) in [("server.crt", &identity.certificate), ("server.key", &identity.key)] {
            std::fs::write(server.data().join(file), text).unwrap();
            give_to_user(&server.data().join(file), 0o600);
        }
        // A reload takes a moment.
        let loaded = "SELECT pg_conf_load_time()";
        let before = server.psql("postgres", loaded);
        server.set(&[("ssl", "on")]);
        while server.psql("postgres", loaded) == before {}
    };
    let settings = |parameters: &str| {
        let parameters = parameters.replace("ROOTS", roots.to_str().unwrap());
        postgres_settings(&format!("{}?{parameters}", server.url("postgres")))
    };
    let refused = async |parameters: &str| {
        let text = refusal(&settings(parameters)).await;
        assert!(text.to_lowercase().contains("certificate"), "{parameters}: {text}");
    };
    let encrypted = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'gatepost'";
    show(&server.address().ip().to_string());
    for (parameters, is_encrypted) in [
        ("sslmode=verify-full&sslrootcert=ROOTS", "t"),
        ("sslmode=require", "t"),
        // The default for a loopback address.
        ("", "t"),
        ("sslmode=disable", "f"),
    ] {
        let store = Store::open(&settings(parameters)).await.unwrap();
        store.ping().await.unwrap();
        assert_eq!(server.psql("postgres", encrypted), is_encrypted, "{parameters}");
        store.close().await;
    }
    refused("sslmode=verify-full").await;
    refused("sslmode=verify-ca").await;
    show("db.example.com");
    refused("sslmode=verify-full&sslrootcert=ROOTS").await;
    Store::open(&settings("sslmode=verify-ca&sslrootcert=ROOTS")).await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn a_password_is_read_at_each_connect_and_told_nowhere() {
    let server = PostgresServer::start(&[]);
    server.psql(
        "postgres",
        "CREATE ROLE keeper LOGIN PASSWORD 'first-hunter22'; CREATE DATABASE kept OWNER keeper;",
    );
    server.allow("host all keeper 127.0.0.0/8 scram-sha-256");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first-hunter22\n").unwrap();
    let url = format!("postgres://keeper@{}/kept", server.address());
    let text = format!("[store]\nurl = '{url}'\npassword_file = '{}'\n[ops]\n", file.path().display());
    let settings = Config::parse(&text, "test").unwrap().store;
    let store = Store::open(&settings).await.unwrap();
    store.ping().await.unwrap();
    // The connections go on, and new ones have the new password.
    server.psql("postgres", "ALTER ROLE keeper PASSWORD 'second-hunter22'");
    std::fs::write(file.path(), "second-hunter22\n").unwrap();
    server
        .psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'");
    store.ping().await.unwrap();
    let url = format!("postgres://keeper:third-hunter22@{}/kept", server.address());
    for wrong in [postgres_settings(&url), {
        std::fs::write(file.path(), "third-hunter22\n").unwrap();
        settings
    }] {
        let text = refusal(&wrong).await;
        assert!(text.contains("password authentication failed") && text.contains("check user"), "{text}");
        assert!(!text.contains("hunter22") && !format!("{wrong:?}").contains("hunter22"), "{text}");
        let StoreUrl::Postgres(_) = wrong.url else { panic!("it is a server") };
    }
}

// Statements of one transaction only are on the same connection then, and the pooler knows no startup parameters but its own.
#[tokio::test]
async fn a_pooler_of_transactions_may_be_in_between() {
    let f = in_server().await;
    let server = database(&f).server;
    let pooler = PgBouncer::start(server.address(), "transaction", "default_pool_size = 2");
    let settings = StoreSettings {
        direct_url: f.settings.direct().cloned(),
        ..postgres_settings(&pooler.url(server, &database(&f).name))
    };
    let stores = [Store::open(&settings).await.unwrap(), Store::open(&settings).await.unwrap()];
    let refused = || pooler.log().text().matches("unsupported startup parameter").count();
    for store in &stores {
        store.ping().await.unwrap();
    }
    let refused_at_first = refused();
    assert!(refused_at_first > 0);
    let account = f.store.account(&canonical("holder")).await.unwrap().unwrap().id;
    let users: Vec<_> = (0..24)
        .map(|n| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move {
                let cred = format!("cred{n}");
                let added = store.add_credential(account, Authority::Holder, &new(&cred, "{}")).await;
                assert!(matches!(added.unwrap().change.position, ChangePosition::Logged { .. }));
                for _ in 0..5 {
                    assert!(store.principal(&canonical(&cred)).await.unwrap().is_some());
                    assert!(!store.credentials(account, None, 3).await.unwrap().is_empty());
                }
                assert!(store.renew_hash(&canonical(&cred), &hash("h"), &hash("h2")).await.unwrap());
            })
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
    assert_eq!(f.query("SELECT credentials FROM principal WHERE name = 'holder'").await, "24");
    assert_eq!(refused(), refused_at_first, "settings that the pooler refuses are tried once");
    // Nothing that a transaction has set is left to the next client.
    for setting in ["lock_timeout", "idle_in_transaction_session_timeout"] {
        let left =
            crate::common::psql::psql_at(&pooler.url(server, &database(&f).name), &format!("SHOW {setting}"));
        assert_eq!(left, Ok("0".to_owned()));
    }
}

// Without the lock, the permissions of the account are read, and may be taken from it before the credential gets them.
