//! How long a verified credential waits while 200 connections guess passwords at bcrypt cost 10, as fast as they are
//! answered: `cargo bench --bench flood`. Takes turns between quiet, guessing with the throttle and without, and a control:
//! no guesses, and one core busy with something of the idle class. What the control costs is the machine's own, such as
//! a hypervisor that lends its cores to others while this system keeps them busy.
//!
//! Prints medians over all turns: quantiles of the answers' times, their ratio to quiet, and how long the gateway's workers
//! waited for a core at each switch; then whether guessing leaves the p99 within twice its quiet value, as is wanted. It fails
//! where it doesn't.

#[path = "../tests/common/mod.rs"]
mod common;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::backend::Backend;
use common::http::{Connection, get};
use common::{Gateway, HOLDER, api};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

const CONNECTIONS: usize = 200;
const TURNS: usize = 3;
/// The most that guessing may make of the quiet p99.
const WANTED: f64 = 2.0;
/// How long the verified credential asks in each turn, one request after the other.
const LASTS: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches as well, with this argument missing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    common::allow_descriptors(4096);
    let backend = Backend::hello();
    let [throttled, not_throttled] = [true, false].map(|throttle| {
        let auth = format!("[server]\nthreads = 1\n[auth]\nbcrypt_cost = 10\nthrottle = {throttle}\n");
        let gateway = Gateway::start(&format!("{auth}{}", api(backend.address)));
        gateway.account("email,api,web");
        ask(&gateway, LASTS / 6);
        gateway
    });
    let mut results: [Vec<Turn>; 4] = Default::default();
    for _ in 0..TURNS {
        results[0].push(ask(&not_throttled, LASTS));
        results[1].push(beside(1, burn, || ask(&not_throttled, LASTS)));
        results[2].push(flooded(&not_throttled));
        results[3].push(flooded(&throttled));
    }
    println!("{:<32} {:>9} {:>9} {:>9} {:>11} {:>10}", "", "p50", "p99", "to quiet", "a switch", "guesses/s");
    let quiet = median(&results[0], |turn| turn.p99);
    let names = ["quiet", "quiet, another core busy", "guesses, without throttle", "guesses, with throttle"];
    for (name, turns) in names.iter().zip(&results) {
        let [p50, p99] = [median(turns, |turn| turn.p50), median(turns, |turn| turn.p99)];
        println!(
            "{name:<32} {:>7.2}ms {:>7.2}ms {:>9.2} {:>9.1}µs {:>10.0}",
            p50 * 1e3,
            p99 * 1e3,
            p99 / quiet,
            median(turns, |turn| turn.waited) * 1e6,
            median(turns, |turn| turn.guesses),
        );
    }
    println!();
    let mut code = ExitCode::SUCCESS;
    for (name, turns) in names.iter().zip(&results).skip(2) {
        let ratio = median(turns, |turn| turn.p99) / quiet;
        let verdict = if ratio <= WANTED {
            "reached"
        } else {
            code = ExitCode::FAILURE;
            "not reached"
        };
        println!("{name:<32} p99 {ratio:.2} of quiet; required: at most {WANTED:.2}, {verdict}");
    }
    code
}

/// Times in seconds.
struct Turn {
    p50: f64,
    p99: f64,
    /// A worker's, for a core, at each switch.
    waited: f64,
    guesses: f64,
}

fn median(turns: &[Turn], value: impl Fn(&Turn) -> f64) -> f64 {
    let mut values: Vec<f64> = turns.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Requests with the verified credential.
fn ask(gateway: &Gateway, lasts: Duration) -> Turn {
    let mut connection = Connection::open(gateway.api());
    let before = waits(gateway);
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < lasts {
        let started = Instant::now();
        assert_eq!(connection.exchange(get("/api/a.json").basic(HOLDER)).status, 200);
        times.push(started.elapsed());
    }
    let after = waits(gateway);
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64();
    let waited = (after.0 - before.0) as f64 / 1e9 / (after.1 - before.1).max(1) as f64;
    Turn { p50: at(0.5), p99: at(0.99), waited, guesses: 0.0 }
}

/// How many nanoseconds the gateway's workers have waited for a core, and how often they got one.
fn waits(gateway: &Gateway) -> (u64, u64) {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.child.id())).unwrap();
    let workers = tasks.map(|task| task.unwrap().path()).filter(|task| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("worker-"))
    });
    workers.fold((0, 0), |(waited, switches), task| {
        let text = std::fs::read_to_string(task.join("schedstat")).unwrap();
        let fields: Vec<u64> = text.split_whitespace().map(|field| field.parse().unwrap()).collect();
        (waited + fields[1], switches + fields[2])
    })
}

/// Asks while all connections guess, never twice the same.
fn flooded(gateway: &Gateway) -> Turn {
    let guesses = AtomicUsize::new(0);
    let guess = |over: &AtomicBool| {
        static NTH: AtomicUsize = AtomicUsize::new(0);
        let mut connection = Connection::open(gateway.api());
        // A whole queue of checks may be before a guess.
        connection.stream.set_read_timeout(None).unwrap();
        while !over.load(Ordering::Relaxed) {
            let login = format!("acme:guess-{}", NTH.fetch_add(1, Ordering::Relaxed));
            let status = connection.exchange(get("/api/a.json").basic(&login)).status;
            assert!(matches!(status, 401 | 429 | 503), "{status}");
            guesses.fetch_add(1, Ordering::Relaxed);
        }
    };
    let turn = beside(CONNECTIONS, guess, || ask(gateway, LASTS));
    Turn { guesses: guesses.load(Ordering::Relaxed) as f64 / LASTS.as_secs_f64(), ..turn }
}

/// Keeps a core busy that anybody else may have at once.
fn burn(over: &AtomicBool) {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).unwrap();
    while !over.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

/// Measures while so many threads do something that ends when it's over.
fn beside(threads: usize, other: impl Fn(&AtomicBool) + Sync, measure: impl FnOnce() -> Turn) -> Turn {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| other(&over));
        }
        let turn = measure();
        over.store(true, Ordering::Relaxed);
        turn
    })
}
