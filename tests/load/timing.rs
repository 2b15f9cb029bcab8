//! The time of refused logins: a rank test finds no difference between a wrong password, an unknown username, a suspended account
//! and, over SMTP, a right password without `email`.
//!
//! The classes are asked in turns, in a random order each round, so that load of the machine affects all alike. Of each class, 300
//! times are compared with those of each other class (Mann–Whitney, normal approximation). A pair counts as different at p ≤ 0.001.
//! Among the pairs of a group that happens by chance once in a hundred groups, so a group with such a pair is measured once more: only
//! the same pair, different twice, is a failure, which happens by chance once in 20,000 runs.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::accounts::{add_account, add_credential};
use crate::common::backend::Backend;
use crate::common::database::{Other, file_of};
use crate::common::mail::section;
use crate::common::sink::{Settings, Sink};
use crate::common::{Gateway, api};
use crate::door::{Door, Doors};

const SAMPLES: usize = 300;
const BOUND: f64 = 0.001;
/// As many usernames of each class: for two measurements of each group.
const NAMES: usize = 2 * SAMPLES;
const COST: u32 = 6;
const RIGHT: &str = "passw0rd-0";

/// Addresses that are throttled, and ask at the same time.
const THROTTLED: usize = 100;

/// Times by class.
type Times = Vec<(&'static str, Vec<Duration>)>;

struct Site {
    _gateway: Gateway,
    doors: Doors,
    _backend: Backend,
    _sink: Sink,
    next: AtomicUsize,
}

/// Usernames in the database: `plain` with all permissions, `quiet` and `used` without `email`, `asleep` of a suspended account; each
/// with the password [`RIGHT`].
fn site() -> Site {
    crate::common::allow_descriptors(4096);
    let (backend, sink) = (Backend::hello(), Sink::start(Settings::default()));
    let smtp = section(&[sink.url()], "proxy_protocol = true\nmax_connections_per_source = 1000");
    let gateway = Gateway::start(&format!(
        "[auth]\nbcrypt_cost = {COST}\n\
         [server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.1\"]\nmax_connections_per_source = 1000\n{}{smtp}",
        api(backend.address)
    ));
    gateway.account("email,api,web").credential(&format!("model:{RIGHT}"), "email,api,web");
    add_account(&gateway.config(), "asleep", "holder-passw0rd", "email,api,web");
    add_credential(&gateway.config(), "asleep", "model-asleep", RIGHT, "email,api,web");
    assert!(gateway.command(&["account", "suspend", "asleep"], "").status.success());
    // Of their own, since checks of one hash at the same time would be one.
    let hashes: Vec<String> = (0..NAMES).map(|_| bcrypt::hash(RIGHT, COST).unwrap()).collect();
    let file = gateway.directory.path().join("hashes");
    std::fs::write(&file, hashes.join("\n")).unwrap();
    let copies = |name: &str, model: &str, bits: u8| {
        format!(
            "db.executemany(\"INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
             SELECT account_id, '{name}-' || ?, ?, {bits}, 0, 0 FROM principal WHERE name = '{model}'\", \
             enumerate(open('{}').read().split()))\n",
            file.display()
        )
    };
    let script = [
        "db.execute('BEGIN')\n".into(),
        copies("plain", "model", 7),
        copies("quiet", "model", 6),
        copies("used", "model", 6),
        copies("asleep", "model-asleep", 7),
        "db.execute('COMMIT')\nsay()".into(),
    ]
    .concat();
    Other::run(&file_of(&gateway), &script).end();
    let doors = Doors { http: gateway.api(), smtp: gateway.address("smtp.listen") };
    Site { _gateway: gateway, doors, _backend: backend, _sink: sink, next: AtomicUsize::new(0) }
}

impl Site {
    /// A number that was not given out before.
    fn number(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// An address that was not used before, in a network of its own.
    fn address(&self) -> String {
        let n = self.number();
        format!("10.{}.{}.1", n >> 8 & 0xff, n & 0xff)
    }
}

/// Asks in rounds from `sources` addresses at once: `ask` gets the number of the address, of the sample, and of the class.
fn in_turns(
    sources: usize,
    classes: &[&'static str],
    ask: impl Fn(usize, usize, usize) -> Vec<Duration> + Sync,
) -> Vec<Times> {
    let all: Mutex<Vec<Times>> = Mutex::default();
    std::thread::scope(|scope| {
        for source in 0..sources {
            let (all, ask) = (&all, &ask);
            scope.spawn(move || {
                let mut seed = source as u64;
                for round in 0..SAMPLES / sources {
                    let mut order: Vec<usize> = (0..classes.len()).collect();
                    for last in (1..order.len()).rev() {
                        order.swap(last, (random(&mut seed) % (last as u64 + 1)) as usize);
                    }
                    for class in order {
                        let times = ask(source, source * (SAMPLES / sources) + round, class);
                        let mut all = all.lock().unwrap();
                        for (group, time) in times.into_iter().enumerate() {
                            if all.len() <= group {
                                all.push(classes.iter().map(|class| (*class, Vec::new())).collect());
                            }
                            all[group][class].1.push(time);
                        }
                    }
                }
            });
        }
    });
    all.into_inner().unwrap()
}

/// The next number of SplitMix64, whose seeds may be consecutive.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ *seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The probability that two samples of one distribution differ as much as these in the sum of their ranks.
fn mann_whitney(one: &[Duration], other: &[Duration]) -> f64 {
    let mut all: Vec<(Duration, bool)> = one.iter().map(|time| (*time, true)).collect();
    all.extend(other.iter().map(|time| (*time, false)));
    all.sort();
    let ranks: f64 = (1..).zip(&all).filter(|(_, (_, first))| *first).map(|(rank, _)| f64::from(rank)).sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    let z = (u - n * m / 2.0).abs() / (n * m * (n + m + 1.0) / 12.0).sqrt();
    // Twice the upper tail of the normal distribution (Abramowitz and Stegun 7.1.26, with an error below 2e-7).
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let sum = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    sum.into_iter().fold(0.0, |sum, factor| (sum + factor) * t) * (-x * x).exp()
}

/// The pairs of classes that differ. Prints the figures.
fn differences(group: &str, times: &Times) -> BTreeSet<(&'static str, &'static str)> {
    let mut different = BTreeSet::new();
    for (nth, (one, first)) in times.iter().enumerate() {
        let mut sorted = first.clone();
        sorted.sort();
        println!("{group}: {one}: median {:?}, n = {}", sorted[sorted.len() / 2], sorted.len());
        for (other, second) in &times[nth + 1..] {
            let p = mann_whitney(first, second);
            println!("{group}: {one} / {other}: p = {p:.4}");
            if p <= BOUND {
                different.insert((*one, *other));
            }
        }
    }
    different
}

/// Measures groups of classes, and once more if any pair differs: no pair may differ twice.
fn alike(groups: &[&str], measure: impl Fn() -> Vec<Times>) {
    let different = || -> Vec<_> {
        groups.iter().zip(measure()).map(|(group, times)| differences(group, &times)).collect()
    };
    let first = different();
    if first.iter().all(BTreeSet::is_empty) {
        return;
    }
    for (group, (first, again)) in groups.iter().zip(first.iter().zip(different())) {
        let twice: Vec<_> = first.intersection(&again).collect();
        assert!(twice.is_empty(), "{group}: the time tells {twice:?} apart");
    }
}

// Case D15: over SMTP, a right password without `email`. Case F6: each of the others. From addresses that are not throttled, the first time and repeated.
#[test]
fn the_time_of_a_refused_login_tells_nothing() {
    let site = site();
    let classes = ["wrong", "unknown", "suspended", "without email", "without email, used by API"];
    let measurements = AtomicUsize::new(0);
    alike(&["SMTP, fresh", "SMTP, repeated"], || {
        // No name twice, since a wrong password is remembered.
        let first = measurements.fetch_add(SAMPLES, Ordering::Relaxed);
        for n in first..first + SAMPLES {
            let login = format!("used-{n}:{RIGHT}");
            assert_eq!(site.doors.login(Door::Http, &site.address(), &login).0, 200);
        }
        in_turns(30, &classes, |_, nth, class| {
            let (n, from) = (first + nth, site.address());
            let login = match class {
                0 => format!("plain-{n}:wrong-passw0rd"),
                1 => format!("nobody-{n}:{RIGHT}"),
                2 => format!("asleep-{n}:{RIGHT}"),
                3 => format!("quiet-{n}:{RIGHT}"),
                _ => format!("used-{n}:{RIGHT}"),
            };
            let ask = || {
                let (code, time) = site.doors.login(Door::Smtp, &from, &login);
                assert_eq!(code, 535, "{login}");
                time
            };
            vec![ask(), ask()]
        })
    });
    // Some at once, the first one of a username that logged in from there before. They wait for each other briefly: that a wrong secret for
    // such a username passes nobody by where the wait is long is shown where the passing is, in `state::hashing`.
    let classes = ["known", "wrong", "unknown", "suspended"];
    alike(&["HTTP, fresh"], || {
        let known: Vec<(String, usize)> = (0..SAMPLES).map(|n| (site.address(), n)).collect();
        for (from, n) in &known {
            assert_eq!(site.doors.login(Door::Http, from, &format!("plain-{n}:{RIGHT}")).0, 200);
        }
        in_turns(6, &classes, |_, nth, class| {
            let n = site.number();
            let (from, login) = match class {
                0 => (known[nth].0.clone(), format!("plain-{}:guess-{n}", known[nth].1)),
                1 => (site.address(), format!("plain-{}:guess-{n}", n % NAMES)),
                2 => (site.address(), format!("stranger-{n}:{RIGHT}")),
                _ => (site.address(), format!("asleep-{}:guess-{n}", n % NAMES)),
            };
            let (code, time) = site.doors.login(Door::Http, &from, &login);
            assert_eq!(code, 401, "{login}");
            vec![time]
        })
    });
}

/// Fails from an address until its delay is a second and more.
fn throttle(site: &Site, from: &str) {
    let mut throttled = Duration::ZERO;
    while throttled < Duration::from_secs(1) {
        let guess = format!("stranger-{}:passw0rd", site.number());
        let (code, time) = site.doors.login(Door::Http, from, &guess);
        if code == 429 {
            throttled = time;
        }
    }
}

// Case D15: over SMTP, a right password without `email`. Case F6: each of the others. From addresses that are throttled, also for a username that logged in there before.
#[test]
fn to_a_throttled_source_no_time_tells_of_a_name() {
    let site = site();
    for (door, refusal, groups) in
        [(Door::Http, 429, ["HTTP, throttled"]), (Door::Smtp, 454, ["SMTP, throttled"])]
    {
        let sources: Vec<(String, String)> =
            (0..THROTTLED).map(|_| (site.address(), format!("plain-{}", site.number() % NAMES))).collect();
        std::thread::scope(|scope| {
            for (from, owner) in &sources {
                let site = &site;
                scope.spawn(move || {
                    assert_eq!(site.doors.login(Door::Http, from, &format!("{owner}:{RIGHT}")).0, 200);
                    throttle(site, from);
                });
            }
        });
        let classes = ["known", "wrong", "unknown", "suspended", "without email"];
        // Over HTTP, a right password that may do nothing with the API is not like a wrong one.
        let classes = if door == Door::Http { &classes[..4] } else { &classes[..] };
        alike(&groups, || {
            in_turns(THROTTLED, classes, |source, _, class| {
                let (from, owner) = &sources[source];
                loop {
                    let n = site.number();
                    let login = match class {
                        0 => format!("{owner}:guess-{n}"),
                        1 => format!("plain-{}:guess-{n}", n % NAMES),
                        2 => format!("stranger-{n}:{RIGHT}"),
                        3 => format!("asleep-{}:{RIGHT}", n % NAMES),
                        _ => format!("quiet-{}:{RIGHT}", n % NAMES),
                    };
                    match site.doors.login(door, from, &login) {
                        (code, time) if code == refusal => return vec![time],
                        // The slot of the source, which any of them may meet.
                        (code, _) => assert!(code == 401 || code == 535, "{login}: {code}"),
                    }
                }
            })
        });
    }
}

#[test]
fn the_rank_test_sees_what_differs() {
    let times = |offset: u64| -> Vec<Duration> {
        (0..SAMPLES as u64).map(|n| Duration::from_micros(n * 7_919 % 1_000 + offset)).collect()
    };
    assert!(mann_whitney(&times(0), &times(0)) > 0.9);
    assert!(mann_whitney(&times(0), &times(10)) > BOUND);
    assert!(mann_whitney(&times(0), &times(200)) < BOUND);
    assert!(mann_whitney(&times(500), &times(0)) < BOUND);
}
