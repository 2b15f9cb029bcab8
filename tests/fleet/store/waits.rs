//! Waits in the server: for the locks of other sessions, and for a standby.

use std::time::Duration;

use gatepost::domain::{AccountError, Permission};
use gatepost::state::store::{Authority, MutationError, Store};

use super::server::{database, in_server};
use super::{canonical, edit};
use crate::common::postgres::PostgresServer;
use crate::common::psql::Session;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_row_of_an_account_is_locked_before_its_permissions_are_read() {
    let f = in_server().await;
    let account = f.store.account(&canonical("holder")).await.unwrap().unwrap().id;
    f.add(account, "cred").await.unwrap();
    let by = Authority::Operator;
    let _ = f
        .store
        .edit_credential(account, by, &canonical("cred"), &edit(None, r#"{"email":0}"#))
        .await
        .unwrap();
    let mut session = Session::open(&database(&f).url());
    session.run("BEGIN; UPDATE principal SET bits = 6 WHERE name = 'holder';");
    let store = f.store.clone();
    let granting = tokio::spawn(async move {
        let granted = edit(None, r#"{"email":1}"#);
        store.edit_credential(account, by, &canonical("cred"), &granted).await.map(|written| written.value)
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting = || f.query(waits);
    while !granting.is_finished() && waiting().await == "0" {}
    assert!(!granting.is_finished(), "it waits for nobody");
    session.run("COMMIT;");
    let refused = granting.await.unwrap().unwrap_err();
    assert_eq!(refused, MutationError::NotAllowed(AccountError::AboveRights(Permission::Email)));
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_any_more_ends_in_the_server() {
    let mut f = in_server().await;
    f.settings.busy_timeout = Duration::from_millis(400);
    let store = Store::open(&f.settings).await.unwrap();
    store.ping().await.unwrap();
    let mut session = Session::open(&database(&f).url());
    session.run("BEGIN; LOCK TABLE principal IN ACCESS EXCLUSIVE MODE;");
    let read = store.principal(&canonical("holder")).await.unwrap_err().to_string();
    assert!(read.contains("no answer within 400ms"), "{read}");
    let written = store.set_active(&canonical("holder"), false).await.map(drop);
    assert!(written.is_err());
    // While the lock is held.
    database(&f).wait_until(
        "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')",
    );
    session.run("COMMIT;");
    assert!(store.principal(&canonical("holder")).await.unwrap().unwrap().active);
}

// If it did, a change would be answered that no standby has.
#[tokio::test]
async fn a_time_limit_of_statements_does_not_end_the_wait_for_a_standby() {
    let server = PostgresServer::start(&[("synchronous_standby_names", "nobody")]);
    let mut session = Session::open(&server.url("postgres"));
    session.start("SET statement_timeout = '200ms'; CREATE TABLE other (n INT);");
    server.wait_until(
        "postgres",
        "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query_start < now() - interval '1 s')",
    );
    let mut transaction = Session::open(&server.url("postgres"));
    transaction.start(
        "BEGIN; SET LOCAL statement_timeout = '200ms'; CREATE TABLE another (n INT); SELECT 1; COMMIT;",
    );
    server.wait_until(
        "postgres",
        "(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query_start < now() - interval '1 s') = 2",
    );
    server.set(&[("synchronous_standby_names", "")]);
    assert_eq!((session.finish(), transaction.finish()), (String::new(), "1".to_owned()));
}
