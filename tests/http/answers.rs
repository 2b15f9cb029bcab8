//! Answers of backends in every framing that HTTP has: each arrives whole, and connections are kept on both sides.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::backend::{Backend, Received, read_request};
use crate::common::http::{Connection, get, request};
use crate::common::{Gateway, nobody, open_api};

/// Answers by path; a path without an answer ends the connection after `tail`.
fn framings() -> (Backend, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let backend = Backend::handling(move |stream, received| {
        count.fetch_add(1, Ordering::Relaxed);
        while let Some(request) = read_request(stream) {
            let answer = answer_to(&request);
            let closes = request.target.ends_with("/until-close");
            let _ = received.send(request);
            if stream.get_mut().write_all(answer.as_bytes()).is_err() || closes {
                return;
            }
        }
    });
    (backend, connections)
}

fn answer_to(request: &Received) -> String {
    let head = request.method == "HEAD";
    match request.target.trim_start_matches("/open/") {
        "sized" if head => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into(),
        "sized" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".into(),
        "chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n".into(),
        "trailers" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n".into(),
        "until-close" => "HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello".into(),
        "old/until-close" => "HTTP/1.0 200 OK\r\n\r\nhello".into(),
        "204" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
        "304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n".into(),
        "hints" => "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
                    HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
            .into(),
        "hop" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
                  Keep-Alive: timeout=9\r\nX-End: 2\r\n\r\nhello"
            .into(),
        "closing" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello".into(),
        other => panic!("{other}"),
    }
}

#[test]
fn every_framing_arrives_whole_and_the_clients_connection_stays() {
    let (backend, _) = framings();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut connection = Connection::open(gateway.api());
    for target in
        ["sized", "chunked", "trailers", "until-close", "old/until-close", "hints", "hop", "closing"]
    {
        for method in ["GET", "POST"] {
            let response = connection.exchange(request(method, &format!("/open/{target}")));
            assert_eq!((response.status, response.text().as_str()), (200, "hello"), "{method} {target}");
            assert_ne!(response.header("connection"), Some("close"), "{method} {target}");
            assert!(response.header("x-request-id").is_some());
            assert_eq!(response.header("x-hop"), None);
            assert_eq!(response.header("keep-alive"), None);
        }
    }
    assert_eq!(connection.exchange(get("/open/hop")).header("x-end"), Some("2"));
}

#[test]
fn answers_without_a_body_have_none() {
    let (backend, _) = framings();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut connection = Connection::open(gateway.api());
    for (method, target, status, length) in [
        ("HEAD", "sized", "200 OK", Some("5")),
        ("GET", "204", "204 No Content", None),
        ("GET", "304", "304 Not Modified", Some("5")),
        ("POST", "204", "204 No Content", None),
    ] {
        connection.write(&request(method, &format!("/open/{target}")).bytes());
        let head = String::from_utf8(connection.read_raw().unwrap()).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")) && head.ends_with("\r\n\r\n"), "{head}");
        let shown = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        assert_eq!(shown.as_deref(), length, "{method} {target}");
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    }
    // Nothing was left over that the next answer could be mistaken in.
    assert_eq!(connection.exchange(get("/open/sized")).text(), "hello");
}

