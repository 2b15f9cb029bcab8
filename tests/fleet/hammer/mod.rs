//! Three gateways and one PostgreSQL under faults: credentials are checked without pause while they are revoked and granted again, and
//! no check that began after the answer to a revocation passes.

mod checks;
mod faults;
mod network;
mod nodes;
mod revocations;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::checks::{Subject, Tally, check};
use self::faults::{Fault, Faults};
use self::nodes::{HOLDER_PASSWORD, NODES, Nodes, repeat};
use self::revocations::{Answers, Workplace, new_password};
use crate::common::accounts::add_account;
use crate::common::fake_clock::FakeClock;
use crate::common::postgres::PostgresServer;
use crate::common::random::Random;

/// The numbers of checks that passed, and of those of revoked credentials, from which on a run tells something.
const TELLING: [u64; 2] = [1_000, 300];

/// The size of a run.
struct Size {
    accounts: usize,
    credentials: usize,
    checkers: usize,
    workers: usize,
    lease: Duration,
    faults: &'static [Fault],
    rounds: u32,
    pause: Duration,
    /// The run lasts until so many revocations were answered, at least.
    revocations: u64,
}

/// A part of all, quick enough for each run of the tests.
#[test]
fn no_check_passes_after_its_revocation_was_answered() {
    let size = Size {
        accounts: 4,
        credentials: 40,
        checkers: 1,
        workers: 3,
        lease: Duration::from_secs(1),
        faults: &Fault::QUICK,
        rounds: 1,
        pause: Duration::from_millis(500),
        revocations: 100,
    };
    hammer(&size, 1);
}

/// All of it: `make hammer`.
#[test]
#[ignore = "takes a quarter of an hour"]
fn five_thousand_revocations_under_all_faults() {
    let size = Size {
        accounts: 10,
        credentials: 200,
        checkers: 2,
        workers: 5,
        lease: Duration::from_secs(1),
        faults: &Fault::ALL,
        rounds: 8,
        pause: Duration::from_secs(2),
        revocations: 5_000,
    };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    hammer(&size, seed);
}

