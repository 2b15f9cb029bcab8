//! Clients that are slow on purpose: each is told so or cut off within its time, and holds nothing of the backend longer.

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_header, swallowing};
use crate::common::http::{Connection, get, request};
use crate::common::{Gateway, PATIENCE, open_api};

const PACE: Duration = Duration::from_millis(20);

/// A backend whose every answer never ends; each connection that is given up is told to the receiver.
fn endless() -> (Backend, Receiver<()>) {
    let (released, releases) = channel();
    let backend = Backend::handling(move |stream, _| {
        if read_header(stream).is_none() {
            return;
        }
        let piece = [b'x'; 64 * 1024];
        let stream = stream.get_mut();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
        while stream.write_all(&piece).is_ok() {}
        let _ = released.send(());
    });
    (backend, releases)
}

/// A backend that takes a request's header, and tells when the connection under it ended.
fn listener() -> (Backend, Receiver<()>) {
    let (released, releases) = channel();
    let backend = Backend::handling(move |stream, received| {
        let Some(header) = read_header(stream) else { return };
        let _ = received.send(header);
        let _ = std::io::copy(stream, &mut std::io::sink());
        let _ = released.send(());
    });
    (backend, releases)
}

#[test]
fn half_a_header_is_answered_with_408() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, "header_timeout = \"200ms\""));
    for half in ["G", "GET /open/a HTTP/1.1\r\nHost: x\r\nAcc", "GET /open/a HTTP/1.1\r\nHost: x\r\n"] {
        let mut connection = Connection::open(gateway.api());
        connection.write(half.as_bytes());
        let response = connection.read_response();
        assert_eq!(response.status, 408, "{half:?}");
        let id = response.header("x-request-id").unwrap();
        gateway.log().wait_for(&["\"target\":\"access\"", id, "\"status\":408", "\"source\":\"127.0.0.1\""]);
        assert!(connection.is_closed());
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(
        backend.address,
        "header_timeout = \"200ms\"\nkeepalive_timeout = \"300ms\"",
    ));
    let mut connection = Connection::open(gateway.api());
    assert!(connection.is_closed());
    let mut kept = Connection::open(gateway.api());
    assert_eq!(kept.exchange(get("/open/a")).status, 200);
    assert!(kept.is_closed());
}

#[test]
fn a_header_that_drips_is_cut_by_the_deadline_over_all_of_it() {
    let backend = Backend::hello();
    let gateway =
        Gateway::start(&open_api(backend.address, "header_timeout = \"300ms\"\nkeepalive_timeout = \"10m\""));
    let header = get("/open/a").header("X-Long", &"x".repeat(2000)).bytes();
    let started = Instant::now();
    let (status, _) = Connection::open(gateway.api()).drip(&header);
    assert_eq!(status, 408);
    assert!(started.elapsed() >= Duration::from_millis(300));
    // A kept-alive connection has all of `keepalive_timeout` until the header begins, and not for the header.
    let mut kept = Connection::open(gateway.api());
    assert_eq!(kept.exchange(get("/open/a")).status, 200);
    let begun = Instant::now();
    assert_eq!(kept.drip(&header).0, 408);
    let taken = begun.elapsed();
    let twice = 2 * Duration::from_millis(300);
    assert!((Duration::from_millis(300)..twice + PATIENCE / 2).contains(&taken), "{taken:?}");
}

#[test]
fn a_body_that_drips_or_stops_is_answered_with_408() {
    let (backend, releases) = listener();
    let gateway = Gateway::start(&open_api(backend.address, "body_timeout = \"300ms\""));
    let post = "POST /open/a HTTP/1.1\r\nHost: x\r\n";
    let drip = |length: &str, body: &[u8]| {
        let mut connection = Connection::open(gateway.api());
        connection.write(format!("{post}{length}\r\n\r\n").as_bytes());
        assert_eq!(backend.next().method, "POST");
        connection.drip(body).0
    };
    assert_eq!(drip("Content-Length: 9999", &[b'x'; 9999]), 408);
    releases.recv_timeout(PATIENCE).unwrap();
    assert_eq!(drip("Transfer-Encoding: chunked", "1\r\nx\r\n".repeat(999).as_bytes()), 408);
    releases.recv_timeout(PATIENCE).unwrap();

    for start in [
        "Content-Length: 9999\r\n\r\nxxxx",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nxx",
        "Content-Length: 9\r\n\r\n",
    ] {
        let mut connection = Connection::open(gateway.api());
        connection.write(format!("{post}{start}").as_bytes());
        assert_eq!(connection.read_response().status, 408, "{start:?}");
        releases.recv_timeout(PATIENCE).unwrap();
    }
}

