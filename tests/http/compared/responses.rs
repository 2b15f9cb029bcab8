//! Responses: what a client gets of them, and that the next request gets no part of them.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::corpus::{self, Case, Exception};
use super::door::{Door, LANES, gateway};
use super::proxies::Proxy;
use crate::common::backend::{Backend, read_request};

const REQUESTS: &str = "GET /first HTTP/1.1\r\nHost: gate.test\r\n\r\n\
                        GET /second HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n";

/// Long enough for the next request to come, and short for one that never does.
const A_MOMENT: Duration = Duration::from_millis(100);

/// A response that a client can read to its end.
type Whole = (u16, Vec<u8>);

/// A backend that answers `/first` with the bytes of the moment, and `/second` as it should.
fn backend(bytes: &Arc<Mutex<Vec<u8>>>) -> Backend {
    let bytes = bytes.clone();
    Backend::handling(move |stream, _| {
        while let Some(request) = read_request(stream) {
            let answer = match &request.target[..] {
                "/first" => bytes.lock().unwrap().clone(),
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond".to_vec(),
            };
            if stream.get_mut().write_all(&answer).is_err() {
                return;
            }
            stream.get_ref().set_read_timeout(Some(A_MOMENT)).unwrap();
        }
    })
}

/// The final responses in what a client read: each as a whole, or `None` for a refusal of the gateway's or one that breaks off.
fn responses(mut bytes: &[u8]) -> Vec<Option<Whole>> {
    let mut all = Vec::new();
    while let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        bytes = &bytes[end + 4..];
        let status: u16 = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        if (100..200).contains(&status) {
            continue;
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body = if matches!(status, 204 | 304) {
            Some(vec![])
        } else if field("transfer-encoding:").is_some() {
            chunks(&mut bytes)
        } else {
            let length = field("content-length:").map_or(bytes.len(), |length| length.parse().unwrap());
            bytes.split_off(..length).map(<[u8]>::to_vec)
        };
        let whole = body.is_some();
        all.push(body.filter(|_| !matches!(status, 502..=504)).map(|body| (status, body)));
        if !whole {
            break;
        }
    }
    all
}

fn chunks(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = memchr::memmem::find(bytes, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        let piece = bytes.get(end + 2..end + 2 + size)?;
        body.extend_from_slice(piece);
        let after = &bytes[end + 2 + size..];
        if size == 0 {
            // Trailers, which don't count here.
            let end =
                if after.starts_with(b"\r\n") { 2 } else { memchr::memmem::find(after, b"\r\n\r\n")? + 4 };
            *bytes = &after[end..];
            return Some(body);
        }
        *bytes = after.strip_prefix(b"\r\n")?;
    }
}

/// What is wrong with what clients get from Gatepost.
fn wrong(case: &Case, ours: &[Option<Whole>], theirs: [&[Option<Whole>]; 2]) -> Option<&'static str> {
    let first = |all: &[Option<Whole>]| all.first().cloned().flatten();
    let second = ours.get(1).cloned().flatten();
    if ours.len() > 2 || second.is_some_and(|second| second != (200, b"second".to_vec())) {
        return Some("the next request got something else");
    }
    let (ours, [nginx, haproxy]) = (first(ours), theirs.map(first));
    match ours {
        Some(_) if case.exception == Some(Exception::Repaired) => None,
        Some(ours) if Some(&ours) != nginx.as_ref() && Some(&ours) != haproxy.as_ref() => {
            Some("not what either gives")
        }
        Some(_) if (nginx.is_none() || haproxy.is_none()) && case.exception != Some(Exception::More) => {
            Some("accepted what one refuses")
        }
        None if nginx.is_some() && haproxy.is_some() && case.exception != Some(Exception::Refused) => {
            Some("refused what both accept")
        }
        _ => None,
    }
}

#[test]
fn no_response_is_read_otherwise_than_by_the_stricter_of_nginx_and_haproxy() {
    let cases = corpus::read(include_str!("responses.txt"));
    let bytes: Vec<Arc<Mutex<Vec<u8>>>> = (0..LANES).map(|_| Arc::default()).collect();
    let backends: Vec<Backend> = bytes.iter().map(backend).collect();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let (nginx, haproxy) = (Proxy::nginx(&addresses), Proxy::haproxy(&addresses));
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (number, bytes) in bytes.iter().enumerate() {
            let (cases, nginx, haproxy, found, address) =
                (&cases, &nginx, &haproxy, &found, addresses[number]);
            scope.spawn(move || {
                let gateway = gateway(address);
                let doors = [
                    Door::Tcp(gateway.api()),
                    Door::Unix(nginx.socket(number)),
                    Door::Unix(haproxy.socket(number)),
                ];
                for case in cases.iter().skip(number).step_by(LANES) {
                    bytes.lock().unwrap().clone_from(&case.bytes);
                    let [ours, nginx, haproxy] = std::thread::scope(|scope| {
                        let asked: [_; 3] = std::array::from_fn(|which| {
                            let door = &doors[which];
                            scope.spawn(move || responses(&door.send(REQUESTS.as_bytes())))
                        });
                        asked.map(|asked| asked.join().unwrap())
                    });
                    if let Some(what) = wrong(case, &ours, [&nginx, &haproxy]) {
                        let all = [("Gatepost", ours), ("nginx", nginx), ("HAProxy", haproxy)].map(shown);
                        found.lock().unwrap().push(format!("{what}: {}{}", case.line, all.concat()));
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), cases.len(), found.join("\n"));
}

fn shown((name, all): (&str, Vec<Option<Whole>>)) -> String {
    let one = |one: &Option<Whole>| match one {
        Some((status, body)) => {
            format!("{status} {:?}", body[..body.len().min(60)].escape_ascii().to_string())
        }
        None => "refused".to_owned(),
    };
    format!("\n  {name}: {}", all.iter().map(one).collect::<Vec<_>>().join(", "))
}
