//! A seeded simulation of nodes, a database and a network: the real state machines in simulated time.
//!
//! Safety under any faults: no check that begins after a revocation was answered with success passes on the old state. Liveness
//! once the faults have ended. The same seed gives the same trace.

mod behaviour;
mod database;
mod faults;
mod node;
mod outcome;
mod world;

use std::ops::Range;
use std::time::Duration;

use self::outcome::Outcome;
use self::world::{Deviation, Size, World};

/// The seeds of each run of the tests.
const SEEDS: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;

const FAULTY: Size = Size {
    nodes: 3,
    lease: Duration::from_millis(600),
    duration: Duration::from_secs(10),
    change_interval: Duration::from_millis(150),
    check_interval: Duration::from_millis(8),
    fault_interval: Some(Duration::from_millis(400)),
    crashes: 0,
    plain_changes: 5,
    flush: Duration::from_millis(3),
};

/// Runs a world with faults.
fn run(seed: u64, size: Size, deviation: Deviation) -> World {
    let mut world = World::new(seed, size, deviation);
    world.run_until(size.duration.as_nanos() as u64);
    world
}

/// Runs a world with faults, and then without, until everything must be well. Returns the number of revocations in bad times.
/// Panics if not everything is well.
fn run_to_health(seed: u64, size: Size) -> (World, u64) {
    let mut world = run(seed, size, Deviation::None);
    assert_eq!(world.outcome.violation, None, "seed {seed}");
    world.end_faults();
    let lease = size.lease.as_nanos() as u64;
    let calm = world.now + 12 * lease;
    world.run_until(calm);
    let database = &world.databases[world.primary];
    assert_eq!(database.rows().count(), size.nodes, "seed {seed}: {:?}", database.rows().collect::<Vec<_>>());
    for (place, process) in world.processes[..size.nodes].iter().enumerate() {
        assert!(process.has_trust(world.now), "seed {seed}: node {place} has no trust");
    }
    // From now on, each revocation takes milliseconds.
    let answered = std::mem::take(&mut world.outcome.answered).values().map(Vec::len).sum::<usize>() as u64;
    world.run_until(calm + 3 * SECOND);
    assert_eq!(world.outcome.violation, None, "seed {seed}");
    for reason in world.outcome.answered.keys() {
        assert!(
            ["acknowledgements", "nothing"].contains(reason),
            "seed {seed}: {:?}",
            world.outcome.answered
        );
    }
    let slowest = world.outcome.quantile(1.0);
    assert!(slowest < 100.0, "seed {seed}: {slowest} ms");
    assert!(!world.outcome.answered.is_empty(), "seed {seed}");
    (world, answered)
}

/// Adds up what several threads found over these seeds.
fn run_all(seeds: Range<u64>) -> (Outcome, u64) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let (mut checks, mut answered) = (Outcome::new(0), 0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let seeds = seeds.clone();
                scope.spawn(move || {
                    let mut sum = (0, 0, 0, 0);
                    for seed in seeds.filter(|seed| seed % threads == thread) {
                        let (world, answered) = run_to_health(seed, FAULTY);
                        sum.0 += world.outcome.events;
                        sum.1 += world.outcome.decided;
                        sum.2 += world.outcome.undecided;
                        sum.3 += answered;
                    }
                    sum
                })
            })
            .collect();
        for worker in workers {
            let (events, decided, undecided, revocations) = worker.join().unwrap();
            checks.events += events;
            checks.decided += decided;
            checks.undecided += undecided;
            answered += revocations;
        }
    });
    (checks, answered)
}

#[test]
fn no_seed_breaks_the_promise_and_all_become_healthy() {
    let (sum, answered) = run_all(0..SEEDS);
    println!(
        "{SEEDS} seeds: {} events, {} checks decided and {} not, {answered} revocations",
        sum.events, sum.decided, sum.undecided
    );
    // Neither does a world decide nothing, nor is it free of faults.
    assert!(sum.decided > sum.undecided && sum.undecided > 1000 && answered > 10 * SEEDS);
}

/// `cargo test --release --test fleet simulation::a_hundred_thousand_seeds -- --ignored --nocapture`
#[test]
#[ignore = "takes many minutes"]
fn a_hundred_thousand_seeds() {
    let (sum, answered) = run_all(0..100_000);
    println!("{} events, {} checks decided, {answered} revocations", sum.events, sum.decided);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..5 {
        let (first, second) = (run(seed, FAULTY, Deviation::None), run(seed, FAULTY, Deviation::None));
        assert_eq!((first.trace(), first.outcome.events), (second.trace(), second.outcome.events));
        assert_ne!(first.trace(), run(seed + 1_000, FAULTY, Deviation::None).trace());
    }
}

#[test]
fn each_rule_that_is_left_out_is_noticed() {
    // A crash gives out a number again if it loses a change that another tool made.
    let crashing = Size {
        crashes: 80,
        plain_changes: 50,
        change_interval: Duration::from_millis(30),
        fault_interval: Some(Duration::from_millis(100)),
        ..FAULTY
    };
    for deviation in [
        Deviation::NoWait,
        Deviation::ShortWait,
        Deviation::TrustFromReply,
        Deviation::BellExtendsTrust,
        Deviation::NoTokens,
        Deviation::NoLowestNumber,
        Deviation::NoGrace,
        Deviation::OwnChangeSetsNoLimit,
        Deviation::OwnChangeSetsEra,
        Deviation::OwnCacheKeepsWhatIsSettled,
    ] {
        let size = if deviation == Deviation::NoTokens { crashing } else { FAULTY };
        let found = (0..1_000).find(|seed| run(*seed, size, deviation).outcome.violation.is_some());
        println!("{deviation:?}: seed {found:?}");
        assert!(
            found.is_some(),
            "{deviation:?} breaks no promise in 1,000 seeds: the simulation is blind to it"
        );
    }
}

#[test]
fn a_hundred_nodes_take_167_revocations_a_second() {
    let size = Size {
        nodes: 100,
        lease: Duration::from_secs(3),
        duration: Duration::from_secs(15),
        change_interval: Duration::from_micros(5_988),
        check_interval: Duration::from_millis(2),
        fault_interval: None,
        crashes: 0,
        plain_changes: 0,
        flush: Duration::from_millis(3),
    };
    let mut world = World::new(1, size, Deviation::None);
    // The era is settled, and every node is there.
    world.run_until(5 * SECOND);
    let before = world.outcome.clone();
    world.outcome.answered.clear();
    world.run_until(5 * SECOND + size.duration.as_nanos() as u64);
    let outcome = &world.outcome;
    assert_eq!(outcome.violation, None);
    let seconds = size.duration.as_secs();
    let count: usize = outcome.answered.values().map(Vec::len).sum();
    println!(
        "{count} revocations in {seconds} s: p50 {:.1} ms, p99 {:.1} ms, p100 {:.1} ms; {} messages/s, {} doorbells/s; {:?}",
        outcome.quantile(0.5),
        outcome.quantile(0.99),
        outcome.quantile(1.0),
        (outcome.messages - before.messages) / seconds,
        (outcome.doorbells - before.doorbells) / seconds,
        outcome.answered.iter().map(|(reason, waits)| (*reason, waits.len())).collect::<Vec<_>>(),
    );
    assert!(count > 2_000);
    assert!(outcome.answered.keys().all(|reason| ["acknowledgements", "nothing"].contains(reason)));
    assert!(outcome.quantile(0.99) < 200.0);
}
