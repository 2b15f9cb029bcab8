//! Clients that check credentials without pause, and know which of them must not pass any more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::nodes::Nodes;
use crate::common::http::{Response, get};
use crate::common::random::Random;

/// The longest wait for an answer. A gateway that is stopped gives none.
const ANSWER: Duration = Duration::from_secs(8);

/// A credential, and what is known of it.
pub struct Subject {
    pub account: String,
    pub name: String,
    /// The password that is checked. Replaced after the state.
    pub password: RwLock<String>,
    /// Odd from the answer to a revocation until something is granted again.
    state: AtomicU64,
    /// The time at which it was granted, in milliseconds since the beginning.
    granted_at: AtomicU64,
}

/// The figures of all checks.
#[derive(Default)]
pub struct Tally {
    pub passed: AtomicU64,
    pub refused: AtomicU64,
    pub unavailable: AtomicU64,
    /// Connections that ended without an answer.
    pub unanswered: AtomicU64,
    /// Checks of credentials whose revocation was answered before.
    pub of_revoked: AtomicU64,
    /// Refused although nothing was revoked for a while.
    pub wrongly_refused: AtomicU64,
    /// Passed although revoked: what must never be.
    pub violations: AtomicU64,
}

impl Subject {
    pub fn new(account: String, name: String, password: String) -> Subject {
        let (state, granted_at) = (AtomicU64::new(0), AtomicU64::new(0));
        Subject { account, name, password: RwLock::new(password), state, granted_at }
    }

    /// Notes that a revocation was answered with success.
    pub fn is_revoked(&self) {
        self.state.fetch_or(1, Ordering::SeqCst);
    }

    /// Notes that something is about to be granted.
    pub fn is_to_be_granted(&self) {
        // Another even number, so that a check in between is not judged.
        let state = self.state.load(Ordering::SeqCst);
        self.state.store((state | 1) + 1, Ordering::SeqCst);
        self.granted_at.store(u64::MAX, Ordering::SeqCst);
    }

    /// Notes that a grant was answered with success.
    pub fn is_granted(&self, began: Instant) {
        self.granted_at.store(began.elapsed().as_millis() as u64, Ordering::SeqCst);
    }

    /// Notes that a revocation begins.
    pub fn is_to_be_revoked(&self) {
        self.granted_at.store(u64::MAX, Ordering::SeqCst);
    }
}

/// Checks credentials on one node until `stop`.
pub fn check(
    nodes: &Nodes,
    node: usize,
    subjects: &[Subject],
    tally: &Tally,
    began: Instant,
    stop: &AtomicBool,
    seed: u64,
) {
    let mut random = Random::new(seed);
    let mut connection: Option<TcpStream> = None;
    while !stop.load(Ordering::Relaxed) {
        // Half of the checks look for a credential that is revoked at this moment.
        let any = |random: &mut Random| &subjects[random.below(subjects.len() as u64) as usize];
        let candidates = if random.chance(50) { subjects.len() } else { 1 };
        let mut subject = any(&mut random);
        for _ in 1..candidates {
            if subject.state.load(Ordering::SeqCst) % 2 == 1 {
                break;
            }
            subject = any(&mut random);
        }
        let before = subject.state.load(Ordering::SeqCst);
        let granted_before = subject.granted_at.load(Ordering::SeqCst);
        let login = format!("{}:{}", subject.name, subject.password.read().unwrap());
        let Some(address) = nodes.nodes[node].address() else {
            connection = None;
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let status = attempt(&mut connection, address, &get("/checked").basic(&login).bytes());
        let is_same = subject.state.load(Ordering::SeqCst) == before;
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        if is_same && before % 2 == 1 && status.is_some() {
            count(&tally.of_revoked);
        }
        match status {
            Some(200) => {
                count(&tally.passed);
                if is_same && before % 2 == 1 {
                    count(&tally.violations);
                    eprintln!("{} passed on node {node} after its revocation was answered", subject.name);
                }
            }
            Some(503) => {
                count(&tally.unavailable);
            }
            Some(401 | 403) => {
                count(&tally.refused);
                let now = began.elapsed().as_millis() as u64;
                let granted = subject.granted_at.load(Ordering::SeqCst);
                let is_old = granted == granted_before && now.saturating_sub(granted) > 15_000;
                if is_same && before % 2 == 0 && is_old {
                    count(&tally.wrongly_refused);
                }
            }
            Some(other) => panic!("a check was answered with {other}"),
            None => {
                count(&tally.unanswered);
            }
        }
    }
}

/// Sends a request, on a new connection if there is none. `None` without a whole answer.
fn attempt(connection: &mut Option<TcpStream>, address: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut stream = match connection.take() {
        Some(stream) if stream.peer_addr().is_ok_and(|peer| peer == address) => stream,
        _ => connect(address)?,
    };
    let (response, is_kept) = answer(&mut stream, request)?;
    if is_kept {
        *connection = Some(stream);
    }
    Some(response.status)
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Sends a request on a connection of its own.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Option<Response> {
    answer(&mut connect(address)?, request).map(|(response, _)| response)
}

/// The answer, and whether the connection is kept.
fn answer(stream: &mut TcpStream, request: &[u8]) -> Option<(Response, bool)> {
    stream.write_all(request).ok()?;
    let mut bytes = Vec::new();
    let end = loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(length @ 1..) => bytes.extend_from_slice(&piece[..length]),
            _ => return None,
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if bytes.len() >= end + 4 + length.unwrap_or(0usize) {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.get(9..12)?.parse().ok()?;
    let is_kept = !head.to_ascii_lowercase().contains("connection: close");
    Some((Response { status, headers: Vec::new(), body: bytes[end + 4..].to_vec() }, is_kept))
}
