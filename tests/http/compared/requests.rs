//! Requests: how many reach a backend, and which.

use std::sync::Mutex;

use super::corpus::{self, Case, Exception};
use super::door::{Door, LANES, gateway};
use super::proxies::Proxy;
use super::recorder::{FLUSH, Recorder, Seen};

/// A request behind each case: an end of the case in another place shows in what becomes of this one.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n";

/// The requests that reach the recorder behind a door for these bytes, and the status line of the first answer.
fn forwards(door: &Door, recorder: &Recorder, bytes: &[u8]) -> (Vec<Seen>, String) {
    let answer = door.send(bytes);
    let flush = format!("GET {FLUSH} HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n");
    door.send(flush.as_bytes());
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (recorder.take(), answer.lines().next().unwrap_or_default().to_owned())
}

/// What is wrong with what Gatepost forwards.
fn wrong(case: &Case, gatepost: &[Seen], nginx: &[Seen], haproxy: &[Seen]) -> Option<&'static str> {
    let (stricter, laxer) = if nginx.len() <= haproxy.len() { (nginx, haproxy) } else { (haproxy, nginx) };
    if case.exception == Some(Exception::Repaired) {
        return (gatepost.len() > laxer.len()).then_some("more than either");
    }
    if !laxer.starts_with(gatepost) && !stricter.starts_with(gatepost) {
        return Some("forwarded in another way, or more than either");
    }
    if gatepost.len() < stricter.len() && case.exception != Some(Exception::Refused) {
        return Some("refused what both accept");
    }
    if gatepost.len() > stricter.len() && case.exception != Some(Exception::More) {
        return Some("accepted what one refuses");
    }
    None
}

#[test]
fn no_request_is_read_otherwise_than_by_the_stricter_of_nginx_and_haproxy() {
    let cases = corpus::read(include_str!("requests.txt"));
    let recorders: Vec<[Recorder; 3]> =
        (0..LANES).map(|_| std::array::from_fn(|_| Recorder::start())).collect();
    let backends = |which: usize| recorders.iter().map(|lane| lane[which].address).collect::<Vec<_>>();
    let (nginx, haproxy) = (Proxy::nginx(&backends(1)), Proxy::haproxy(&backends(2)));
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (number, lane) in recorders.iter().enumerate() {
            let (cases, nginx, haproxy, found) = (&cases, &nginx, &haproxy, &found);
            scope.spawn(move || {
                let gateway = gateway(lane[0].address);
                let doors = [
                    Door::Tcp(gateway.api()),
                    Door::Unix(nginx.socket(number)),
                    Door::Unix(haproxy.socket(number)),
                ];
                for case in cases.iter().skip(number).step_by(LANES) {
                    let bytes = [&case.bytes[..], NEXT.as_bytes()].concat();
                    let [ours, theirs @ ..] = std::thread::scope(|scope| {
                        let asked: [_; 3] = std::array::from_fn(|which| {
                            let (door, recorder, bytes) = (&doors[which], &lane[which], &bytes);
                            scope.spawn(move || forwards(door, recorder, bytes))
                        });
                        asked.map(|asked| asked.join().unwrap())
                    });
                    if let Some(what) = wrong(case, &ours.0, &theirs[0].0, &theirs[1].0) {
                        found.lock().unwrap().push(format!(
                            "{what}: {}\n  Gatepost {ours:?}\n  nginx    {:?}\n  HAProxy  {:?}",
                            case.line, theirs[0], theirs[1]
                        ));
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), cases.len(), found.join("\n"));
}
