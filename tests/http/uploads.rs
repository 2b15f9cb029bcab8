//! Large requests: streamed where the credential stands in the header, spooled where it stands in a form, and refused
//! early where they have no chance.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::common::backend::{Backend, read_header, read_request};
use crate::common::forms::{MULTIPART, after_attachment};
use crate::common::http::{Connection, get, request};
use crate::common::{Gateway, HOLDER, nobody, open_api};

fn gateway(upstream: SocketAddr, keys: &str) -> Gateway {
    let gateway = Gateway::start(&open_api(upstream, keys));
    gateway.account("email,api,web");
    gateway
}

/// A gateway before two backends.
fn before(one: SocketAddr, other: SocketAddr) -> Gateway {
    let two = open_api(one, "health_interval = \"10m\"")
        .replace(&format!("\"http://{one}\""), &format!("\"http://{one}\", \"http://{other}\""));
    let gateway = Gateway::start(&two);
    gateway.account("email,api,web");
    gateway
}

/// A backend that counts a body of any framing without keeping it, and answers with the count.
fn counting() -> Backend {
    Backend::handling(|stream, received| {
        while let Some(header) = read_header(stream) {
            let mut count = 0;
            let mut piece = vec![0; 1 << 16];
            if let Some(length) =
                header.header("content-length").and_then(|length| length.parse::<usize>().ok())
            {
                while count < length {
                    let most = piece.len().min(length - count);
                    match stream.read(&mut piece[..most]) {
                        Ok(read @ 1..) => count += read,
                        _ => return,
                    }
                }
            } else {
                loop {
                    let mut line = String::new();
                    if std::io::BufRead::read_line(stream, &mut line).is_err() {
                        return;
                    }
                    let size = usize::from_str_radix(line.trim(), 16).unwrap();
                    let mut left = size + 2;
                    while left > 0 {
                        let most = piece.len().min(left);
                        match stream.read(&mut piece[..most]) {
                            Ok(read @ 1..) => left -= read,
                            _ => return,
                        }
                    }
                    count += size;
                    if size == 0 {
                        break;
                    }
                }
            }
            let _ = received.send(header);
            let body = count.to_string();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn an_upload_with_the_credential_in_its_header_streams_in_little_memory() {
    const PIECE: usize = 1 << 20;
    let backend = counting();
    let gateway = gateway(backend.address, "");
    let piece = vec![b'x'; PIECE];
    for chunked in [false, true] {
        let mut connection = Connection::open(gateway.api());
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", 500 * PIECE)
        };
        let start = request("POST", "/api/upload.json").basic(HOLDER).bytes();
        let start = String::from_utf8(start).unwrap().replace("Content-Length: 0", &framing);
        connection.write(start.as_bytes());
        for _ in 0..500 {
            if chunked {
                connection.write(b"100000\r\n");
            }
            connection.write(&piece);
            if chunked {
                connection.write(b"\r\n");
            }
        }
        if chunked {
            connection.write(b"0\r\n\r\n");
        }
        let response = connection.read_response();
        assert_eq!((response.status, response.text()), (200, (500 * PIECE).to_string()));
    }
    let peak = gateway.peak_memory();
    assert!(peak < 100 << 20, "{peak} bytes at most for two uploads of 500 MiB");
}

/// Chunks that arrive apart from their ends: what the backend gets ends where the client's body ends, and not before.
#[test]
fn a_chunked_body_is_whole_however_it_arrives() {
    let backend = Backend::answering(|request| {
        let length = request.body.len().to_string();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{length}", length.len()).into_bytes()
    });
    let gateway = gateway(backend.address, "");
    let start = String::from_utf8(request("POST", "/api/a.json").basic(HOLDER).bytes()).unwrap();
    let start = start.replace("Content-Length: 0", "Transfer-Encoding: chunked");
    for pieces in [
        &["5\r\n", "hello", "\r\n", "5", "\r", "\n", "world", "\r", "\n", "0\r\n\r\n"][..],
        &["5\r\nhello", "\r\n5\r\nworld", "\r\n", "0\r\n", "\r\n"],
        &["5\r\nhel", "lo\r\n5;x=y\r\nworld\r", "\n0\r\nX-Sum: 1\r\n", "\r\n"],
    ] {
        let mut connection = Connection::open(gateway.api());
        connection.write(start.as_bytes());
        let (end, before) = pieces.split_last().unwrap();
        for piece in before {
            connection.write(piece.as_bytes());
            // Time for the piece to be read by itself; where it isn't, the test finds less, and still passes.
            assert_eq!(connection.read_within(Duration::from_millis(20)), None, "answered after {piece:?}");
        }
        connection.write(end.as_bytes());
        assert_eq!(connection.read_response().text(), "10");
        assert_eq!(backend.next().body, b"helloworld");
    }
}

/// Some backends would read a body without a type as a form, but most are uploads.
#[test]
fn a_body_without_a_type_passes_as_it_is_and_is_no_way_in() {
    let backend = Backend::hello();
    let gateway = gateway(backend.address, "");
    let mut bytes = b"&=;%00&&".repeat(20_000);
    bytes.extend((0..100_000_u32).map(|i| (i % 251 * 7 % 256) as u8));
    for request in [request("POST", "/api/a"), request("PUT", "/api/a").header("Content-Type", " ")] {
        let response =
            request.basic(HOLDER).header("Content-Encoding", "own").body(bytes.clone()).send(gateway.api());
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(backend.next().body == bytes);
    }
    let login = format!("api_user={}", HOLDER.replace(':', "&api_key="));
    assert_eq!(request("POST", "/api/a").body(login.clone()).send(gateway.api()).status, 401);
    let both = request("POST", "/api/a").basic(HOLDER).body(login).send(gateway.api());
    assert_eq!(both.status, 200);
    assert!(!backend.next().contains(HOLDER.split_once(':').unwrap().1));
    assert!(backend.drain().is_empty());
}

#[test]
fn a_credential_after_25_mb_is_found_in_little_memory() {
    let backend = counting();
    let gateway = gateway(backend.address, "");
    let before = gateway.peak_memory();
    let form = after_attachment(HOLDER, 25 << 20);
    let post = || request("POST", "/api/mail.send.json").header("Content-Type", MULTIPART);
    for request in [post().body(form.clone()), post().chunked(form.clone())] {
        let response = request.send(gateway.api());
        assert_eq!((response.status, response.text()), (200, form.len().to_string()));
        // Its length is known by now, whatever the client said.
        assert_eq!(backend.next().header("content-length"), Some(form.len().to_string().as_str()));
    }
    let grown = gateway.peak_memory() - before;
    assert!(grown < 15 << 20, "{grown} bytes for a form of 25 MiB");
}

#[test]
fn what_was_spooled_goes_to_the_next_backend_where_the_first_is_down() {
    let backend = Backend::hello();
    let gateway = before(nobody(), backend.address);
    for size in [100, 3 << 20] {
        for _ in 0..3 {
            let post = request("POST", "/api/mail.send.json")
                .header("Content-Type", MULTIPART)
                .body(after_attachment(HOLDER, size));
            assert_eq!(post.send(gateway.api()).status, 200);
            let received = backend.next();
            assert_eq!(received.body.len(), after_attachment(HOLDER, size).len());
            assert!(!received.contains(HOLDER.split_once(':').unwrap().1));
        }
    }
    assert!(backend.drain().is_empty());
}

#[test]
fn what_was_spooled_goes_to_the_next_backend_where_the_first_one_closes_over_it() {
    let closes = Backend::handling(|stream, received| {
        if let Some(request) = read_request(stream) {
            let _ = received.send(request);
        }
    });
    let well = Backend::hello();
    let gateway = before(closes.address, well.address);
    // In memory, and in a file.
    for size in [100, 3 << 20] {
        let form = after_attachment(HOLDER, size);
        let put = || request("PUT", "/api/a.json").header("Content-Type", MULTIPART).body(form.clone());
        for _ in 0..2 {
            assert_eq!(put().send(gateway.api()).status, 200);
        }
        let (lost, taken) = (closes.drain(), well.drain());
        assert!(!lost.is_empty(), "the first one was never asked");
        assert_eq!(taken.len(), 2, "each is answered once");
        for received in taken {
            assert_eq!(received.header("content-length"), Some(form.len().to_string().as_str()));
            assert!(!received.contains(HOLDER.split_once(':').unwrap().1));
            assert!(received.body == lost[0].body, "both get the same");
            assert!(received.body[..size] == form[..size]);
        }
    }
}

/// A short body is in memory, and so an idempotent request can be sent again with it (RFC 9110 section 9.2.2).
#[test]
fn a_short_body_goes_to_the_next_backend_where_the_method_allows_it() {
    let closes = Backend::handling(|stream, received| {
        if let Some(request) = read_request(stream) {
            let _ = received.send(request);
        }
    });
    let well = Backend::hello();
    let gateway = before(closes.address, well.address);
    let body = b"short ".repeat(1000);
    for _ in 0..2 {
        let put = || request("PUT", "/api/a.json").basic(HOLDER);
        assert_eq!(put().body(body.clone()).send(gateway.api()).status, 200);
        assert_eq!(put().chunked(body.clone()).send(gateway.api()).status, 200);
    }
    let (lost, taken) = (closes.drain(), well.drain());
    assert!(!lost.is_empty(), "the first one was never asked");
    assert!(taken.len() == 4 && taken.iter().chain(&lost).all(|received| received.body == body));
}

#[test]
fn what_was_streamed_goes_to_no_other_backend() {
    let closes = Backend::handling(|stream, received| {
        let Some(header) = read_header(stream) else { return };
        let _ = stream.read_exact(&mut [0; 100_000]);
        let _ = received.send(header);
    });
    // Tells of what it gets of a request, however little that is.
    let other = Backend::handling(|stream, received| {
        let Some(header) = read_header(stream) else { return };
        let _ = received.send(header);
        let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let gateway = before(closes.address, other.address);
    let put = || request("PUT", "/api/upload.json").basic(HOLDER).body(vec![b'x'; 8 << 20]);
    let statuses: Vec<u16> = (0..4).map(|_| put().send(gateway.api()).status).collect();
    let lost = closes.drain().len();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), lost, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), other.drain().len(), "{statuses:?}");
    assert!(lost > 0, "the first one was never asked");
}

#[test]
fn a_refusal_reaches_a_client_that_still_sends_50_mb() {
    let backend = Backend::handling(|stream, received| {
        let Some(header) = read_header(stream) else { return };
        let _ = received.send(header);
        let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
        let _ = stream.get_mut().write_all(answer);
    });
    let gateway = gateway(backend.address, "");
    let body = vec![b'x'; 50 << 20];
    let post = |login| request("POST", "/api/upload.json").basic(login);
    // The backend's.
    for request in [post(HOLDER).body(body.clone()), post(HOLDER).chunked(body.clone())] {
        let response = request.send(gateway.api());
        assert_eq!((response.status, response.text().as_str()), (413, "big"));
        backend.next();
    }
    // The gateway's own.
    for request in
        [post("acme:wrong-passw0rd").body(body.clone()), post("acme:wrong-passw0rd").chunked(body.clone())]
    {
        assert_eq!(request.send(gateway.api()).status, 401);
    }
    assert_eq!(request("PUT", "/api/upload.json").body(body).send(gateway.api()).status, 401);
    assert!(backend.drain().is_empty());
}

/// The backend has read the header, takes nothing more, and answers when nothing moves any more; it closes nothing.
#[test]
fn an_early_answer_reaches_a_client_whose_body_nobody_takes() {
    let (answer, stuck) = channel();
    let (end, ended) = channel::<()>();
    let (stuck, ended) = (Mutex::new(stuck), Mutex::new(ended));
    let backend = Backend::handling(move |stream, received| {
        let Some(header) = read_header(stream) else { return };
        let _ = received.send(header);
        if stuck.lock().unwrap().recv().is_ok() {
            let _ =
                stream.get_mut().write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
            let _ = ended.lock().unwrap().recv();
        }
    });
    let gateway = gateway(backend.address, "write_timeout = \"10m\"");
    for framing in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut connection = Connection::open(gateway.api());
        let start = String::from_utf8(request("POST", "/api/upload.json").basic(HOLDER).bytes()).unwrap();
        connection.write(start.replace("Content-Length: 0", framing).as_bytes());
        if framing.ends_with("chunked") {
            connection.write(b"3b9aca00\r\n");
        }
        backend.next();
        connection.write_until_stuck();
        answer.send(()).unwrap();
        let response = connection.read_response();
        assert_eq!((response.status, response.text().as_str()), (413, "big"), "{framing}");
        end.send(()).unwrap();
    }
}

#[test]
fn expect_100_continue() {
    let backend = Backend::hello();
    let gateway = gateway(backend.address, "");
    let start = |target: &str, login: &str, fields: &str| {
        let request = request("POST", target).basic(login).header("Expect", "100-continue").bytes();
        String::from_utf8(request).unwrap().replace("Content-Length: 0", fields)
    };
    // Accepted: the body is asked for, and the backend isn't told to expect anything.
    let mut connection = Connection::open(gateway.api());
    connection.write(start("/api/a.json", HOLDER, "Content-Length: 5").as_bytes());
    assert_eq!(connection.read_response().status, 100);
    connection.write(b"hello");
    assert_eq!(connection.read_response().status, 200);
    let received = backend.next();
    assert_eq!((received.header("expect"), received.body.as_slice()), (None, &b"hello"[..]));
    // Refused before the body was sent.
    let mut connection = Connection::open(gateway.api());
    connection.write(start("/api/a.json", "acme:wrong-passw0rd", "Content-Length: 99999999").as_bytes());
    assert_eq!(connection.read_response().status, 401);
    assert!(connection.is_closed());
    // A form has to be read first, and one that is too large isn't asked for.
    let form_type = |length| format!("Content-Type: {MULTIPART}\r\nContent-Length: {length}");
    let no_login = |text: String| {
        text.lines().filter(|line| !line.starts_with("Auth")).collect::<Vec<_>>().join("\r\n") + "\r\n\r\n"
    };
    let mut connection = Connection::open(gateway.api());
    let form = after_attachment(HOLDER, 1000);
    connection
        .write(no_login(start("/api/mail.send.json", HOLDER, &form_type(form.len()))).trim_end().as_bytes());
    connection.write(b"\r\n\r\n");
    assert_eq!(connection.read_response().status, 100);
    connection.write(&form);
    assert_eq!(connection.read_response().status, 200);
    let mut connection = Connection::open(gateway.api());
    connection
        .write(no_login(start("/api/mail.send.json", HOLDER, &form_type(99_999_999))).trim_end().as_bytes());
    connection.write(b"\r\n\r\n");
    assert_eq!(connection.read_response().status, 413);
    // On the management API, too.
    let mut connection = Connection::open(gateway.api());
    let form_fields = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9";
    connection.write(start("/api/credentials/get.json", HOLDER, form_fields).as_bytes());
    assert_eq!(connection.read_response().status, 100);
    connection.write(b"unused=xx");
    assert_eq!(connection.read_response().status, 200);
}

#[test]
fn a_backend_that_ends_in_the_middle_of_an_upload_is_502() {
    let backend = Backend::handling(|stream, _| {
        let _ = read_header(stream);
    });
    let gateway = gateway(backend.address, "");
    let post = || request("POST", "/api/upload.json").basic(HOLDER);
    assert_eq!(post().body(vec![b'x'; 8 << 20]).send(gateway.api()).status, 502);
    assert_eq!(post().chunked(vec![b'x'; 8 << 20]).send(gateway.api()).status, 502);
}

#[test]
fn a_client_that_ends_in_the_middle_of_an_upload_leaves_nothing_behind() {
    let (ended, ends) = channel();
    let backend = Backend::handling(move |stream, received| {
        if let Some(header) = read_header(stream) {
            let _ = received.send(header);
            let _ = ended.send(std::io::copy(stream, &mut std::io::sink()).is_ok());
        }
    });
    let gateway = gateway(backend.address, "");
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut connection = Connection::open(gateway.api());
        let start = String::from_utf8(request("POST", "/api/a.json").basic(HOLDER).bytes()).unwrap();
        connection.write(start.replace("Content-Length: 0", framing).as_bytes());
        connection.write(b"5\r\nhello\r\n");
        backend.next();
        drop(connection);
        ends.recv_timeout(crate::common::PATIENCE).unwrap();
    }
    assert_eq!(get("/api/credentials/get.json").basic(HOLDER).send(gateway.api()).status, 200);
}
