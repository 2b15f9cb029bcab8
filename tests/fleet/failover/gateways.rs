//! Gateways as processes of their own, on any servers, and clients that check credentials without pause.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::backend::Backend;
use crate::common::http::get;
use crate::common::postgres::PostgresServer;
use crate::common::{Gateway, HOLDER, PATIENCE, api, binary, command, configured};

/// The password of all credentials.
const PASSWORD: &str = "passw0rd-1";
/// The database of every site.
pub const DATABASE: &str = "fleet";
/// The lease of every site, which is the longest one, too.
pub const LEASE: Duration = Duration::from_secs(1);

/// A gateway with these keys in its section `[store]`.
pub fn gateway(store: &str, backend: &Backend) -> Gateway {
    Gateway::start_by(directory(store, backend), Command::new(binary()))
}

/// The directory of a configuration with these keys in its section `[store]`.
pub fn directory(store: &str, backend: &Backend) -> tempfile::TempDir {
    let rest = "[ops]\nlisten = \"127.0.0.1:0\"\n[auth]\nbcrypt_cost = 4\nthrottle = false\n";
    let directory = configured(&format!("{}{rest}", api(backend.address)));
    let file = directory.path().join("gatepost.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let sqlite = text.lines().find(|line| line.starts_with("url = ")).unwrap().to_owned();
    std::fs::write(&file, text.replacen(&sqlite, store, 1)).unwrap();
    directory
}

/// The key `url` with this value.
pub fn url(url: &str) -> String {
    format!("url = \"{url}\"\n")
}

/// Makes the database, with an account, the credentials `user0`, `user1`, … and the short lease. No node is there yet.
pub fn fill(server: &PostgresServer, backend: &Backend, credentials: u32) {
    server.psql("postgres", &format!("CREATE DATABASE {DATABASE}"));
    let directory = directory(&url(&server.url(DATABASE)), backend);
    let (holder, password) = HOLDER.split_once(':').unwrap();
    let add = ["account", "add", holder, "--rights", "email,api,web", "--password-stdin"];
    let added = command(&directory.path().join("gatepost.toml"), &add, password);
    assert!(added.status.success(), "{added:?}");
    let (hash, lease) = (bcrypt::hash(PASSWORD, 4).unwrap(), LEASE.as_millis());
    server.psql(
        DATABASE,
        &format!(
            "UPDATE lease SET lease_ms = {lease}, longest_ms = {lease}; \
             INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
             SELECT account.id, 'user' || n, '{hash}', 7, 0, 0 FROM principal AS account, \
             generate_series(0, {credentials} - 1) AS n WHERE account.name = '{holder}'; \
             UPDATE principal SET credentials = {credentials} WHERE name = '{holder}'"
        ),
    );
}

/// Waits until a node has known the era for the longest lease.
pub fn wait_until_settled(server: &PostgresServer) {
    server.wait_until(DATABASE, "EXISTS (SELECT FROM node WHERE settled = 1 AND era = gatepost_era())");
}

/// The status of a request as that credential.
pub fn check(gateway: &Gateway, name: &str) -> u16 {
    get("/v3/templates").basic(&format!("{name}:{PASSWORD}")).send(gateway.api()).status
}

/// Checks that a request as that credential gets that status.
#[track_caller]
pub fn expect(gateway: &Gateway, name: &str, status: u16) {
    let found = check(gateway, name);
    assert_eq!(found, status, "{name}; the end of the log, reversed:\n{}", end_of_log(gateway));
}

/// Waits until a request as that credential gets that status. Returns the time that it took.
#[track_caller]
pub fn wait_for(gateway: &Gateway, name: &str, status: u16) -> Duration {
    let began = Instant::now();
    loop {
        let found = check(gateway, name);
        if found == status {
            return began.elapsed();
        }
        let log = end_of_log(gateway);
        assert!(
            began.elapsed() < PATIENCE,
            "{name} gets {found}, and never {status}; the end of the log, reversed:\n{log}"
        );
    }
}

fn end_of_log(gateway: &Gateway) -> String {
    gateway.log().text().lines().rev().take(12).collect::<Vec<_>>().join("\n")
}

pub fn remove(gateway: &Gateway, name: &str) -> (u16, String) {
    gateway.manage("remove", &format!("username={name}"))
}

pub fn ready(gateway: &Gateway) -> u16 {
    get("/readyz").send(gateway.address("ops.listen")).status
}

/// The value of a metric, with its labels as they are written.
pub fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = get("/metrics").send(gateway.address("ops.listen")).text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

/// The statuses of checks by several clients, while credentials are removed.
pub struct Checks {
    removed: Vec<AtomicBool>,
    stop: AtomicBool,
    pub passed: AtomicU64,
    pub refused: AtomicU64,
    pub unavailable: AtomicU64,
}

impl Checks {
    /// Of the credentials `user0` up to that number.
    pub fn new(credentials: usize) -> Checks {
        Checks {
            removed: (0..credentials).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
        }
    }

    /// Notes that the removal of a credential was answered.
    pub fn is_removed(&self, number: usize) {
        self.removed[number].store(true, Ordering::SeqCst);
    }

    /// Ends [`Checks::run`] when it is dropped, also by a panic.
    pub fn until_dropped(&self) -> StopAtEnd<'_> {
        StopAtEnd(self)
    }

    /// Checks each credential in turn at a gateway. No check that begins after the answer to a removal passes.
    pub fn run(&self, gateway: &Gateway) {
        while !self.stop.load(Ordering::SeqCst) {
            for (number, removed) in self.removed.iter().enumerate() {
                let was_removed = removed.load(Ordering::SeqCst);
                let count = match check(gateway, &format!("user{number}")) {
                    200 => {
                        assert!(!was_removed, "user{number} passes, and its removal was answered");
                        &self.passed
                    }
                    401 => &self.refused,
                    503 => &self.unavailable,
                    other => panic!("user{number} gets {other}"),
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The end of checks.
pub struct StopAtEnd<'c>(&'c Checks);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}
