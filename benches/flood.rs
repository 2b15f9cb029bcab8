//! How long a verified credential waits while 200 connections guess passwords at bcrypt cost 10: `cargo bench --bench
//! flood`. Prints quantiles in quiet and in the flood, with the throttle and without.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::backend::Backend;
use common::http::{Connection, get};
use common::{Gateway, HOLDER, api};

const CONNECTIONS: usize = 200;
/// How long the verified credential asks, one request after the other.
const LASTS: Duration = Duration::from_secs(6);

fn main() {
    // `cargo test --all-targets` runs benches as well, with this argument missing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    common::allow_descriptors(4096);
    println!("{:<10} {:>9} {:>9} {:>9} {:>9} {:>12}", "throttle", "", "p50", "p99", "p99.9", "guesses/s");
    for throttle in [true, false] {
        measure(throttle);
    }
}

fn measure(throttle: bool) {
    let backend = Backend::hello();
    let gateway =
        Gateway::start(&format!("[auth]\nbcrypt_cost = 10\nthrottle = {throttle}\n{}", api(backend.address)));
    gateway.account("email,api,web");
    assert_eq!(get("/api/a.json").basic(HOLDER).send(gateway.api()).status, 200);
    let over = AtomicBool::new(false);
    let guesses = AtomicUsize::new(0);
    ask(&gateway, LASTS / 6);
    show(throttle, "quiet", ask(&gateway, LASTS), 0.0);
    std::thread::scope(|scope| {
        for guesser in 0..CONNECTIONS {
            let (gateway, over, guesses) = (&gateway, &over, &guesses);
            scope.spawn(move || {
                let mut connection = Connection::open(gateway.api());
                // A whole queue of checks may be before a guess.
                connection.stream.set_read_timeout(None).unwrap();
                for guess in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let login = format!("acme:guess-{guesser}-{guess}");
                    let status = connection.exchange(get("/api/a.json").basic(&login)).status;
                    assert!(matches!(status, 401 | 429 | 503), "{status}");
                    guesses.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let started = Instant::now();
        let times = ask(&gateway, LASTS);
        let rate = guesses.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        show(throttle, "flood", times, rate);
    });
}

/// The times of requests with the verified credential.
fn ask(gateway: &Gateway, lasts: Duration) -> Vec<Duration> {
    let mut connection = Connection::open(gateway.api());
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < lasts {
        let started = Instant::now();
        assert_eq!(connection.exchange(get("/api/a.json").basic(HOLDER)).status, 200);
        times.push(started.elapsed());
    }
    times.sort();
    times
}

fn show(throttle: bool, when: &str, times: Vec<Duration>, guesses: f64) {
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let throttle = if throttle { "on" } else { "off" };
    println!(
        "{throttle:<10} {when:>9} {:>7.2}ms {:>7.2}ms {:>7.2}ms {guesses:>12.0}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}
