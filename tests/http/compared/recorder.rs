//! A backend that records the complete requests that reach it, whoever stands in front, and ends each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use crate::common::PATIENCE;

/// A complete request, or what was none.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    /// The target without an authority, its bytes that no URI has encoded.
    pub target: String,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let target: String = self.target.chars().take(60).collect();
        let body = &self.body[..self.body.len().min(60)];
        write!(f, "{} {target} {:?}", self.method, body.escape_ascii().to_string())
    }
}

#[derive(Default)]
struct State {
    open: usize,
    seen: Vec<Seen>,
}

pub struct Recorder {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// The target of the request after which everything before has arrived.
pub const FLUSH: &str = "/flush";

impl Recorder {
    pub fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let recorder = Recorder { address, shared: shared.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.0.lock().unwrap().open += 1;
                let shared = shared.clone();
                std::thread::spawn(move || {
                    serve(stream, &shared.0);
                    shared.0.lock().unwrap().open -= 1;
                    shared.1.notify_all();
                });
            }
        });
        recorder
    }

    /// The requests that reached it since the last time. A request for [`FLUSH`] has to have been answered since.
    pub fn take(&self) -> Vec<Seen> {
        let state = self.shared.0.lock().unwrap();
        let (mut state, waited) = self
            .shared
            .1
            .wait_timeout_while(state, PATIENCE, |state| {
                state.open > 0 || !state.seen.iter().any(|seen| seen.target == FLUSH)
            })
            .unwrap();
        assert!(!waited.timed_out(), "{} connections open, seen: {:?}", state.open, state.seen);
        let mut seen = std::mem::take(&mut state.seen);
        seen.retain(|seen| seen.target != FLUSH);
        seen
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    stream.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    let mut stream = BufReader::new(stream);
    let mut answered = false;
    while let Some(seen) = read(&mut stream) {
        let head = seen.method == "HEAD";
        let malformed = seen.method == MALFORMED;
        state.lock().unwrap().seen.push(seen);
        if malformed {
            return;
        }
        if !answered {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
            let body = if head { "" } else { "ok" };
            let _ = stream.get_mut().write_all(format!("{answer}{body}").as_bytes());
            // What is behind it would be a request that the gateway knows nothing of.
            let _ = stream.get_ref().shutdown(Shutdown::Write);
            answered = true;
        }
    }
}

const MALFORMED: &str = "malformed";

/// Reads a request; `None` where the connection ends before it does.
fn read(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    let malformed = Seen { method: MALFORMED.into(), target: head.escape_ascii().to_string(), body: vec![] };
    let encode = |byte: &u8| match byte {
        0x80.. => format!("%{byte:02X}"),
        _ => char::from(*byte).to_string(),
    };
    let head: String = head.iter().map(encode).collect();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Some(malformed) };
    let field = |name: &str| {
        let named = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        lines.clone().find(named).and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let body = match (field("transfer-encoding"), field("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => chunks(stream)?,
        (None, Some(length)) if length.bytes().all(|b| b.is_ascii_digit()) => {
            let Ok(length) = length.parse::<usize>() else { return Some(malformed) };
            let mut body = Vec::new();
            stream.take(length as u64).read_to_end(&mut body).ok()?;
            if body.len() < length {
                return None;
            }
            body
        }
        (None, None) => vec![],
        _ => return Some(malformed),
    };
    Some(Seen { method: method.into(), target: plain(target), body })
}

fn chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).ok()?;
        let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            break;
        }
        let mut piece = vec![0; size + 2];
        stream.read_exact(&mut piece).ok()?;
        body.extend_from_slice(&piece[..size]);
    }
    // Trailers, which don't count here.
    let mut line = Vec::new();
    while line != b"\r\n" {
        line.clear();
        if stream.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
    }
    Some(body)
}

/// The target without its scheme and authority, and with bytes encoded that a URI may not have.
fn plain(target: &str) -> String {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    path.bytes()
        .map(|byte| match byte {
            b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'\\' | b'^' => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        })
        .collect()
}
