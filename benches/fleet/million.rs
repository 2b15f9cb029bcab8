//! A million credentials: reading one that is not cached, the list of an account, and the start.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost::config::Config;
use gatepost::domain::Canonical;
use gatepost::state::store::Store;

use crate::common::postgres::PostgresDatabase;
use crate::gateways::{HASH_COST, PASSWORD, Starter, wait_until_ready};
use crate::report::{Report, Times, heading};

const ACCOUNTS: usize = 100;
/// Credentials of each account.
const EACH: usize = 10_000;
const READS: usize = 10_000;
const LISTS: usize = 50;
const STARTS: usize = 10;
/// The most that reading one may take at p99, in milliseconds.
const MOST_READ: f64 = 2.0;
/// The most that a list may take, in milliseconds; the median of all.
const MOST_LIST: f64 = 100.0;
/// The most that a start may take, in milliseconds.
const MOST_START: f64 = 1000.0;

/// Measures on an empty database.
pub fn measure(database: &PostgresDatabase<'_>, starter: &Starter, report: &mut Report) {
    drop(starter.on_postgres(database));
    let began = Instant::now();
    fill(database);
    heading(&format!(
        "a million credentials, {EACH} for each account; written in {:.0} s",
        began.elapsed().as_secs_f64()
    ));
    reads(database, report);
    starts(database, starter, report);
    lists(database, starter, report);
}

/// Writes them as a bulk import with psql does. The schema is there.
fn fill(database: &PostgresDatabase<'_>) {
    let hash = bcrypt::hash(PASSWORD, HASH_COST).unwrap();
    database.psql(&format!(
        "INSERT INTO principal (name, hash, bits, credentials, created_at, updated_at) \
         SELECT 'holder' || n, '{hash}', 7, {EACH}, 0, 0 FROM generate_series(0, {ACCOUNTS} - 1) AS n; \
         INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
         SELECT account.id, 'of' || CAST(substr(account.name, 7) AS BIGINT) || '-' || n, '{hash}', 7, 0, 0 \
         FROM principal AS account, generate_series(0, {EACH} - 1) AS n WHERE account.account_id IS NULL; \
         VACUUM ANALYZE principal; CHECKPOINT"
    ));
}

/// Reads credentials for decisions, one after the other, without the hash.
fn reads(database: &PostgresDatabase<'_>, report: &mut Report) {
    let text = format!("[store]\nurl = \"{}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n", database.url());
    let settings = Config::parse(&text, "bench").unwrap().store;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut times = Times::default();
    runtime.block_on(async {
        let store = Store::open_existing(&settings).await.unwrap();
        for nth in 0..READS + 100 {
            let (account, number) = (nth * 37 % ACCOUNTS, nth * 7919 % EACH);
            let name = Canonical::of(format!("of{account}-{number}").as_bytes()).unwrap();
            let began = Instant::now();
            let found = store.principal(&name).await.unwrap();
            let took = began.elapsed();
            assert!(found.is_some(), "{}", name.as_str());
            // The first ones open the connections.
            if nth >= 100 {
                times.add(took);
            }
        }
        store.close().await;
    });
    times.print("reading one that is not cached, without the hash");
    report.at_most("reading one, p99", times.quantile(0.99), MOST_READ, "ms");
}

/// Starts gateways until they decide.
fn starts(database: &PostgresDatabase<'_>, starter: &Starter, report: &mut Report) {
    let [mut listening, mut ready] = [Times::default(), Times::default()];
    for _ in 0..STARTS {
        let began = Instant::now();
        let gateway = starter.on_postgres(database);
        listening.add(began.elapsed());
        wait_until_ready(&gateway);
        ready.add(began.elapsed());
    }
    listening.print("start until it listens");
    ready.print("start until it decides");
    report.at_most("start until it decides, longest", ready.quantile(1.0), MOST_START, "ms");
}

/// Has the credentials of an account listed.
fn lists(database: &PostgresDatabase<'_>, starter: &Starter, report: &mut Report) {
    let gateway = starter.on_postgres(database);
    wait_until_ready(&gateway);
    let mut times = Times::default();
    for nth in 0..=LISTS {
        let login = STANDARD.encode(format!("holder{}:{PASSWORD}", nth.max(1) % ACCOUNTS));
        let request = format!(
            "GET /api/credentials/get.json HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Basic {login}\r\n\
             Connection: close\r\n\r\n"
        );
        let mut answer = Vec::with_capacity(4 << 20);
        let began = Instant::now();
        let mut stream = TcpStream::connect(gateway.api()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut answer).unwrap();
        let took = began.elapsed();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("0\r\n\r\n"), "{:.300}", answer);
        // A name may be divided between two pieces.
        assert!(answer.len() > EACH * 50, "{} bytes", answer.len());
        // The first one opens the connections to the database.
        if nth > 0 {
            times.add(took);
        }
    }
    times.print("list of all credentials of an account, to its end");
    report.at_most("list, p50", times.quantile(0.5), MOST_LIST, "ms");
}