/// The time in which a backend is looked for isn't the client's.
#[test]
fn a_client_is_not_slow_while_a_backend_is_looked_for() {
    let (nobody, _full) = swallowing();
    let backend = Backend::answering(|request| {
        let status = if request.target == "/sick" { "503 Sick" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    // Both count as down, so that both are asked in turn.
    let keys = "body_timeout = \"300ms\"\nconnect_timeout = \"1s\"\nhealth_check = \"/sick\"\nhealth_interval = \"10m\"";
    let one = format!("\"http://{nobody}\"");
    let both = format!("{one}, \"http://{}\"", backend.address);
    let gateway = Gateway::start(&open_api(nobody, keys).replace(&one, &both));
    for address in [nobody, backend.address] {
        gateway.log().wait_for(&["the backend is down", &address.to_string()]);
    }
    for _ in 0..2 {
        assert_eq!(request("POST", "/open/a").body("x").send(gateway.api()).status, 200);
    }
    gateway.log().wait_for(&["no connection within 1s"]);
}

#[test]
fn a_form_that_drips_or_stops_is_answered_with_408_and_never_reaches_a_backend() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, "body_timeout = \"300ms\""));
    let post = "POST /api/mail.send.json HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    let mut connection = Connection::open(gateway.api());
    connection.write(post.as_bytes());
    assert_eq!(connection.drip(&[b'x'; 9999]).0, 408);
    let mut connection = Connection::open(gateway.api());
    connection.write(post.as_bytes());
    connection.write(b"api_user=joe&api_");
    assert_eq!(connection.read_response().status, 408);
    let manage = post.replace("/api/mail.send.json", "/api/credentials/get.json");
    let mut connection = Connection::open(gateway.api());
    connection.write(manage.as_bytes());
    assert_eq!(connection.read_response().status, 408);
    assert!(backend.drain().is_empty());
}

/// Before anybody is known, a form takes room that others may need: progress alone isn't enough there.
#[test]
fn a_form_that_comes_too_slowly_on_average_is_answered_with_408() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, "body_timeout = \"1s\""));
    for path in ["/api/mail.send.json", "/api/credentials/get.json"] {
        let mut connection = Connection::open(gateway.api());
        let header = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        );
        connection.write(header.as_bytes());
        let began = Instant::now();
        // 3 KiB/s: three times what each second has to bring, and less than half of what all of them have to.
        let mut answer = None;
        while answer.is_none() {
            assert!(began.elapsed() < PATIENCE, "it may take its time");
            connection.write(&[b'x'; 307]);
            answer = connection.read_within(Duration::from_millis(100));
        }
        let answer = answer.flatten().unwrap_or_default();
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn a_client_that_reads_nothing_is_cut_and_the_backend_is_released() {
    let (backend, releases) = endless();
    let gateway = Gateway::start(&open_api(backend.address, "write_timeout = \"300ms\""));
    let mut connection = Connection::open(gateway.api());
    connection.write(&get("/open/a").bytes());
    releases.recv_timeout(PATIENCE).unwrap();
    // What was on its way arrives, then the end comes, long before the answer's.
    assert!(connection.try_response().is_none());
}

#[test]
fn a_client_that_reads_a_byte_at_a_time_is_cut_and_the_backend_is_released() {
    let (backend, releases) = endless();
    let gateway = Gateway::start(&open_api(backend.address, "write_timeout = \"300ms\""));
    let connection = Connection::open(gateway.api());
    let mut stream = &connection.stream;
    stream.write_all(&get("/open/a").bytes()).unwrap();
    let started = Instant::now();
    while releases.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
        let mut byte = [0];
        std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
        assert!(started.elapsed() < PATIENCE, "a client that takes a byte at a time is served for ever");
    }
}

#[test]
fn a_client_that_reads_no_headers_is_cut_as_well() {
    let answer = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(60_000));
    let (released, releases) = channel();
    let backend = Backend::handling(move |stream, received| {
        let mut asked = 0;
        while let Some(request) = read_header(stream) {
            asked += 1;
            let _ = received.send(request);
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
        // The health check's connection asks nothing.
        if asked > 0 {
            let _ = released.send(());
        }
    });
    let gateway = Gateway::start(&open_api(backend.address, "write_timeout = \"300ms\""));
    let mut connection = Connection::open(gateway.api());
    // As many pipelined requests as it takes to fill every buffer on the way back.
    let requests = get("/open/a").bytes().repeat(1000);
    connection.write(&requests);
    releases.recv_timeout(PATIENCE).unwrap();
    let mut answers = 0;
    while let Some(response) = connection.try_response() {
        assert_eq!(response.status, 200);
        answers += 1;
    }
    assert!(answers < 1000, "somebody waited for a client that reads nothing");
}

#[test]
fn requests_are_served_while_2000_connections_are_idle() {
    crate::common::allow_descriptors(8192);
    let backend = Backend::hello();
    let gateway =
        Gateway::start(&format!("{}[ops]\nlisten = \"127.0.0.1:0\"\n", open_api(backend.address, "")));
    // Half of them never said anything, half are between two requests.
    let idle: Vec<Connection> = (0..2000)
        .map(|number| {
            let mut connection = Connection::open(gateway.api());
            if number % 2 == 0 {
                assert_eq!(connection.exchange(get("/open/a")).status, 200);
            }
            connection
        })
        .collect();
    for _ in 0..100 {
        assert_eq!(request("POST", "/open/a").body("x").send(gateway.api()).status, 200);
    }
    assert_eq!(get("/healthz").send(gateway.address("ops.listen")).status, 200);
    // And those that waited are served as well.
    for mut connection in idle.into_iter().rev().take(500) {
        assert_eq!(connection.exchange(get("/open/a")).status, 200);
    }
}
