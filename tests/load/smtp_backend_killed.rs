//! A backend that is a process of its own, and refuses some of what it is given, is killed with `kill -9` at each stage of a
//! transaction and started again, while clients submit: what a client saw accepted is in the backend's record, and what it saw
//! refused isn't.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::common::mail::{Client, JOE, smtp};
use crate::common::relay::{At, Fate, Part, Point, Relay, STAGES};
use crate::common::{Gateway, PATIENCE};

const CLIENTS: usize = 6;
/// The number of times that the backend is killed at each stage.
const EACH: usize = 3;

struct Backend {
    address: SocketAddr,
    record: PathBuf,
    process: Child,
}

impl Backend {
    fn start(address: SocketAddr, record: &Path) -> Backend {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/recording_sink.py");
        let process = Command::new("python3")
            .args([script, &address.ip().to_string(), &address.port().to_string()])
            .arg(record)
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        let backend = Backend { address, record: record.to_owned(), process };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < PATIENCE, "the backend doesn't listen");
            std::thread::yield_now();
        }
        backend
    }

    fn kill(&mut self) {
        // SIGKILL.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        *self = Backend::start(self.address, &self.record);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The results that the clients saw.
#[derive(Default)]
struct Seen {
    accepted: Mutex<BTreeSet<usize>>,
    refused: Mutex<BTreeSet<usize>>,
    open: AtomicUsize,
    next: AtomicUsize,
}

impl Seen {
    /// Submits message after message, while there are stages to be struck.
    fn submit(&self, address: SocketAddr, strikes: &Strikes, backend: &Mutex<Backend>) {
        let began = Instant::now();
        let mut client: Option<Client> = None;
        while !strikes.are_over() {
            assert!(began.elapsed() < 2 * PATIENCE, "not struck yet: {:?}", strikes.left.lock().unwrap());
            // Not while it is being killed and started again.
            drop(backend.lock().unwrap());
            let mut session = client.take().unwrap_or_else(|| Client::login(address, JOE));
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let sender = format!("{number}@example.com");
            let name = if number % 17 == 3 { "nobody" } else { "jane" };
            let content = format!("Subject: {number}\r\n\r\n{}\r\n", "x".repeat(900));
            match session.submit(&sender, &format!("{name}@example.net"), &content).code {
                250 => drop(self.accepted.lock().unwrap().insert(number)),
                500.. => drop(self.refused.lock().unwrap().insert(number)),
                _ => drop(self.open.fetch_add(1, Ordering::Relaxed)),
            }
            // After a refusal the session goes on, with a transaction to be forgotten.
            client = (session.say("RSET").code == 250).then_some(session);
        }
    }
}

/// The stages that remain to be struck, with counts.
struct Strikes {
    left: Mutex<BTreeMap<(Part, At), usize>>,
}

impl Strikes {
    fn new() -> Strikes {
        Strikes { left: Mutex::new(STAGES.map(|stage| (stage, EACH)).into()) }
    }

    fn are_over(&self) -> bool {
        self.left.lock().unwrap().is_empty()
    }

    /// Returns true if a transaction is struck at this point: every fourth is, at a stage of its own.
    fn take(&self, point: &Point) -> bool {
        let Some(mail) = &point.mail else { return false };
        let number: usize = mail.trim_start_matches('<').split('@').next().unwrap().parse().unwrap();
        let here = (point.part, point.at);
        if !number.is_multiple_of(4) || STAGES[number / 4 % STAGES.len()] != here {
            return false;
        }
        let mut left = self.left.lock().unwrap();
        let Some(count) = left.get_mut(&here) else { return false };
        *count -= 1;
        if *count == 0 {
            left.remove(&here);
        }
        true
    }
}

#[test]
fn what_was_accepted_outlives_the_backends_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record");
    // Nobody else uses this address, so that the port stays free between two lives of the backend.
    let free = TcpListener::bind("127.0.0.61:0").unwrap().local_addr().unwrap();
    let backend = Arc::new(Mutex::new(Backend::start(free, &record)));
    let strikes = Arc::new(Strikes::new());
    let (meant, killed) = (strikes.clone(), backend.clone());
    // The network only tells where a transaction is. What was on its way when the backend died arrives.
    let relay = Relay::start(free, move |_, point| {
        if meant.take(point) {
            let mut backend = killed.lock().unwrap();
            backend.kill();
            backend.restart();
        }
        Fate::Goes
    });
    let gateway = Gateway::start(&smtp(
        &[relay.address],
        "health_interval = \"50ms\"\nmax_errors = 1000000\nmax_messages = 1000000",
    ));
    gateway.account("email").credential(JOE, "email");

    let seen = Seen::default();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| seen.submit(gateway.address("smtp.listen"), &strikes, &backend));
        }
    });

    let record = std::fs::read_to_string(&record).unwrap();
    let noted: BTreeSet<usize> = record.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(noted.len(), record.lines().count(), "a message arrived twice");
    let (accepted, refused) = (seen.accepted.into_inner().unwrap(), seen.refused.into_inner().unwrap());
    let open = seen.open.load(Ordering::Relaxed);
    println!("{} accepted, {} refused, {open} neither; {} noted", accepted.len(), refused.len(), noted.len());
    let lost: Vec<_> = accepted.difference(&noted).collect();
    assert!(lost.is_empty(), "accepted and not there: {lost:?}");
    let unwanted: Vec<_> = refused.intersection(&noted).collect();
    assert!(unwanted.is_empty(), "refused and there: {unwanted:?}");
    assert!(accepted.len() >= 2 * STAGES.len() && refused.len() >= STAGES.len() / 2 && open >= STAGES.len());
}