fn hammer(size: &Size, seed: u64) {
    let clock = FakeClock::new();
    let server = PostgresServer::start_with(&[("max_connections", "60")], &clock.environment());
    let pool = server.address();
    let nodes = Nodes::start(server, pool, "");
    let subjects = subjects(&nodes, size, seed);
    let lease = format!("{}ms", size.lease.as_millis());
    let output = nodes.nodes[0].command(&["cluster", "lease", &lease], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (tally, answers, stop) = (Tally::default(), Answers::default(), AtomicBool::new(false));
    let accounts: Vec<Mutex<()>> = (0..size.accounts).map(|_| Mutex::default()).collect();
    let began = Instant::now();
    let workplace = Workplace {
        nodes: &nodes,
        subjects: &subjects,
        accounts: &accounts,
        answers: &answers,
        began,
        stop: &stop,
    };
    std::thread::scope(|scope| {
        let stopping = StopAtEnd(&stop);
        let (nodes, subjects, tally, answers, stop) = (&nodes, &subjects, &tally, &answers, &stop);
        for node in 0..NODES {
            for checker in 0..size.checkers {
                let seed = seed + (node * 100 + checker) as u64;
                scope.spawn(move || check(nodes, node, subjects, tally, began, stop, seed));
            }
        }
        let workers: Vec<_> = (0..size.workers as u64)
            .map(|worker| {
                let workplace = &workplace;
                scope.spawn(move || {
                    let _stopping = StopAtEnd(stop);
                    workplace.work(seed + 10_000 + worker);
                })
            })
            .collect();
        let faults = Faults { nodes, lease: size.lease, clock: &clock, tally };
        faults.happen(size.faults, size.rounds, size.pause, seed, stop);
        // A busy machine takes longer until enough has happened.
        let is_enough = || {
            answers.revocations.load(Ordering::Relaxed) >= size.revocations
                && tally.passed.load(Ordering::Relaxed) > TELLING[0]
                && tally.of_revoked.load(Ordering::Relaxed) > TELLING[1]
        };
        while !is_enough() && !stop.load(Ordering::Relaxed) {
            faults.happen(size.faults, 1, size.pause, seed, stop);
        }
        drop(stopping);
        for worker in workers {
            worker.join().unwrap();
        }
    });
    nobody_passes_after_truncate(&nodes, &subjects);
    report(&tally, &answers, began.elapsed());
}

/// Stops all others when it is dropped, also by a panic.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes the accounts and credentials.
fn subjects(nodes: &Nodes, size: &Size, seed: u64) -> Vec<Subject> {
    let mut random = Random::new(seed);
    let config = nodes.nodes[0].config();
    for account in 0..size.accounts {
        add_account(config, &format!("account{account}"), HOLDER_PASSWORD, "email,api,web");
    }
    let each = size.credentials / size.accounts;
    (0..size.credentials)
        .map(|number| {
            let (account, name) = (format!("account{}", number / each), format!("credential{number}"));
            let password = new_password(&mut random);
            let parameters = format!("username={name}&password={password}");
            repeat("adding a credential", || match nodes.nodes[0].manage(&account, "add", &parameters) {
                Some(answer) if answer.status == 200 => Ok(()),
                answer => Err(format!("{:?}", answer.map(|answer| (answer.status, answer.text())))),
            });
            let subject = Subject::new(account, name, password);
            subject.is_granted(Instant::now());
            subject
        })
        .collect()
}

/// Empties the tables with psql, which no trigger for rows sees.
fn nobody_passes_after_truncate(nodes: &Nodes, subjects: &[Subject]) {
    repeat("TRUNCATE", || nodes.psql("TRUNCATE principal CASCADE").map(drop));
    repeat("CALL gatepost_settle()", || nodes.psql("CALL gatepost_settle()").map(drop));
    for subject in subjects {
        for node in &nodes.nodes {
            let login = format!("{}:{}", subject.name, subject.password.read().unwrap());
            let request = crate::common::http::get("/checked").basic(&login);
            let answer = checks::exchange(node.address().unwrap(), &request.bytes());
            let status = answer.map(|answer| answer.status);
            assert!(matches!(status, Some(401 | 503)), "{}: {status:?} after TRUNCATE", subject.name);
        }
    }
}

fn report(tally: &Tally, answers: &Answers, took: Duration) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut micros = answers.micros.lock().unwrap().clone();
    micros.sort_unstable();
    let quantile = |share: f64| {
        let place = ((micros.len() as f64 * share) as usize).min(micros.len().saturating_sub(1));
        micros.get(place).map_or(0.0, |micros| *micros as f64 / 1000.0)
    };
    let (passed, of_revoked) = (count(&tally.passed), count(&tally.of_revoked));
    println!(
        "{} s: {} revocations, {} calls repeated after a 503; at their first call: p50 {:.1} ms, p99 {:.1} ms",
        took.as_secs(),
        count(&answers.revocations),
        count(&answers.repeated),
        quantile(0.5),
        quantile(0.99),
    );
    println!(
        "checks: {passed} passed, {} refused, {} times 503, {} without an answer; {of_revoked} of revoked credentials, {} of which passed",
        count(&tally.refused),
        count(&tally.unavailable),
        count(&tally.unanswered),
        count(&tally.violations),
    );
    assert_eq!(count(&tally.violations), 0, "a check passed after its revocation was answered");
    assert_eq!(count(&tally.wrongly_refused), 0, "a check was refused long after its credential was added");
    // Neither does nobody get in, nor was nothing revoked.
    let is_telling = passed > TELLING[0] && of_revoked > TELLING[1];
    assert!(is_telling, "{passed} passed, {of_revoked} of revoked credentials");
}
