//! The end of a session ends what it opened: WebSockets and long responses, within a second.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::common::Gateway;
use crate::common::backend::{Backend, read_header};
use crate::common::callers::WEB;
use crate::common::http::{Connection, get, request};
use crate::common::web::{OWN_FORM, address, dashboard, fetch, log_in, logout_form, open, with};

/// The longest time that something may stay open after the change was answered, or the session has run out.
const A_SECOND: Duration = Duration::from_secs(1);

/// A backend with WebSockets that send back what they get, and responses without an end.
fn endless() -> Backend {
    Backend::handling(|stream, received| {
        let Some(request) = read_header(stream) else { return };
        let is_socket = request.header("upgrade").is_some();
        let _ = received.send(request);
        let head: &[u8] = match is_socket {
            true => b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            false => {
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            }
        };
        let _ = stream.get_mut().write_all(head);
        // Quiet from the second on: the end has to come by itself.
        let _ = stream.get_mut().write_all(if is_socket { b"welcome" } else { b"7\r\nwelcome\r\n" });
        let _ = std::io::Read::read_to_end(stream, &mut Vec::new());
    })
}

/// A WebSocket and a long response of a session, which are open.
fn opened(gateway: &Gateway, cookie: &str) -> [Connection; 2] {
    let socket = with(
        get("/ws")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        &[("Origin", "http://localhost:8081")],
    );
    [socket, fetch("GET", "/events")].map(|request| {
        let mut connection = Connection::open(address(gateway));
        connection.write(&request.header("Cookie", cookie).bytes());
        let mut got = Vec::new();
        while memchr::memmem::find(&got, b"welcome").is_none() {
            got.extend(connection.read_raw().expect("it ended"));
        }
        connection
    })
}

/// Sees that both end within a second.
fn end(connections: [Connection; 2], since: Instant, what: &str) {
    for mut connection in connections {
        connection.read_to_end();
        let took = since.elapsed();
        assert!(took < A_SECOND, "{what}: it ended after {took:?}");
    }
}

fn start(keys: &str) -> Gateway {
    let backend = Box::leak(Box::new(endless()));
    dashboard(backend, keys)
}

#[test]
fn a_logout_ends_what_the_session_opened_and_nothing_else() {
    let gateway = start("");
    let at = address(&gateway);
    let (mine, other) = (log_in(at, WEB), log_in(at, WEB));
    let (opened_by_mine, [mut socket, _events]) = (opened(&gateway, &mine), opened(&gateway, &other));
    assert_eq!(logout_form(&mine).send(at).status, 303);
    end(opened_by_mine, Instant::now(), "logout");
    // The other session goes on.
    assert!(socket.read_within(Duration::from_millis(300)).is_none());
    gateway.log().wait_for(&["tunnel closed", "viewer"]);
    gateway.log().wait_for(&["response broken off", "viewer", "the session has ended"]);
}

#[test]
fn a_request_that_waits_for_its_response_ends_with_the_session() {
    let backend = Backend::handling(|stream, received| {
        let Some(request) = read_header(stream) else { return };
        let _ = received.send(request);
        let _ = std::io::Read::read_to_end(stream, &mut Vec::new());
    });
    let gateway = dashboard(&backend, "");
    let at = address(&gateway);
    let form = || with(request("POST", "/slow"), &OWN_FORM);
    for (request, status, words) in [
        (open("/slow"), 303, ""),
        (fetch("GET", "/slow"), 401, "may or may not have been carried out"),
        (fetch("DELETE", "/slow"), 401, "may or may not have been carried out"),
        (form(), 401, "may or may not have been carried out"),
    ] {
        let cookie = log_in(at, WEB);
        let mut connection = Connection::open(at);
        connection.write(&request.header("Cookie", &cookie).bytes());
        backend.next();
        assert_eq!(logout_form(&cookie).send(at).status, 303);
        let since = Instant::now();
        let response = connection.read_response();
        assert!(since.elapsed() < A_SECOND, "{:?}", since.elapsed());
        assert_eq!(response.status, status);
        assert!(response.text().contains(words), "{}", response.text());
    }
    gateway.log().wait_for(&["\"refusal\"", "session ended before the response", "viewer"]);
}

#[test]
fn every_revocation_ends_them() {
    for (what, change) in [
        ("removal", ("remove", "username=viewer")),
        ("a cleared permission", ("edit", "username=viewer&permissions={\"web\":0}")),
        ("a new password", ("edit", "username=viewer&password=an0ther-passw0rd")),
    ] {
        let gateway = start("");
        let opened = opened(&gateway, &log_in(address(&gateway), WEB));
        assert_eq!(gateway.manage(change.0, change.1).0, 200);
        end(opened, Instant::now(), what);
    }
    let gateway = start("");
    let opened = opened(&gateway, &log_in(address(&gateway), WEB));
    assert!(gateway.command(&["account", "suspend", "acme"], "").status.success());
    end(opened, Instant::now(), "a suspension");
}

#[test]
fn a_session_runs_out_by_its_lifetime_and_by_its_idle_time() {
    for (keys, what) in [
        ("session_idle = \"2s\"\nsession_lifetime = \"2s\"", "lifetime"),
        ("session_idle = \"2s\"", "idle time"),
    ] {
        let gateway = start(keys);
        let at = address(&gateway);
        let cookie = log_in(at, WEB);
        let connections = opened(&gateway, &cookie);
        for mut connection in connections {
            connection.read_to_end();
        }
        assert_eq!(open("/a").header("Cookie", &cookie).send(at).status, 303, "{what}");
        assert_eq!(fetch("GET", "/a").header("Cookie", &cookie).send(at).status, 401, "{what}");
    }
}

#[test]
fn use_keeps_a_session_until_its_lifetime() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "session_idle = \"2s\"\nsession_lifetime = \"5s\"");
    let at = address(&gateway);
    let began = Instant::now();
    let cookie = log_in(at, WEB);
    let mut connection = Connection::open(at);
    let mut last_allowed = Duration::ZERO;
    loop {
        let response = connection.exchange(fetch("GET", "/a").header("Cookie", &cookie));
        if response.status != 200 {
            assert_eq!(response.status, 401);
            break;
        }
        last_allowed = began.elapsed();
        assert!(last_allowed < Duration::from_secs(7), "it never ended");
    }
    assert!(last_allowed > Duration::from_secs(3), "it ended after {last_allowed:?}");
}

#[test]
fn a_page_of_another_origin_keeps_no_session_alive() {
    let backend = Backend::hello();
    let gateway = dashboard(&backend, "session_idle = \"2s\"");
    let at = address(&gateway);
    let cookie = log_in(at, WEB);
    let began = Instant::now();
    loop {
        let foreign = with(request("POST", "/a"), &[("Origin", "http://localhost:9999")]);
        let response = foreign.header("Cookie", &cookie).send(at);
        if response.status != 403 {
            assert_eq!(response.status, 401, "the session has ended");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it never ends");
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn a_restart_logs_nobody_out() {
    let backend = Backend::hello();
    let mut gateway = dashboard(&backend, "");
    let (kept, ended) = (log_in(address(&gateway), WEB), log_in(address(&gateway), WEB));
    assert_eq!(logout_form(&ended).send(address(&gateway)).status, 303);
    gateway.kill();
    gateway.restart();
    let at = address(&gateway);
    assert_eq!(fetch("GET", "/a").header("Cookie", &kept).send(at).status, 200);
    assert_eq!(fetch("GET", "/a").header("Cookie", &ended).send(at).status, 401);
}
