//! What a decision costs that the cache answers, with 50,000 principals in it, on one thread and on two.
//!
//! `cargo bench --bench decision`. The last lines give the figures that are promised: the median on one thread, and how
//! much more two threads do.

use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use criterion::Criterion;
use gatepost::config::{AuthSettings, StoreSettings, StoreUrl};
use gatepost::domain::{Entry, Permission, PermissionEdit, Permissions, Presented, StoredHash, Username};
use gatepost::service::{Access, Decision};
use gatepost::state::store::{Authority, NewCredential, Store};
use gatepost::state::{Epochs, Hasher, Metrics};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PRINCIPALS: usize = 50_000;
const PASSWORD: &[u8] = b"correct horse 1";
/// Checks in one measurement, and measurements; of the many the best tell most on a machine with other work to do.
const CHECKS: usize = 1_000;
const MEASUREMENTS: usize = 5_000;

struct Warm {
    access: Arc<Access>,
    names: Vec<String>,
}

impl Warm {
    fn check(&self, nth: usize) -> bool {
        let presented =
            Presented { username: self.names[nth % PRINCIPALS].as_bytes(), secret: black_box(PASSWORD) };
        self.access.check_cached(&presented, Permission::Api, Entry::Api).is_some()
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let warm = runtime.block_on(warm(folder.path()));

    let mut criterion = Criterion::default().configure_from_args();
    let mut nth = 0;
    criterion.bench_function("decision/warm", |bencher| {
        bencher.iter(|| {
            nth += 1;
            assert!(warm.check(nth));
        });
    });
    let presented = Presented { username: warm.names[0].as_bytes(), secret: PASSWORD };
    criterion.bench_function("decision/warm, authorize", |bencher| {
        bencher.iter(|| {
            let source = [192, 0, 2, 1].into();
            let decision = warm.access.authorize(black_box(presented), Permission::Api, Entry::Api, source);
            runtime.block_on(decision)
        });
    });
    criterion.final_summary();

    let one = times(&warm, 1);
    let two = times(&warm, 2);
    let (median, best) = (one[one.len() / 2], one[0]);
    println!("one thread:  median {median:.0} ns, best {best:.0} ns");
    println!("two threads: median {:.0} ns, best {:.0} ns", two[two.len() / 2], two[0]);
    println!("two threads do {:.2} times what one does (best of {MEASUREMENTS} each)", 2.0 * best / two[0]);
}

/// Nanoseconds per check and thread in each measurement, the shortest first.
fn times(warm: &Warm, threads: usize) -> Vec<f64> {
    let barrier = Barrier::new(threads);
    let measure = |thread: usize| {
        let mut nth = thread * PRINCIPALS / threads;
        let mut times = Vec::with_capacity(MEASUREMENTS);
        for _ in 0..MEASUREMENTS {
            barrier.wait();
            let began = Instant::now();
            for _ in 0..CHECKS {
                nth += 1;
                assert!(warm.check(nth));
            }
            times.push(began.elapsed().as_nanos() as f64 / CHECKS as f64);
        }
        times
    };
    let mut slowest = vec![0.0; MEASUREMENTS];
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || measure(thread))).collect();
        for handle in handles {
            let times = handle.join().expect("a measurement doesn't panic");
            slowest = slowest.iter().zip(times).map(|(slowest, time)| f64::max(*slowest, time)).collect();
        }
    });
    slowest.sort_by(f64::total_cmp);
    slowest
}

/// A decision with all principals in its cache.
async fn warm(folder: &Path) -> Warm {
    let file = folder.join("gatepost.db");
    let store = Store::open(&StoreSettings {
        url: StoreUrl::Sqlite(file.clone()),
        read_connections: 2,
        busy_timeout: Duration::from_secs(60),
    })
    .await
    .expect("the store opens");
    let hash = StoredHash::new(bcrypt::hash(PASSWORD, 4).expect("random numbers"));
    let holder = Username::parse("holder").expect("a username");
    let account = store.add_account(&holder, &hash, Permissions::ALL).await.expect("added").value;
    let name = |n: usize| format!("user{n}@example.com");
    let new = NewCredential {
        name: Username::parse(&name(0)).expect("a username"),
        hash,
        permissions: PermissionEdit::default(),
    };
    let _ = store.add_credential(account, Authority::Operator, &new).await.expect("added");
    copies(&file, PRINCIPALS).await;

    let metrics = Arc::new(Metrics::new());
    let hasher = Arc::new(Hasher::start(4, 2, 1_000, Arc::clone(&metrics)).unwrap());
    let access = Access::new(store, hasher, Arc::new(Epochs::new()), metrics, &AuthSettings::default())
        .expect("random numbers");
    let warm = Warm { access: Arc::new(access), names: (0..PRINCIPALS).map(name).collect() };
    // All have one stored hash and one password, so that those who come at once share one password check.
    for some in warm.names.chunks(500) {
        let mut checks = JoinSet::new();
        for name in some {
            let (access, name) = (Arc::clone(&warm.access), name.clone());
            checks.spawn(async move {
                let presented = Presented { username: name.as_bytes(), secret: PASSWORD };
                let source = [192, 0, 2, 1].into();
                let decision = access.authorize(presented, Permission::Api, Entry::Api, source).await;
                assert!(matches!(decision, Decision::Allowed(_)), "{name}: {decision:?}");
            });
        }
        checks.join_all().await;
    }
    warm
}

/// Adds the principals after the first one, each a copy of it.
async fn copies(file: &Path, principals: usize) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the store opens again");
    let copied = sqlx::query(
        "INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1) \
         SELECT account_id, format('user%d@example.com', i), hash, bits, 0, 0 FROM n, principal \
         WHERE name = 'user0@example.com'",
    )
    .bind(i64::try_from(principals).expect("some thousands"))
    .execute(&mut connection)
    .await
    .expect("copied");
    assert_eq!(copied.rows_affected() as usize, principals - 1);
    connection.close().await.expect("closed");
}
