//! The store at a thousand and at a million credentials of one account: adding and removing one, reading one, opening.
//! Hashing is left aside. `cargo bench --bench store`. The last line says what a million makes of the time to add one.

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use gatepost::config::{StoreSettings, StoreUrl};
use gatepost::domain::{AccountId, Canonical, PermissionEdit, Permissions, StoredHash, Username};
use gatepost::state::store::{Authority, NewCredential, Store};
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::Runtime;

const SIZES: [i64; 2] = [1_000, 1_000_000];
const FILL: &str = "INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
     SELECT $1, format('cred%07d', i * 7919 % 10000019), '$2b$10$' || hex(randomblob(26)), 7, 0, 0 FROM n";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let adding = benches(&mut criterion);
    criterion.final_summary();
    // Not where `cargo test --all-targets` runs it, with this argument missing, or another part of it was asked for.
    if let ([Some(few), Some(many)], true) = (adding, std::env::args().any(|argument| argument == "--bench"))
    {
        let (few, many) = (few * 1e6, many * 1e6);
        println!("adding one: {few:.0} µs at a thousand, {many:.0} µs at a million: {:.2} times", many / few);
    }
}

/// The median of the seconds that adding one took, at each size.
fn benches(criterion: &mut Criterion) -> [Option<f64>; SIZES.len()] {
    let mut adding = [None; SIZES.len()];
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("store");
    group.sample_size(20).measurement_time(Duration::from_secs(8));
    for (size, adding) in SIZES.into_iter().zip(&mut adding) {
        let mut times = Vec::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatepost.db");
        let (store, account) = runtime.block_on(filled(&path, size));
        let mut number = 0_u64;

        group.bench_function(BenchmarkId::new("add", size), |b| {
            b.iter_custom(|rounds| {
                runtime.block_on(async {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        number += 1;
                        let new = new(number);
                        let began = Instant::now();
                        let _ = store.add_credential(account, Authority::Holder, &new).await.unwrap();
                        spent += began.elapsed();
                        let name = new.name.canonical();
                        let _ = store.remove_credential(account, Authority::Holder, &name).await.unwrap();
                    }
                    times.push(spent.as_secs_f64() / rounds as f64);
                    spent
                })
            });
        });
        times.sort_by(f64::total_cmp);
        *adding = times.get(times.len() / 2).copied();
        group.bench_function(BenchmarkId::new("remove", size), |b| {
            b.iter_custom(|rounds| {
                runtime.block_on(async {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        number += 1;
                        let new = new(number);
                        let _ = store.add_credential(account, Authority::Holder, &new).await.unwrap();
                        let name = new.name.canonical();
                        let began = Instant::now();
                        let _ = store.remove_credential(account, Authority::Holder, &name).await.unwrap();
                        spent += began.elapsed();
                    }
                    spent
                })
            });
        });
        group.bench_function(BenchmarkId::new("read", size), |b| {
            b.iter(|| {
                number += 1;
                let name = format!("cred{:07}", number % size.unsigned_abs() * 7919 % 10_000_019);
                runtime.block_on(store.principal(&Canonical::of(name.as_bytes()).unwrap())).unwrap()
            });
        });
        group.bench_function(BenchmarkId::new("open", size), |b| {
            b.iter(|| runtime.block_on(open(&path)));
        });
    }
    group.finish();
    adding
}

fn new(number: u64) -> NewCredential {
    NewCredential {
        name: Username::parse(&format!("added{number}")).unwrap(),
        hash: StoredHash::new("$2b$10$".to_owned() + &"x".repeat(52)),
        permissions: PermissionEdit::default(),
        note: None,
    }
}

async fn filled(path: &Path, size: i64) -> (Store, AccountId) {
    let store = open(path).await;
    let holder = Username::parse("holder").unwrap();
    let hash = StoredHash::new("hash".into());
    let account = store.add_account(&holder, &hash, Permissions::ALL).await.unwrap().value;
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query(FILL).bind(account.0).bind(size).execute(&mut connection).await.unwrap();
    sqlx::query("UPDATE principal SET credentials = $2 WHERE id = $1")
        .bind(account.0)
        .bind(size)
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    (store, account)
}

async fn open(path: &Path) -> Store {
    let url = StoreUrl::Sqlite(path.to_path_buf());
    Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap()
}
