//! Reload, health endpoints and stop of a gateway.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_request};
use crate::common::http::{Connection, get, request};
use crate::common::mail::wait_for_metric;
use crate::common::{Gateway, HOLDER, PATIENCE, open_api, write_config};

const OPS: &str = "[ops]\nlisten = \"127.0.0.1:0\"\n";

/// A backend that answers once the test says so.
fn patient() -> (Backend, Sender<()>) {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let backend = Backend::handling(move |stream, received| {
        while let Some(request) = read_request(stream) {
            let _ = received.send(request);
            let _ = gone.lock().unwrap().recv();
            let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        }
    });
    (backend, go)
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    for signal in ["TERM", "INT"] {
        let (backend, go) = patient();
        let mut gateway = Gateway::start(&open_api(backend.address, ""));
        let mut in_flight = Connection::open(gateway.api());
        in_flight.write(&get("/open/a").bytes());
        let mut uploading = Connection::open(gateway.api());
        uploading.write(b"POST /open/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
        backend.next();
        let mut idle = Connection::open(gateway.api());
        gateway.signal(signal);
        gateway.log().wait_for(&["stopping"]);
        assert!(idle.is_closed());
        // The listener is gone before the process is.
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(gateway.api()).is_ok_and(|s| !is_reset(s)) {
            assert!(Instant::now() < deadline, "it goes on accepting");
        }
        uploading.write(b"lo");
        backend.next();
        assert!(gateway.child.try_wait().unwrap().is_none());
        go.send(()).unwrap();
        go.send(()).unwrap();
        for connection in [&mut in_flight, &mut uploading] {
            let response = connection.read_response();
            assert_eq!((response.status, response.text().as_str()), (200, "late"), "{signal}");
            assert_eq!(response.header("connection"), Some("close"));
            assert!(connection.is_closed());
        }
        assert_eq!(gateway.wait(), Some(0), "{signal}");
        gateway.log().wait_for(&["stopped"]);
        assert!(!gateway.log().text().contains("cut off"));
    }
}

fn is_reset(mut stream: std::net::TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A worker may let one more in before it hears of the stop; what this one asks for is refused without a backend.
    let _ = stream.write_all(b"GET /api/c HTTP/1.1\r\nHost: x\r\n\r\n");
    !matches!(std::io::Read::read(&mut stream, &mut [0; 1]), Ok(1..))
}

#[test]
fn a_stop_is_at_once_when_idle_whoever_is_connected() {
    let backend = Backend::hello();
    let config =
        format!("[server]\nthreads = 2\nshutdown_deadline = \"10m\"\n{}{OPS}", open_api(backend.address, ""));
    let mut gateway = Gateway::start(&config);
    let mut idle: Vec<Connection> = (0..100)
        .map(|number| {
            let mut connection = Connection::open(gateway.api());
            match number % 3 {
                0 => {}
                1 => assert_eq!(connection.exchange(get("/open/a")).status, 200),
                _ => connection.write(b"GET /open/a HTTP/1.1\r\nHos"),
            }
            connection
        })
        .collect();
    let mut ops = Connection::open(gateway.address("ops.listen"));
    assert_eq!(ops.exchange(get("/healthz")).status, 200);
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(idle.iter_mut().all(Connection::is_closed));
}

#[test]
fn a_stop_does_not_wait_longer_than_its_deadline_and_says_so() {
    let (backend, _never) = patient();
    let config =
        format!("[server]\nthreads = 2\nshutdown_deadline = \"300ms\"\n{}", open_api(backend.address, ""));
    let mut gateway = Gateway::start(&config);
    let mut hanging = Connection::open(gateway.api());
    hanging.write(&get("/open/a").bytes());
    backend.next();
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert!(asked.elapsed() >= Duration::from_millis(300));
    let line = gateway.log().wait_for(&["shutdown deadline passed"]);
    assert!(line.contains("\"left\":1"), "{line}");
    assert!(hanging.try_response().is_none());
}

/// Workers decide by what they remember until the process ends, so a command that changes the store has to find it until then.
#[test]
fn asked_a_second_time_it_is_told_of_changes_to_its_end() {
    let (backend, _go) = patient();
    let mut gateway = Gateway::start(&open_api(backend.address, ""));
    gateway.account("email,api,web");
    let nodes = gateway.directory.path().join("gatepost.db.nodes");
    let sockets = || std::fs::read_dir(&nodes).unwrap().count();
    assert_eq!(sockets(), 1);
    let mut in_flight = Connection::open(gateway.api());
    in_flight.write(&get("/open/a").bytes());
    backend.next();
    gateway.signal("TERM");
    gateway.log().wait_for(&["stopping"]);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(sockets(), 1, "it left before it ended");
    // Nobody is there any more: the next change isn't held up, and clears the place.
    let output = gateway.command(&["account", "suspend", "acme"], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sockets(), 0);
}

#[test]
fn asked_a_second_time_it_waits_for_nothing() {
    let (backend, _never) = patient();
    let config =
        format!("[server]\nthreads = 2\nshutdown_deadline = \"10m\"\n{}", open_api(backend.address, ""));
    let mut gateway = Gateway::start(&config);
    let mut hanging = Connection::open(gateway.api());
    hanging.write(&get("/open/a").bytes());
    backend.next();
    gateway.signal("TERM");
    gateway.log().wait_for(&["stopping"]);
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(0));
    gateway.log().wait_for(&["second signal to stop"]);
    assert!(hanging.try_response().is_none());
}

