//! Connections to backends that are kept for the next request: for how long, and how many.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_request};
use crate::common::http::get;
use crate::common::mail::wait_for_metric;
use crate::common::{Gateway, PATIENCE, open_api};

const IDLE: &str = "gatepost_upstream_connections{entry=\"api\",state=\"idle\"}";

/// A backend that answers each request once `go` lets it; tells of each connection that brought one and was closed, how many it
/// brought.
fn telling(go: impl Fn() + Send + Sync + 'static) -> (Backend, Receiver<usize>) {
    let (closed, closes): (Sender<usize>, _) = channel();
    let backend = Backend::handling(move |stream, received| {
        let mut asked = 0;
        while let Some(request) = read_request(stream) {
            asked += 1;
            let _ = received.send(request);
            go();
            let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        // One that only asks whether it is there asks nothing.
        if asked > 0 {
            let _ = closed.send(asked);
        }
    });
    (backend, closes)
}

/// One worker, so that all of them are in one place.
fn start(backend: &Backend, keys: &str) -> Gateway {
    let rest = "[server]\nthreads = 1\n[ops]\nlisten = \"127.0.0.1:0\"\n";
    Gateway::start(&format!("{rest}{}", open_api(backend.address, keys)))
}

#[test]
fn one_that_nobody_used_for_its_time_is_closed() {
    let (backend, closes) = telling(|| {});
    let gateway = start(&backend, "upstream_keepalive = \"300ms\"");
    let began = Instant::now();
    assert_eq!(get("/open/a").send(gateway.api()).status, 200);
    assert_eq!(closes.recv_timeout(PATIENCE), Ok(1));
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    wait_for_metric(&gateway, IDLE, 0);
}

#[test]
fn no_more_are_kept_than_there_may_be() {
    const AT_ONCE: usize = 5;
    const KEPT: usize = 2;
    let together = Arc::new(Barrier::new(AT_ONCE));
    let (backend, closes) = telling(move || {
        together.wait();
    });
    let gateway =
        start(&backend, &format!("upstream_idle_connections = {KEPT}\nupstream_keepalive = \"1h\""));
    for round in 1..=2 {
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| assert_eq!(get("/open/a").send(gateway.api()).status, 200));
            }
        });
        let asked: Vec<usize> =
            (KEPT..AT_ONCE).map(|_| closes.recv_timeout(PATIENCE).expect("it is closed")).collect();
        wait_for_metric(&gateway, IDLE, KEPT as u64);
        assert!(asked.iter().all(|asked| *asked <= round), "{asked:?}");
    }
    // The rest goes on: nothing else was closed.
    assert!(closes.try_recv().is_err());
}
