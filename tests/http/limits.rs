//! Requests that are too large, and more requests than there is room for.

use crate::common::backend::Backend;
use crate::common::http::{Connection, Request, get, request};
use crate::common::mail::metric;
use crate::common::{Gateway, HOLDER, PATIENCE, open_api};
use std::io;
use std::time::Instant;

const FORM: &str = "application/x-www-form-urlencoded";

fn long_header(bytes: usize) -> Request {
    let line = "x".repeat(4000);
    (0..bytes / 4000).fold(get("/open/a"), |request, number| request.header(&format!("X-{number}"), &line))
}

#[test]
fn headers_up_to_the_limit_pass_and_longer_ones_are_431() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    assert_eq!(long_header(56_000).send(gateway.api()).status, 200);
    assert_eq!(backend.next().header("x-13").unwrap().len(), 4000);
    for bytes in [68_000, 200_000, 8_000_000] {
        let response = long_header(bytes).send(gateway.api());
        assert_eq!(response.status, 431, "{bytes}");
        assert!(response.text().contains("The request header is too large"), "{}", response.text());
    }
    // One line without an end, and the second request of a connection.
    let mut connection = Connection::open(gateway.api());
    assert_eq!(connection.exchange(get("/open/a")).status, 200);
    connection.write(format!("GET /open/a HTTP/1.1\r\nX: {}", "x".repeat(300_000)).as_bytes());
    let response = connection.read_response();
    assert_eq!(response.status, 431);
    let id = response.header("x-request-id").unwrap();
    gateway.log().wait_for(&["\"target\":\"access\"", id, "\"status\":431"]);
    assert!(connection.is_closed());
    backend.next();
    assert!(backend.drain().is_empty());
}

#[test]
fn many_fields_pass_and_too_many_are_431() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let fields = |count| (0..count).fold(get("/open/a"), |request, n| request.header(&format!("X-{n}"), "x"));
    assert_eq!(fields(200).send(gateway.api()).status, 200);
    assert_eq!(fields(300).send(gateway.api()).status, 431);
    assert_eq!(fields(3000).send(gateway.api()).status, 431);
    let mut connection = Connection::open(gateway.api());
    assert_eq!(connection.exchange(fields(10)).status, 200);
    assert_eq!(connection.exchange(fields(300)).status, 431);
}

#[test]
fn long_targets_pass_as_they_are_until_the_header_is_too_large() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for length in [8_000, 60_000] {
        let target = format!("/open/a?q={}", "x".repeat(length));
        assert_eq!(get(&target).send(gateway.api()).status, 200);
        assert_eq!(backend.next().target, target);
        let path = format!("/open/{}", "x".repeat(length));
        assert_eq!(get(&path).send(gateway.api()).status, 200);
        assert_eq!(backend.next().target, path);
    }
    for length in [70_000, 300_000] {
        assert_eq!(get(&format!("/open/{}", "x".repeat(length))).send(gateway.api()).status, 431);
    }
}

#[test]
fn what_is_no_request_is_400() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let header = "Host: x\r\n\r\n";
    for start in [
        "\x16\x03\x01\x02\x00\x01\x00",
        "GET\r\n",
        "GET /open/a HTTP/9.9\r\n",
        "GET /open/a HTTP/1.1\r\nno colon\r\n",
        "GET /open/a HTTP/1.1\r\nX : space before the colon\r\n",
        "GET /open/a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "GET /open/a HTTP/1.1\r\nContent-Length: -1\r\n",
        "GET /open/a HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n",
        "POST /open/a HTTP/1.1\r\nTransfer-Encoding: gzip\r\n",
        "POST /open/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut connection = Connection::open(gateway.api());
        connection.write(format!("{start}{header}").as_bytes());
        let response = connection.read_response();
        assert_eq!(response.status, 400, "{start:?}");
        let id = response.header("x-request-id").unwrap();
        gateway.log().wait_for(&["\"target\":\"access\"", id, "\"status\":400"]);
        assert!(connection.is_closed(), "{start:?}");
    }
    let mut connection = Connection::open(gateway.api());
    connection.write(b"POST /open/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    assert_eq!(connection.read_response().status, 400);
}