#[test]
fn while_it_stops_operators_are_told_so() {
    let (backend, go) = patient();
    let mut gateway = Gateway::start(&format!("{}{OPS}", open_api(backend.address, "")));
    let ops = gateway.address("ops.listen");
    assert_eq!(get("/readyz").send(ops).status, 200);
    let mut in_flight = Connection::open(gateway.api());
    in_flight.write(&get("/open/a").bytes());
    backend.next();
    gateway.signal("TERM");
    gateway.log().wait_for(&["stopping"]);
    // On a new connection: that is how it is asked.
    let ready = get("/readyz").send(ops);
    assert_eq!((ready.status, ready.text().as_str()), (503, "stopping\n"));
    assert_eq!(get("/healthz").send(ops).status, 200);
    assert_eq!(get("/metrics").send(ops).status, 200);
    go.send(()).unwrap();
    assert_eq!(in_flight.read_response().status, 200);
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn a_stopped_gateway_leaves_its_database_in_one_file() {
    let backend = Backend::hello();
    let mut gateway = Gateway::start(&open_api(backend.address, ""));
    gateway.account("email,api,web");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let file = crate::common::database::file_of(&gateway);
    for beside in ["-wal", "-shm"] {
        let beside = std::path::PathBuf::from(format!("{}{beside}", file.display()));
        assert!(!beside.exists(), "{}", beside.display());
    }
    let sockets = std::path::PathBuf::from(format!("{}.nodes", file.display()));
    assert_eq!(std::fs::read_dir(sockets).unwrap().count(), 0);
}

#[test]
fn a_reload_changes_routes_and_a_bad_one_changes_nothing() {
    let (one, two) = (Backend::hello(), Backend::hello());
    let gateway = Gateway::start(&open_api(one.address, ""));
    let mut kept = Connection::open(gateway.api());
    assert_eq!(kept.exchange(get("/open/a")).status, 200);
    assert_eq!(kept.exchange(get("/new/a")).status, 401);
    one.next();

    // Bad in three ways: all of them are told, and the old configuration goes on.
    let bad = format!(
        "{}\n[[api.route]]\npath = \"/x\"\npermission = \"everything\"\n[ops]\nlissen = 1\n",
        open_api(two.address, "")
    );
    write_config(gateway.directory.path(), &bad);
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration not reloaded"]);
    gateway.log().wait_for(&["everything", "gatepost.toml"]);
    gateway.log().wait_for(&["lissen"]);
    assert_eq!(kept.exchange(get("/open/a")).status, 200);
    one.next();

    write_config(gateway.directory.path(), &open_api(two.address, "").replace("/open/*", "/new/*"));
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration reloaded"]);
    assert_eq!(kept.exchange(get("/new/a")).status, 200);
    assert_eq!(two.next().target, "/new/a");
    assert_eq!(kept.exchange(get("/open/a")).status, 401);
    assert!(one.drain().is_empty());

    // What takes a restart is said.
    write_config(gateway.directory.path(), &format!("[server]\nthreads = 3\n{}", open_api(two.address, "")));
    gateway.signal("HUP");
    gateway.log().wait_for(&["changed setting needs a restart", "server.threads"]);
}

#[test]
fn operators_see_metrics_and_health_and_nobody_else_does() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!("{}{OPS}", open_api(backend.address, "")));
    gateway.account("email,api,web");
    assert_eq!(get("/api/a.json").basic(HOLDER).send(gateway.api()).status, 200);
    assert_eq!(get("/api/a.json").basic("acme:wrong-passw0rd").send(gateway.api()).status, 401);
    let ops = gateway.address("ops.listen");
    // A request is counted once its answer has gone out.
    wait_for_metric(&gateway, "gatepost_http_requests_total{entry=\"api\",status=\"401\"}", 1);
    let metrics = get("/metrics").send(ops);
    assert_eq!((metrics.status, metrics.header("content-type")), (200, Some("text/plain; version=0.0.4")));
    let text = metrics.text();
    for line in [
        "gatepost_decisions_total{entry=\"api\",permission=\"api\",outcome=\"allowed\"} 1",
        "gatepost_http_requests_total{entry=\"api\",status=\"200\"} 1",
        "gatepost_http_requests_total{entry=\"api\",status=\"401\"} 1",
        "gatepost_http_request_seconds_count{entry=\"api\"} 2",
        "gatepost_password_checks_total{outcome=\"right\"} 1",
        "gatepost_password_checks_total{outcome=\"wrong\"} 1",
        "gatepost_upstream_connections{entry=\"api\",state=\"idle\"} 1",
        "gatepost_build_info{version=",
        "gatepost_cache_entries 1",
        "gatepost_password_queue",
        "gatepost_cache_lookups_total",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("acme"), "a username in the metrics");
    assert_eq!(get("/healthz").send(ops).text(), "ok\n");
    assert_eq!(get("/readyz").send(ops).text(), "ready\n");
    assert_eq!(get("/api/a.json").send(ops).status, 404);
    assert_eq!(request("POST", "/metrics").send(ops).status, 405);
    backend.drain();
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(get(path).send(gateway.api()).status, 401);
        // With a credential it is the backend's path, not Gatepost's.
        assert_eq!(get(path).basic(HOLDER).send(gateway.api()).text(), "hello");
        assert_eq!(backend.next().target, path);
    }
}

#[test]
fn a_request_has_one_number_in_answer_log_and_backend() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let response =
        get("/open/a?api_user=joe&api_key=s3cret").header("X-Request-Id", "forged").send(gateway.api());
    let id = response.header("x-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 16);
    let received = backend.next();
    assert_eq!(received.header("x-request-id"), Some(id.as_str()));
    assert_eq!(
        received.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id")).count(),
        1
    );
    let line = gateway.log().wait_for(&[&id, "\"path\":\"/open/a\""]);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["status"], 200);
    let refused = get("/api/a.json").send(gateway.api());
    let other = refused.header("x-request-id").unwrap();
    assert_ne!(other, id);
    gateway.log().wait_for(&[other, "401"]);
    assert!(!gateway.log().text().contains("s3cret"));
}
