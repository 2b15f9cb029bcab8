//! A backend that is a process of its own is killed with `kill -9` and started again, over and over, while clients submit:
//! what a client saw accepted is in the backend's record.

mod common;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use common::mail::{Client, JOE, smtp};
use common::{Gateway, PATIENCE};

const CLIENTS: usize = 6;
const KILLS: usize = 20;
/// Accepted from one kill to the next; with six clients, each kill finds them in the middle of something.
const BETWEEN: usize = 7;

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

/// What the clients saw.
#[derive(Default)]
struct Seen {
    accepted: Mutex<BTreeSet<usize>>,
    more: Condvar,
    open: AtomicUsize,
    next: AtomicUsize,
    over: AtomicBool,
}

impl Seen {
    fn submit(&self, address: SocketAddr) {
        let mut client: Option<Client> = None;
        while !self.over.load(Ordering::Relaxed) {
            let mut session = client.take().unwrap_or_else(|| Client::login(address, JOE));
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let sender = format!("{number}@example.com");
            let content = format!("Subject: {number}\r\n\r\n{}\r\n", "x".repeat(900));
            match session.submit(&sender, "jane@example.net", &content).code {
                250 => {
                    self.accepted.lock().unwrap().insert(number);
                    self.more.notify_all();
                    client = Some(session);
                }
                code => {
                    assert!((400..500).contains(&code), "{code}");
                    self.open.fetch_add(1, Ordering::Relaxed);
                    // After a 4yz the session goes on, with a transaction to be forgotten.
                    if session.say("RSET").code == 250 {
                        client = Some(session);
                    }
                }
            }
        }
    }

    fn wait_for(&self, count: usize) {
        let accepted = self.accepted.lock().unwrap();
        let few = |accepted: &mut BTreeSet<usize>| accepted.len() < count;
        let waited = self.more.wait_timeout_while(accepted, PATIENCE, few).unwrap().1;
        assert!(!waited.timed_out(), "nothing is accepted any more");
    }
}

#[test]
fn what_was_accepted_outlives_the_backends_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record");
    // Nobody else uses this address, so that the port stays free between two lives of the backend.
    let free = TcpListener::bind("127.0.0.61:0").unwrap().local_addr().unwrap();
    let mut backend = Backend::start(free, &record);
    let gateway = Gateway::start(&smtp(
        &[free],
        "health_interval = \"50ms\"\nmax_errors = 1000000\nmax_messages = 1000000",
    ));
    gateway.account("email").credential(JOE, "email");

    let seen = Seen::default();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| seen.submit(gateway.address("smtp.listen")));
        }
        for kill in 1..=KILLS {
            seen.wait_for(kill * BETWEEN);
            backend.kill();
            backend.restart();
        }
        seen.wait_for((KILLS + 1) * BETWEEN);
        seen.over.store(true, Ordering::Relaxed);
    });

    let noted: BTreeSet<usize> =
        std::fs::read_to_string(&record).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let accepted = seen.accepted.into_inner().unwrap();
    let lost: Vec<_> = accepted.difference(&noted).collect();
    assert!(lost.is_empty(), "accepted and not there: {lost:?}");
    assert!(seen.open.load(Ordering::Relaxed) >= KILLS, "the kills struck nobody");
}