/// As it streams, as it is read for its credential, and in a call that is answered here.
#[test]
fn a_body_whose_end_is_none_is_400() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for path in ["/open/a", "/api/mail.send.json", "/api/credentials/get.json"] {
        for end in ["0\r\nA: b\n\r\n", "0\r\nA: b\r\n\rx", "0\r\nA: b\rc\r\n\r\n", "0\r\nx\n\n"] {
            let mut connection = Connection::open(gateway.api());
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n");
            connection
                .write(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{end}").as_bytes());
            let response = connection.read_response();
            assert_eq!(response.status, 400, "{path} {end:?}");
            assert!(response.text().contains("Invalid chunked body"), "{}", response.text());
            assert!(connection.is_closed(), "{path} {end:?}");
        }
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn forms_over_the_limit_are_413_announced_or_counted() {
    let backend = Backend::hello();
    let gateway =
        Gateway::start(&open_api(backend.address, "max_form_body = \"1MiB\"\nspool_memory = \"64KiB\""));
    gateway.account("email,api,web");
    let form = |length: usize| {
        let credential = HOLDER.replace(':', "&api_key=");
        let start = "note=".to_owned();
        let end = format!("&api_user={credential}");
        start + &"x".repeat(length - 5 - end.len()) + &end
    };
    let post = || request("POST", "/api/mail.send.json").header("Content-Type", FORM);
    assert_eq!(post().body(form(1 << 20)).send(gateway.api()).status, 200);
    assert_eq!(backend.next().body.len(), 1 << 20);
    assert_eq!(post().chunked(form(1 << 20)).send(gateway.api()).status, 200);
    assert_eq!(backend.next().body.len(), 1 << 20);
    // One byte more, and much more.
    for length in [(1 << 20) + 1, 20 << 20] {
        assert_eq!(post().body(form(length)).send(gateway.api()).status, 413, "{length}");
        assert_eq!(post().chunked(form(length)).send(gateway.api()).status, 413, "{length}");
    }
    // Announced only: the answer doesn't wait for the body.
    let mut connection = Connection::open(gateway.api());
    let announced = format!(
        "POST /api/mail.send.xml HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 9999999\r\n\r\n"
    );
    connection.write(announced.as_bytes());
    let response = connection.read_response();
    assert_eq!(response.status, 413);
    assert!(response.text().contains("<message>error</message>"));
    assert_eq!(response.header("connection"), Some("close"));
    // With the credential in the header there is no limit.
    let with_header = post().basic(HOLDER).body(form(3 << 20)).send(gateway.api());
    assert_eq!(with_header.status, 200);
}

#[test]
fn connections_over_the_limit_are_closed_at_once_and_the_rest_is_served() {
    let backend = Backend::hello();
    let config = format!(
        "[server]\nthreads = 2\nmax_connections = 3\nmax_connections_per_source = 3\n{}",
        open_api(backend.address, "")
    );
    let gateway = Gateway::start(&config);
    let mut open: Vec<Connection> = (0..3)
        .map(|_| {
            let mut connection = Connection::open(gateway.api());
            assert_eq!(connection.exchange(get("/open/a")).status, 200);
            connection
        })
        .collect();
    assert!(Connection::open(gateway.api()).is_closed());
    for connection in &mut open {
        assert_eq!(connection.exchange(get("/open/a")).status, 200);
    }
    open.pop();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut connection = Connection::open(gateway.api());
        connection.write(&get("/open/a").bytes());
        if connection.try_response().is_some_and(|response| response.status == 200) {
            break;
        }
        assert!(Instant::now() < deadline, "the place of a closed connection was never given away");
    }
}

#[test]
fn requests_that_are_sent_ahead_do_not_keep_others_waiting() {
    const FLOODING: usize = 40;
    const AHEAD: usize = 1500;
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!(
        "[server]\nthreads = 1\n[auth]\nthrottle = false\n{}[ops]\nlisten = \"127.0.0.1:0\"\n",
        open_api(backend.address, "")
    ));
    let denied = || metric(&gateway, "gatepost_http_requests_total{entry=\"api\",status=\"401\"}");
    let mut flooding: Vec<Connection> = (0..FLOODING).map(|_| Connection::open(gateway.api())).collect();
    for connection in &mut flooding {
        assert_eq!(connection.exchange(get("/")).status, 401);
    }
    let mut other = Connection::open(gateway.api());
    assert_eq!(other.exchange(get("/")).status, 401);
    let before = denied();
    // All of it is there at once, that of the other client last.
    gateway.signal("STOP");
    let ahead = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(AHEAD);
    std::thread::scope(|scope| {
        for connection in &mut flooding {
            connection.write(ahead.as_bytes());
            let mut stream = connection.stream.try_clone().unwrap();
            scope.spawn(move || io::copy(&mut stream, &mut io::sink()));
        }
        other.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        gateway.signal("CONT");
        assert_eq!(other.read_response().status, 401);
        let meanwhile = denied() - before;
        for connection in &flooding {
            connection.stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
        assert!(meanwhile < (FLOODING * AHEAD / 2) as u64, "{meanwhile}");
    });
}

#[test]
fn a_client_that_disconnects_within_its_body_is_counted_and_not_a_refusal() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    gateway.account("api");
    for path in ["/api/a.json", "/api/credentials/add.json"] {
        let mut form = request("POST", path).header("Content-Type", FORM).body("api_user=john");
        if path.contains("credentials") {
            form = form.basic(HOLDER);
        }
        let whole = form.bytes();
        let mut connection = Connection::open(gateway.api());
        connection.write(&whole[..whole.len() - 1]);
        drop(connection);
        gateway.log().wait_for(&["\"target\":\"access\"", path, "\"status\":499"]);
    }
    let text = gateway.log().text();
    assert!(!text.contains("\"target\":\"refusal\""), "{text}");
}