/// Over HTTP/1, what is behind such a header would be read as the next answer.
#[test]
fn gateposts_own_answers_to_head_have_no_body() {
    let config = format!("{}[ops]\nlisten = \"127.0.0.1:0\"\n", open_api(nobody(), ""));
    let gateway = Gateway::start(&config);
    let head = |connection: &mut Connection, target: &str, status: u16| {
        connection.write(&request("HEAD", target).bytes());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(connection.read_raw().unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{target}: {head}");
        assert_eq!(head.matches("\r\n\r\n").count(), 1, "{target}: {head}");
        assert!(
            !head.contains("content-length: 0\r\n") && head.contains("content-length: "),
            "{target}: {head}"
        );
    };
    let mut connection = Connection::open(gateway.api());
    for (target, status) in [
        ("/v3/stats", 401),
        ("/v3/stats?api_user=a&api_user=b", 400),
        ("/open/a", 502),
        ("/api/credentials/get.json", 405),
        ("/api/credentials/nosuch.json", 404),
    ] {
        head(&mut connection, target, status);
        // Nothing was left over that this answer could be mistaken in.
        assert_eq!(connection.exchange(get("/v3/stats")).status, 401, "{target}");
    }
    let mut ops = Connection::open(gateway.address("ops.listen"));
    for (target, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/nosuch", 404)] {
        head(&mut ops, target, status);
        assert_eq!(ops.exchange(get("/healthz")).text(), "ok\n", "{target}");
    }
}

#[test]
fn hints_reach_clients_that_can_read_them() {
    let (backend, _) = framings();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let ask = |version: &str| {
        let mut connection = Connection::open(gateway.api());
        connection.write(
            format!("GET /open/hints HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        String::from_utf8(connection.read_to_end()).unwrap()
    };
    let new = ask("1.1");
    let (hint, answer) = (new.find("HTTP/1.1 103 "), new.find("HTTP/1.1 200 "));
    assert!(hint.is_some() && hint < answer && new.contains("</a.css>") && new.ends_with("hello"), "{new}");
    let old = ask("1.0");
    assert!(!old.contains(" 103 ") && old.ends_with("hello"), "{old}");
}

#[test]
fn clients_of_http_1_0_are_answered_in_their_own_way() {
    let (backend, _) = framings();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for target in ["sized", "chunked", "trailers", "until-close", "old/until-close"] {
        for fields in ["", "Connection: keep-alive\r\n"] {
            let mut connection = Connection::open(gateway.api());
            connection.write(format!("GET /open/{target} HTTP/1.0\r\n{fields}\r\n").as_bytes());
            if target == "sized" && !fields.is_empty() {
                assert_eq!(connection.read_response().text(), "hello");
                continue;
            }
            // Only the end of the connection tells the end of the body.
            let raw = String::from_utf8(connection.read_to_end()).unwrap();
            assert!(raw.ends_with("\r\n\r\nhello"), "{target} {fields:?}: {raw}");
            assert!(!raw.to_ascii_lowercase().contains("transfer-encoding"), "{raw}");
        }
    }
}

#[test]
fn connections_to_backends_are_kept() {
    let (backend, connections) = framings();
    let gateway = Gateway::start(&format!(
        "[server]\nthreads = 1\n{}",
        open_api(backend.address, "health_interval = \"1h\"")
    ));
    // Also for clients that open a connection for each request.
    for _ in 0..10 {
        for target in ["sized", "chunked", "trailers", "204", "hints", "hop"] {
            let response = get(&format!("/open/{target}")).send(gateway.api());
            assert!(response.status < 400, "{target}");
            assert!(request("POST", &format!("/open/{target}")).body("x").send(gateway.api()).status < 400);
        }
    }
    // One for the health check at the start.
    assert!(connections.load(Ordering::Relaxed) <= 2, "{connections:?} connections for 120 requests");
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let backend = Backend::answering(|request| {
        let body = format!("{} {}", request.target, request.body.len());
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut all = Vec::new();
    for number in 0..30 {
        let request = match number % 3 {
            0 => get(&format!("/open/{number}")),
            1 => request("POST", &format!("/open/{number}")).body("sized"),
            _ => request("POST", &format!("/open/{number}")).chunked("chunk"),
        };
        all.extend(request.bytes());
    }
    let check = |connection: &mut Connection| {
        for number in 0..30 {
            let length = if number % 3 == 0 { 0 } else { 5 };
            assert_eq!(connection.read_response().text(), format!("/open/{number} {length}"));
        }
    };
    let mut at_once = Connection::open(gateway.api());
    at_once.write(&all);
    check(&mut at_once);
    // However they are cut, also within a request whose predecessor is being answered.
    for size in [1, 7, 100, 1000] {
        let mut in_pieces = Connection::open(gateway.api());
        for piece in all.chunks(size) {
            in_pieces.write(piece);
        }
        check(&mut in_pieces);
    }
    // What comes after a request that can't be understood is nobody's.
    let mut broken = Connection::open(gateway.api());
    let mut bytes = get("/open/a").bytes();
    bytes.extend_from_slice(b"nonsense\r\n\r\n");
    bytes.extend(get("/open/b").bytes());
    broken.write(&bytes);
    assert_eq!(broken.read_response().status, 200);
    assert_eq!(broken.read_response().status, 400);
    assert!(broken.is_closed());
}

#[test]
fn large_answers_stream_in_little_memory() {
    const SIZE: usize = 100 << 20;
    let backend = Backend::handling(|stream, _| {
        while let Some(request) = read_request(stream) {
            let chunked = request.target.ends_with("chunked");
            let stream = stream.get_mut();
            let head = if chunked {
                "Transfer-Encoding: chunked".to_owned()
            } else {
                format!("Content-Length: {SIZE}")
            };
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes());
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..SIZE >> 20 {
                if chunked {
                    let _ = stream.write_all(b"100000\r\n");
                }
                let _ = stream.write_all(&piece);
                if chunked {
                    let _ = stream.write_all(b"\r\n");
                }
            }
            if chunked {
                let _ = stream.write_all(b"0\r\n\r\n");
            }
        }
    });
    let gateway = Gateway::start(&open_api(backend.address, ""));
    assert_eq!(get("/open/chunked").send(gateway.api()).body.len(), SIZE);
    assert_eq!(get("/open/sized").send(gateway.api()).body.len(), SIZE);
    let peak = gateway.peak_memory();
    assert!(peak < 100 << 20, "{peak} bytes at most for two answers of {SIZE}");
}
