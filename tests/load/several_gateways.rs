//! Several gateways on one SQLite file, some of which are killed or stand still meanwhile: what was removed passes in none of them, and what
//! was added is refused in none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::common::backend::Backend;
use crate::common::random::Random;
use crate::common::{Gateway, HOLDER, PATIENCE, api, binary, command, configured};

const GATEWAYS: usize = 3;
const CHECKERS: usize = 2 * GATEWAYS;
const LOGIN: &str = "wanderer:passw0rd-1";
const AT_LEAST: Duration = Duration::from_secs(3);
/// Removals, decisions of each kind, kills and stops that it takes to tell anything.
const TELLING: [u64; 5] = [8, 60, 60, 2, 2];

/// The state of the credential, as far as the answers to changes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Present,
    /// A change is under way, or was not answered with success.
    Unknown,
}

struct House {
    /// The address of each gateway that runs.
    addresses: Mutex<Vec<Option<SocketAddr>>>,
    /// The state, and the number of changes before it.
    state: Mutex<(u64, State)>,
    over: AtomicBool,
    passed: AtomicU64,
    denied: AtomicU64,
    kills: AtomicU64,
    stops: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl House {
    fn address(&self, nth: usize) -> Option<SocketAddr> {
        self.addresses.lock().unwrap()[nth]
    }

    fn set(&self, state: State) {
        let mut now = self.state.lock().unwrap();
        *now = (now.0 + 1, state);
    }

    /// Presents the credential to one gateway over and over. A state that holds from before a check until after it decides the result.
    fn check(&self, nth: usize) {
        while !self.over.load(Ordering::Relaxed) {
            let Some(address) = self.address(nth) else {
                std::thread::yield_now();
                continue;
            };
            let before = *self.state.lock().unwrap();
            let Some(status) = ask(address, "GET /api/a.json", LOGIN, "") else { continue };
            if *self.state.lock().unwrap() != before {
                continue;
            }
            match (before.1, status) {
                (State::Absent, 401) => drop(self.denied.fetch_add(1, Ordering::Relaxed)),
                (State::Present, 200) => drop(self.passed.fetch_add(1, Ordering::Relaxed)),
                // It is too busy.
                (State::Unknown, _) | (_, 503) => {}
                other => {
                    self.wrong.lock().unwrap().push(format!("gateway {nth}: {other:?} after {before:?}"))
                }
            }
        }
    }

    /// Kills one gateway after the other, or lets it stand still.
    fn disturb(&self, gateways: &mut [Gateway], random: &mut Random) {
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(random.below(600)));
            let nth = random.below(GATEWAYS as u64) as usize;
            if random.below(2) == 0 {
                self.kills.fetch_add(1, Ordering::Relaxed);
                self.addresses.lock().unwrap()[nth] = None;
                gateways[nth].kill();
                gateways[nth].restart();
                self.addresses.lock().unwrap()[nth] = Some(gateways[nth].api());
            } else {
                self.stops.fetch_add(1, Ordering::Relaxed);
                gateways[nth].signal("STOP");
                std::thread::sleep(Duration::from_millis(random.below(300)));
                gateways[nth].signal("CONT");
            }
        }
    }

    /// Returns true if enough has happened, with so many removals.
    fn tells(&self, removed: u64) -> bool {
        let [passed, denied, kills, stops] =
            [&self.passed, &self.denied, &self.kills, &self.stops].map(|count| count.load(Ordering::Relaxed));
        [removed, passed, denied, kills, stops].iter().zip(TELLING).all(|(count, least)| *count >= least)
    }

    /// Adds or removes the credential by a gateway or by the command line. Returns true if that was answered with success.
    fn change(&self, config: &Path, random: &mut Random, removes: bool) -> bool {
        let nth = random.below(GATEWAYS as u64 + 1) as usize;
        let address = if nth < GATEWAYS { self.address(nth) } else { None };
        let (name, password) = LOGIN.split_once(':').unwrap();
        let Some(address) = address else {
            let output = match removes {
                true => command(config, &["credential", "remove", "--account", "acme", name], ""),
                false => {
                    let add = [
                        "credential",
                        "add",
                        "--account",
                        "acme",
                        name,
                        "--permissions",
                        "api",
                        "--password-stdin",
                    ];
                    command(config, &add, password)
                }
            };
            return output.status.success();
        };
        let (path, body) = match removes {
            true => ("remove", format!("username={name}")),
            false => ("add", format!("username={name}&password={password}&permissions=%7B%22api%22%3A1%7D")),
        };
        ask(address, &format!("POST /api/credentials/{path}.json"), HOLDER, &body) == Some(200)
    }
}

