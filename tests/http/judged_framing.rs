//! One request stays one request, whatever its framing says, and each in a row is decided for itself.

use crate::common::Gateway;
use crate::common::backend::Backend;
use crate::common::callers::{API, BASIC_API, with_caller};
use crate::common::http::{Connection, get, request};

/// Whatever could end in another place for another reader is refused, and nothing that follows is taken for a request.
#[test]
fn one_request_stays_one_request() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    let length = hidden.len();
    let shapes: Vec<(&str, String, String)> = vec![
        (
            "both",
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "both, the other way",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), hidden.into()),
        ("two lengths in one", format!("Content-Length: 0, {length}\r\n"), hidden.into()),
        ("the same twice in one", format!("Content-Length: {length}, {length}\r\n"), hidden.into()),
        ("plus", format!("Content-Length: +{length}\r\n"), hidden.into()),
        ("minus", "Content-Length: -1\r\n".into(), hidden.into()),
        ("hexadecimal", format!("Content-Length: 0x{length:x}\r\n"), hidden.into()),
        ("with a space in it", "Content-Length: 1 2\r\n".into(), hidden.into()),
        ("empty length", "Content-Length:\r\n".into(), hidden.into()),
        ("huge length", "Content-Length: 99999999999999999999999999\r\n".into(), hidden.into()),
        ("xchunked", "Transfer-Encoding: xchunked\r\n".into(), hidden.into()),
        ("identity", "Transfer-Encoding: identity\r\n".into(), hidden.into()),
        ("gzip", "Transfer-Encoding: gzip\r\n".into(), hidden.into()),
        ("chunked, then gzip", "Transfer-Encoding: chunked, gzip\r\n".into(), format!("0\r\n\r\n{hidden}")),
        (
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "chunked twice in one",
            "Transfer-Encoding: chunked, chunked\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "chunked and identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        ("vertical tab", "Transfer-Encoding: \x0bchunked\r\n".into(), hidden.into()),
        ("quoted", "Transfer-Encoding: \"chunked\"\r\n".into(), hidden.into()),
        ("parameter", "Transfer-Encoding: chunked;a=b\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("space before the colon", format!("Content-Length : {length}\r\n"), hidden.into()),
        (
            "space before the colon, chunked",
            "Transfer-Encoding : chunked\r\n".into(),
            format!("0\r\n\r\n{hidden}"),
        ),
        ("tab before the colon", "Transfer-Encoding\t: chunked\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("folded", "X-A: b\r\n Transfer-Encoding: chunked\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("folded value", "Transfer-Encoding:\r\n chunked\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("a space first", " X-A: b\r\n".into(), hidden.into()),
        ("no colon", "Nothing\r\n".into(), hidden.into()),
        ("no name", ": b\r\n".into(), hidden.into()),
        ("bare LF", "X-A: b\nX-B: c\r\n".into(), hidden.into()),
        ("bare LF ends the header", "X-A: b\n\n".into(), hidden.into()),
        ("bare CR", "X-A: b\rTransfer-Encoding: chunked\r\n".into(), format!("0\r\n\r\n{hidden}")),
        ("NUL in a name", "X-A\0: b\r\n".into(), hidden.into()),
        ("NUL in a value", "X-A: b\0c\r\n".into(), hidden.into()),
    ];
    for (shape, fields, body) in shapes {
        let bytes = format!("POST /judged HTTP/1.1\r\nHost: gate.test\r\n{BASIC_API}{fields}\r\n{body}");
        refused_and_closed(&gateway, bytes.as_bytes(), shape);
    }
    let lines: [&str; 10] = [
        "GET /judged HTTP/1.1\nHost: gate.test\n",
        "GET  /judged HTTP/1.1\r\nHost: gate.test\r\n",
        "GET /judged  HTTP/1.1\r\nHost: gate.test\r\n",
        "GET\t/judged\tHTTP/1.1\r\nHost: gate.test\r\n",
        "GET /judged HTTP/2.0\r\nHost: gate.test\r\n",
        "GET /judged http/1.1\r\nHost: gate.test\r\n",
        "GET /judged\r\nHost: gate.test\r\n",
        "G(T /judged HTTP/1.1\r\nHost: gate.test\r\n",
        "/judged HTTP/1.1\r\nHost: gate.test\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
    ];
    for line in lines {
        refused_and_closed(&gateway, format!("{line}{BASIC_API}\r\n{hidden}").as_bytes(), line);
    }
    // None of it reached the backend.
    let reached: Vec<String> =
        backend.drain().into_iter().map(|r| r.raw.escape_ascii().to_string()).collect();
    assert!(reached.is_empty(), "{reached:#?}");
}

#[track_caller]
fn refused_and_closed(gateway: &Gateway, bytes: &[u8], shape: &str) {
    let mut connection = Connection::open(gateway.api());
    connection.write(bytes);
    if let Some(response) = connection.try_response() {
        assert!(matches!(response.status, 400 | 411 | 501 | 505), "{shape}: {}", response.status);
        assert!(connection.try_response().is_none(), "{shape}: what followed was answered");
    }
}

/// A body in chunks that can't be read to its end never looks complete to the backend.
#[test]
fn a_broken_body_stays_broken() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";
    let bodies = [
        format!("x\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("-3\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("+3\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("0x3\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("3 \u{b}\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("ffffffffffffffff0\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("10000000000000003\r\nabc\r\n0\r\n\r\n{hidden}"),
        format!("3\r\nabcd\r\n0\r\n\r\n{hidden}"),
        format!("3\r\nabc0\r\n\r\n{hidden}"),
        format!("3\nabc\r\n0\r\n\r\n{hidden}"),
        format!("3\r\nabc\n0\r\n\r\n{hidden}"),
        format!("3\rabc\r\n0\r\n\r\n{hidden}"),
    ];
    for body in bodies {
        let head = format!(
            "POST /judged HTTP/1.1\r\nHost: gate.test\r\n{BASIC_API}Transfer-Encoding: chunked\r\n\r\n"
        );
        let mut connection = Connection::open(gateway.api());
        connection.write(format!("{head}{body}").as_bytes());
        let context = body.escape_debug().to_string();
        if let Some(response) = connection.try_response() {
            assert_eq!(response.status, 400, "{context}");
            assert!(connection.try_response().is_none(), "{context}: what followed was answered");
        }
        // The recorder gives only what was complete.
        assert_eq!(get("/sentinel").basic(API).send(gateway.api()).status, 200);
        let mut reached = vec![backend.next().target];
        reached.extend(backend.drain().into_iter().map(|r| r.target));
        assert_eq!(reached, ["/sentinel"], "{context}");
    }
}

/// Requests that are sent without waiting are each decided by themselves, and answered in their order.
#[test]
fn requests_in_a_row_are_decided_one_by_one() {
    let backend = Backend::answering(|received| {
        let target = &received.target;
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()).into_bytes()
    });
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let mut all = Vec::new();
    for request in [
        get("/1").basic(API),
        get("/2"),
        get("/v3/mail/send").basic(API),
        request("POST", "/4").basic(API).body("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        request("POST", "/5").basic(API).chunked("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        get("/6").basic(API),
    ] {
        all.extend(request.bytes());
    }
    connection.write(&all);
    let answers: Vec<(u16, String)> = (0..6)
        .map(|_| connection.read_response())
        .map(|response| {
            (response.status, if response.status == 200 { response.text() } else { String::new() })
        })
        .collect();
    let ok = |target: &str| (200, target.to_owned());
    assert_eq!(answers, [ok("/1"), (401, String::new()), (403, String::new()), ok("/4"), ok("/5"), ok("/6")]);
    let targets: Vec<String> = backend.drain().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/1", "/4", "/5", "/6"]);
}
