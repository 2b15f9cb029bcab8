//! Forms that have to be read before anybody is known: they have their room and their time, and nobody has all of it.

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_header, read_request};
use crate::common::http::{Connection, Request, request};
use crate::common::{Gateway, HOLDER, PATIENCE, open_api};

const FORM: &str = "application/x-www-form-urlencoded";

/// Room for a few forms of 200 KiB on the disk, and for one and a half of one source.
const LITTLE_ROOM: &str =
    "max_form_body = \"256KiB\"\nspool_memory_total = \"0B\"\nspool_disk_total = \"1MiB\"";

fn gateway(backend: &Backend, keys: &str) -> Gateway {
    let config = format!("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n{}", open_api(backend.address, keys));
    let gateway = Gateway::start(&config);
    gateway.account("email,api,web");
    gateway
}

/// A form of that many bytes and a few more, with its credential at its end.
fn form(source: &str, length: usize) -> Request {
    let (name, password) = HOLDER.split_once(':').unwrap();
    let body = format!("note={}&api_user={name}&api_key={password}", "x".repeat(length));
    request("POST", "/api/mail.send.json")
        .header("Content-Type", FORM)
        .header("X-Forwarded-For", source)
        .body(body)
}

/// Sends all but the end of a form.
fn half_sent(gateway: &Gateway, source: &str, length: usize) -> Connection {
    let bytes = form(source, length).bytes();
    let mut connection = Connection::open(gateway.api());
    connection.write(&bytes[..bytes.len() - 10]);
    connection
}

#[test]
fn half_sent_forms_of_one_source_shut_out_neither_others_nor_short_forms() {
    let backend = Backend::hello();
    let gateway = gateway(&backend, LITTLE_ROOM);
    let since = Instant::now();
    // As long as the half one wasn't read, there is room for another, and then it may be the half one that finds none.
    let (held, refused) = loop {
        let held = half_sent(&gateway, "192.0.2.1", 200 << 10);
        let response = form("192.0.2.1", 200 << 10).send(gateway.api());
        if response.status != 200 {
            break (held, response);
        }
        assert!(since.elapsed() < PATIENCE, "one source has more than its share");
    };
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("Too many large requests"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(form("192.0.2.2", 200 << 10).send(gateway.api()).status, 200);
    assert_eq!(form("192.0.2.1", 10 << 10).send(gateway.api()).status, 200);
    // Who comes while there is no room waits a little for it.
    drop(held);
    assert_eq!(form("192.0.2.1", 200 << 10).send(gateway.api()).status, 200);
}

#[test]
fn a_form_needs_no_room_while_its_answer_is_waited_for() {
    let (go, gone) = channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let backend = Backend::handling(move |stream, received| {
        let Some(request) = read_request(stream) else { return };
        let _ = received.send(request);
        let _ = gone.lock().unwrap().recv();
        let _ =
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let gateway = gateway(&backend, LITTLE_ROOM);
    let mut waiting: Vec<Connection> = (0..4)
        .map(|_| {
            let mut connection = Connection::open(gateway.api());
            connection.write(&form("192.0.2.1", 200 << 10).bytes());
            assert!(backend.next().body.len() > 200 << 10);
            connection
        })
        .collect();
    waiting.iter().for_each(|_| go.send(()).unwrap());
    assert!(waiting.iter_mut().all(|connection| connection.read_response().status == 200));
}

#[test]
fn a_form_that_takes_too_long_in_all_is_408_however_steadily_it_comes() {
    let backend = Backend::hello();
    let gateway = gateway(&backend, "form_timeout = \"400ms\"");
    let manage = String::from_utf8(form("192.0.2.1", 60 << 10).bytes()).unwrap();
    let manage = manage.replace("/api/mail.send.json", "/api/credentials/get.json").into_bytes();
    for bytes in [form("192.0.2.1", 20 << 20).bytes(), manage] {
        let mut connection = Connection::open(gateway.api());
        let started = Instant::now();
        let mut pieces = bytes.chunks(1000);
        // Far more than it has to be at least, and far less than all of it would need.
        let answer = loop {
            connection.write(pieces.next().expect("all of it was taken"));
            if let Some(answer) = connection.read_within(Duration::from_millis(20)) {
                break answer.expect("closed without an answer");
            }
        };
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
        assert!(started.elapsed() >= Duration::from_millis(400));
    }
    assert!(backend.drain().is_empty());
}

/// A streamed body is the backend's concern, and may take its time.
#[test]
fn a_form_that_streams_has_no_such_time() {
    let backend = Backend::handling(|stream, received| {
        let Some(mut request) = read_header(stream) else { return };
        let length: usize = request.header("content-length").unwrap().parse().unwrap();
        request.body = vec![0; length];
        stream.read_exact(&mut request.body).unwrap();
        let _ = received.send(request);
        let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = gateway(&backend, "form_timeout = \"100ms\"");
    let bytes = form("192.0.2.1", 20 << 10).basic(HOLDER).bytes();
    let mut connection = Connection::open(gateway.api());
    for piece in bytes.chunks(2000) {
        assert_eq!(connection.read_within(Duration::from_millis(20)), None);
        connection.write(piece);
    }
    assert_eq!(connection.read_response().status, 200);
}