/// The status of a request; `None` if the connection fails.
fn ask(address: SocketAddr, line: &str, login: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
        STANDARD.encode(login),
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

/// Gateways on one database, with the account of [`HOLDER`].
fn together(backend: &Backend, count: usize) -> Vec<Gateway> {
    let rest = format!("[auth]\nbcrypt_cost = 4\nthrottle = false\n{}", api(backend.address));
    let first = Gateway::start(&rest);
    first.account("email,api,web");
    let url = |directory: &Path| format!("sqlite://{}/gatepost.db", directory.display());
    let shared = url(first.directory.path());
    let beside = |_| {
        let directory = configured(&rest);
        let file = directory.path().join("gatepost.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(&url(directory.path()), &shared)).unwrap();
        Gateway::start_by(directory, Command::new(binary()))
    };
    let others: Vec<_> = (1..count).map(beside).collect();
    std::iter::once(first).chain(others).collect()
}

#[test]
fn what_was_removed_passes_in_no_gateway_whatever_happens_to_some() {
    let backend = Backend::hello();
    let mut gateways = together(&backend, GATEWAYS);
    let config = gateways[0].config();

    let house = House {
        addresses: Mutex::new(gateways.iter().map(|gateway| Some(gateway.api())).collect()),
        state: Mutex::new((0, State::Absent)),
        over: AtomicBool::new(false),
        passed: AtomicU64::new(0),
        denied: AtomicU64::new(0),
        kills: AtomicU64::new(0),
        stops: AtomicU64::new(0),
        wrong: Mutex::default(),
    };
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let (mut removed, mut unknown, mut removes) = (0, 0, false);
    std::thread::scope(|scope| {
        for checker in 0..CHECKERS {
            let house = &house;
            scope.spawn(move || house.check(checker % GATEWAYS));
        }
        scope.spawn(|| house.disturb(&mut gateways, &mut Random::new(!seed)));
        let (mut random, began) = (Random::new(seed), Instant::now());
        while began.elapsed() < AT_LEAST || !house.tells(removed) && began.elapsed() < 4 * PATIENCE {
            house.set(State::Unknown);
            match house.change(&config, &mut random, removes) {
                true => {
                    house.set(if removes { State::Absent } else { State::Present });
                    removed += u64::from(removes);
                    removes = !removes;
                    // Long enough for some checks in this state.
                    std::thread::sleep(Duration::from_millis(random.below(60)));
                }
                // It may have been made, or not.
                false => {
                    unknown += 1;
                    removes = !removes;
                }
            }
        }
        house.over.store(true, Ordering::Relaxed);
    });
    println!(
        "{removed} removed, {unknown} changes without success, {:?} kills, {:?} stops, {:?} passed, {:?} denied",
        house.kills, house.stops, house.passed, house.denied
    );
    assert!(house.tells(removed), "too little happened to tell anything");
    let wrong = house.wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} wrong decisions, the first: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
}

// A gateway stands still and cannot confirm. That nothing is left to remove is answered only once that is true in it as well.
#[test]
fn a_removal_that_is_repeated_is_not_answered_before_it_is_in_effect() {
    let backend = Backend::hello();
    let gateways = together(&backend, 2);
    let (config, [one, other]) = (gateways[0].config(), [&gateways[0], &gateways[1]].map(Gateway::api));
    let remove = || ask(one, "POST /api/credentials/remove.json", HOLDER, "username=wanderer");
    let remove_by_command = || {
        let remove = ["credential", "remove", "--account", "acme", "wanderer"];
        String::from_utf8(command(&config, &remove, "").stderr).unwrap()
    };
    let check = || ask(other, "GET /api/a.json", LOGIN, "");
    gateways[0].credential(LOGIN, "api");
    assert_eq!(check(), Some(200));
    gateways[1].signal("STOP");
    // The second call finds nothing to remove.
    std::thread::scope(|scope| {
        let calls = [0, 1].map(|_| scope.spawn(remove));
        let commands = [0, 1].map(|_| scope.spawn(remove_by_command));
        for call in calls {
            assert_eq!(call.join().unwrap(), Some(503));
        }
        for command in commands {
            let text = command.join().unwrap();
            assert!(!text.contains("no such") && text.contains("not confirmed"), "{text}");
        }
    });
    gateways[1].signal("CONT");
    assert_eq!(remove(), Some(404));
    assert_eq!(check(), Some(401));
}
