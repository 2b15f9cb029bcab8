//! Gateways as processes of their own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gatepost::config::{Config, StoreSettings};
use serde_json::json;

use crate::common::backend::Backend;
use crate::common::http::get;
use crate::common::postgres::{PostgresDatabase, PostgresServer, Stop};
use crate::common::{Gateway, PATIENCE, api, binary, configured};

/// The password of all credentials.
const PASSWORD: &str = "passw0rd-1";
/// The longest lease, as a new database has it.
const LONGEST: Duration = Duration::from_secs(3);

/// A gateway on that database.
pub fn gateway(url: &str, backend: &Backend) -> Gateway {
    Gateway::start_by(directory(url, backend), Command::new(binary()))
}

/// The directory of a configuration for that database.
pub fn directory(url: &str, backend: &Backend) -> tempfile::TempDir {
    configured_on(url, &api(backend.address))
}

/// A directory with the configuration of a gateway on that database, and these sections.
pub fn configured_on(url: &str, sections: &str) -> tempfile::TempDir {
    let directory = configured(&format!(
        "{sections}[ops]\nlisten = \"127.0.0.1:0\"\n[auth]\nbcrypt_cost = 4\nthrottle = false\n"
    ));
    let file = directory.path().join("gatepost.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let sqlite = format!("sqlite://{}/gatepost.db", directory.path().display());
    std::fs::write(file, text.replace(&sqlite, url)).unwrap();
    directory
}

/// Credentials `user0`, `user1`, … of the account.
pub fn add_credentials(database: &PostgresDatabase<'_>, count: u32) {
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    database.psql(&format!(
        "INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
         SELECT account.id, 'user' || n, '{hash}', 7, 0, 0 FROM principal AS account, generate_series(0, {}) AS n \
         WHERE account.name = 'acme'; \
         UPDATE principal SET credentials = {count} WHERE name = 'acme'",
        count - 1
    ));
}

/// The status of a request as that credential.
pub fn check(gateway: &Gateway, name: &str) -> u16 {
    get("/v3/templates").basic(&format!("{name}:{PASSWORD}")).send(gateway.api()).status
}

/// Checks that a request as that credential gets that status.
fn expect(gateway: &Gateway, name: &str, status: u16) {
    let found = check(gateway, name);
    if found != status {
        let log = gateway.log().text();
        let last: Vec<&str> = log.lines().rev().take(12).collect();
        panic!("{name} gets {found}, expected {status}; the end of the log, reversed:\n{}", last.join("\n"));
    }
}

pub fn ready(gateway: &Gateway) -> u16 {
    get("/readyz").send(gateway.address("ops.listen")).status
}

/// Waits until a check gets that status. Returns the time that it took.
pub fn wait_for(gateway: &Gateway, name: &str, status: u16) -> Duration {
    let began = Instant::now();
    loop {
        let found = check(gateway, name);
        if found == status {
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "{name} gets {found}, and never {status}");
    }
}

/// Waits until a node has known the era for the longest lease.
pub fn wait_until_settled(database: &PostgresDatabase<'_>) {
    let began = Instant::now();
    while database.psql("SELECT count(*) FROM node WHERE settled = 1") == "0" {
        assert!(began.elapsed() < PATIENCE, "no node ever settles");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn remove(gateway: &Gateway, name: &str) -> (u16, String) {
    gateway.manage("remove", &format!("username={name}"))
}

#[test]
fn what_one_gateway_has_removed_is_removed_on_the_other_when_it_is_answered() {
    let (database, backend) = (PostgresServer::shared().database(), Backend::hello());
    let gateways = [gateway(&database.url(), &backend), gateway(&database.url(), &backend)];
    gateways[0].account("email,api,web");
    add_credentials(&database, 220);
    wait_until_settled(&database);
    for number in 0..200 {
        let (by, other) = (&gateways[number % 2], &gateways[(number + 1) % 2]);
        let name = format!("user{number}");
        expect(other, &name, 200);
        expect(by, &name, 200);
        let (status, text) = remove(by, &name);
        assert_eq!(status, 200, "{name}: {text}");
        expect(other, &name, 401);
        expect(by, &name, 401);
    }
    let repeated = remove(&gateways[0], "user0");
    assert_eq!(repeated.0, 404, "{repeated:?}");

    // By the command line, whose line is in the audit trails of both.
    assert_eq!((check(&gateways[0], "user200"), check(&gateways[1], "user200")), (200, 200));
    let removal = ["credential", "remove", "user200", "--account", "acme"];
    let removed = gateways[0].command(&removal, "");
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!((check(&gateways[0], "user200"), check(&gateways[1], "user200")), (401, 401));
    for gateway in &gateways {
        gateway.log().wait_for(&["credential.remove", "user200", "command line"]);
    }
    let repeated = gateways[0].command(&removal, "");
    assert_eq!(repeated.status.code(), Some(1), "{repeated:?}");

    // By plain SQL, which waits for nobody.
    assert_eq!(check(&gateways[1], "user201"), 200);
    database.psql("DELETE FROM credentials WHERE username = 'user201'");
    let took = wait_for(&gateways[1], "user201", 401);
    assert!(took < Duration::from_millis(400), "it was told, and not found at a beat: {took:?}");
    let settled = gateways[0].command(&["cluster", "settle"], "");
    assert!(settled.status.success(), "{settled:?}");
    assert_eq!(check(&gateways[0], "user201"), 401);
}

#[test]
fn without_notifications_it_is_the_same() {
    let (database, backend) = (PostgresServer::shared().database(), Backend::hello());
    let gateways = [gateway(&database.url(), &backend), gateway(&database.url(), &backend)];
    database.psql("UPDATE lease SET notify = 0");
    gateways[0].account("email,api,web");
    add_credentials(&database, 20);
    wait_until_settled(&database);
    for number in 0..20 {
        let name = format!("user{number}");
        expect(&gateways[1], &name, 200);
        assert_eq!(remove(&gateways[0], &name).0, 200, "{name}");
        expect(&gateways[1], &name, 401);
    }
}

#[test]
fn a_killed_node_is_waited_for_until_its_trust_has_ended_and_a_stopped_one_is_not() {
    let (database, backend) = (PostgresServer::shared().database(), Backend::hello());
    let one = gateway(&database.url(), &backend);
    let [mut killed, mut stopped] = [gateway(&database.url(), &backend), gateway(&database.url(), &backend)];
    one.account("email,api,web");
    add_credentials(&database, 3);
    wait_until_settled(&database);
    let listed = one.command(&["cluster", "nodes", "--json"], "");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
    assert_eq!(listed[0]["version"], json!(env!("CARGO_PKG_VERSION")), "{listed}");

    stopped.signal("TERM");
    assert_eq!(stopped.wait(), Some(0));
    assert_eq!(database.psql("SELECT count(*) FROM node"), "2");
    assert_eq!(check(&one, "user0"), 200);
    let began = Instant::now();
    assert_eq!(remove(&one, "user0").0, 200);
    let took = began.elapsed();
    assert!(took < LONGEST, "the stopped one is gone: {took:?}");

    killed.kill();
    let began = Instant::now();
    let (status, text) = remove(&one, "user1");
    assert_eq!(status, 200, "{text}");
    let took = began.elapsed();
    assert!(took < LONGEST + Duration::from_secs(2), "{took:?}");
    assert_eq!(check(&one, "user1"), 401);
    // Its row is removed then, and nobody waits for it any more.
    let began = Instant::now();
    while database.psql("SELECT count(*) FROM node") != "1" {
        assert!(began.elapsed() < PATIENCE, "its row stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    let began = Instant::now();
    assert_eq!(remove(&one, "user2").0, 200);
    assert!(began.elapsed() < LONGEST);
}

#[test]
fn a_gateway_whose_database_restarts_is_back_within_a_second() {
    let (server, backend) = (PostgresServer::start(&[]), Backend::hello());
    let database = server.database();
    let one = gateway(&database.url(), &backend);
    one.account("email,api,web");
    add_credentials(&database, 1);
    for how in [Stop::Fast, Stop::Immediate] {
        assert_eq!((check(&one, "user0"), ready(&one)), (200, 200));
        server.stop(how);
        let took = wait_for(&one, "user0", 503);
        assert!(took < LONGEST + Duration::from_secs(1), "{took:?}");
        assert_eq!(ready(&one), 503);
        let (status, text) = remove(&one, "user0");
        assert_eq!(status, 503, "{text}");
        server.start_again();
        let took = wait_for(&one, "user0", 200);
        // Below a second on a machine with nothing else to do.
        assert!(took < Duration::from_secs(3), "{how:?}: {took:?}");
    }
}

#[test]
fn a_gateway_starts_without_its_database_and_serves_once_it_is_there() {
    let (server, backend) = (PostgresServer::start(&[]), Backend::hello());
    let database = server.database();
    let first = gateway(&database.url(), &backend);
    first.account("email,api,web");
    add_credentials(&database, 1);
    drop(first);
    server.stop(Stop::Fast);
    let one = gateway(&database.url(), &backend);
    assert_eq!((check(&one, "user0"), ready(&one)), (503, 503));
    server.start_again();
    wait_for(&one, "user0", 200);
    assert_eq!(ready(&one), 200);
}

#[test]
fn a_database_that_does_not_exist_is_an_error_at_the_start() {
    let (server, backend) = (PostgresServer::shared(), Backend::hello());
    let directory = directory(&server.url("nowhere"), &backend);
    let mut serve = Command::new(binary());
    serve.args(["serve", "--config"]).arg(directory.path().join("gatepost.toml"));
    let output = serve.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("database \"nowhere\" does not exist"), "{said}");
}

#[test]
fn the_lease_is_changed_by_a_command() {
    let (database, backend) = (PostgresServer::shared().database(), Backend::hello());
    let one = gateway(&database.url(), &backend);
    let began = Instant::now();
    let changed = one.command(&["cluster", "lease", "2s"], "");
    assert!(changed.status.success(), "{changed:?}");
    assert!(began.elapsed() >= LONGEST, "it waits for the old lease");
    assert_eq!(String::from_utf8(changed.stdout).unwrap().lines().last(), Some("the lease is 2s"));
    assert_eq!(database.psql("SELECT lease_ms, longest_ms, version FROM lease"), "2000|2000|1");
}

/// The settings of the store of that database.
pub fn settings(database: &PostgresDatabase<'_>) -> StoreSettings {
    let text = format!("[store]\nurl = \"{}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n", database.url());
    Config::parse(&text, "test").unwrap().store
}
