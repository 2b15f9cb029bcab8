//! Request lines as clients write them: bytes that a URI may not have are encoded, minor versions are read, and no space is guessed
//! about.

use crate::common::Gateway;
use crate::common::backend::Backend;
use crate::common::callers::{API, BASIC_API, with_caller};
use crate::common::http::{Connection, Response, get};

/// Sends a request with that line, and another one behind it.
fn send(gateway: &Gateway, line: &[u8], fields: &str, body: &str) -> (Response, Connection) {
    let mut connection = Connection::open(gateway.api());
    let rest = format!("\r\nHost: gate.test\r\n{BASIC_API}{fields}\r\n{body}");
    connection.write(&[line, rest.as_bytes(), &get("/behind").basic(API).bytes()].concat());
    (connection.read_response(), connection)
}

// Case A2: raw bytes that RFC 3986 does not allow in a target
#[test]
fn bytes_that_no_uri_has_are_forwarded_encoded() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let cases: [(&[u8], &str); 20] = [
        (b"/e?filter={\"a\":1}", "/e?filter=%7B%22a%22:1%7D"),
        (b"/e?x=<y>", "/e?x=%3Cy%3E"),
        (b"/e?x=a|b^c`d", "/e?x=a%7Cb%5Ec%60d"),
        (b"/e?x=a\\b", "/e?x=a%5Cb"),
        (b"/e?x=\xc3\xa9", "/e?x=%C3%A9"),
        (b"/e?x=\xff\x80", "/e?x=%FF%80"),
        (b"/e?{", "/e?%7B"),
        (b"/e?x={}&y=%7b%7D%22", "/e?x=%7B%7D&y=%7b%7D%22"),
        // What a URI may have stays as it is, in its own spelling.
        (b"/e?x=[1]&y=a'b(c)*,;:@!$+-._~/?=", "/e?x=[1]&y=a'b(c)*,;:@!$+-._~/?="),
        (b"/e?x=%", "/e?x=%"),
        (b"/e?x=%zz", "/e?x=%zz"),
        // The same in a path.
        (b"/{id}/x", "/%7Bid%7D/x"),
        (b"/\"a\"", "/%22a%22"),
        (b"/a<b>c", "/a%3Cb%3Ec"),
        (b"/a|b^c`d", "/a%7Cb%5Ec%60d"),
        (b"/caf\xc3\xa9", "/caf%C3%A9"),
        (b"/caf\xe9", "/caf%E9"),
        (b"/\xe2\x82\xac?\xe2\x82\xac", "/%E2%82%AC?%E2%82%AC"),
        // In the other forms of a target.
        (b"http://gate.test/e?x={}", "/e?x=%7B%7D"),
        (b"http://gate.test/{}", "/%7B%7D"),
    ];
    for (target, forwarded) in cases {
        for method in ["GET", "POST"] {
            let line = [method.as_bytes(), b" ", target, b" HTTP/1.1"].concat();
            let shown = line.escape_ascii().to_string();
            let fields = if method == "POST" { "Content-Length: 1\r\n" } else { "" };
            let (answer, mut connection) = send(&gateway, &line, fields, &"x"[..fields.len().min(1)]);
            assert_eq!(answer.status, 200, "{shown}: {}", answer.text());
            assert_eq!(backend.next().target, forwarded, "{shown}");
            assert_eq!(connection.read_response().status, 200, "{shown}");
            assert_eq!(backend.next().target, "/behind", "{shown}");
        }
    }
}

// Case A2: the credential beside such bytes
#[test]
fn a_credential_beside_bytes_that_no_uri_has_is_found_and_masked() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    gateway.credential("wild:pass{}\"w0rd", "api");
    for (query, forwarded) in [
        ("api_user=wild&api_key=pass{}\"w0rd&x={}", "/e?x=%7B%7D"),
        ("x={\"a\":1}&api_user=wild&api_key=pass%7B%7D%22w0rd", "/e?x=%7B%22a%22:1%7D"),
    ] {
        let mut connection = Connection::open(gateway.api());
        connection.write(format!("GET /e?{query} HTTP/1.1\r\nHost: gate.test\r\n\r\n").as_bytes());
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let received = backend.next();
        assert!(!received.contains("w0rd"), "{query}: {}", received.raw.escape_ascii());
        assert_eq!(received.target, forwarded, "{query}");
    }
}

// Case A12: minor versions that nobody has defined
#[test]
fn a_higher_minor_version_is_read_as_1_1() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    for version in ["1.1", "1.2", "1.3", "1.9"] {
        for (fields, body, received) in [
            ("", "", ""),
            ("Content-Length: 5\r\n", "hello", "hello"),
            ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        ] {
            let line = format!("PUT /e HTTP/{version}");
            let (answer, mut connection) = send(&gateway, line.as_bytes(), fields, body);
            assert_eq!(answer.status, 200, "{line} {fields}: {}", answer.text());
            assert_eq!(answer.header("connection"), None, "{line} {fields}");
            let request = backend.next();
            assert!(request.raw.starts_with(b"PUT /e HTTP/1.1\r\n"), "{}", request.raw.escape_ascii());
            assert_eq!(request.body, received.as_bytes(), "{line} {fields}");
            // It stays open, as with 1.1.
            assert_eq!(connection.read_response().status, 200, "{line} {fields}");
            assert_eq!(backend.next().target, "/behind");
        }
        // 100-continue is 1.1's as well.
        let mut connection = Connection::open(gateway.api());
        let head = format!(
            "POST /e HTTP/{version}\r\nHost: a\r\n{BASIC_API}Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        );
        connection.write(head.as_bytes());
        assert_eq!(connection.read_response().status, 100, "{version}");
        connection.write(b"x");
        assert_eq!(connection.read_response().status, 200, "{version}");
        assert_eq!(backend.next().body, b"x");
    }
}

// Case A12: minor versions of a backend's answer
#[test]
fn a_higher_minor_version_of_an_answer_is_read_as_1_1() {
    let backend = Backend::answering(|request| {
        let version = request.target.trim_start_matches("/v?");
        format!("HTTP/{version} 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").into()
    });
    let gateway = with_caller(&backend, "");
    for version in ["1.1", "1.2", "1.9"] {
        let mut connection = Connection::open(gateway.api());
        connection.write(&get(&format!("/v?{version}")).basic(API).header("Connection", "close").bytes());
        let answer = String::from_utf8(connection.read_to_end()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("hello"), "{version}: {answer}");
    }
    for version in ["2.0", "0.9", "1.10", "1", "1.", "01.1", "1.x", "1.1x", "1,1"] {
        let answer = get(&format!("/v?{version}")).basic(API).send(gateway.api());
        assert_eq!(answer.status, 502, "{version}");
    }
}

// Case A12: what is no version, or another protocol's
#[test]
fn other_versions_are_refused_and_nothing_behind_them_runs() {
    refused(
        &[
            "GET /e HTTP/2.0",
            "GET /e HTTP/2",
            "GET /e HTTP/3.0",
            "GET /e HTTP/0.9",
            "GET /e HTTP/1.10",
            "GET /e HTTP/1.01",
            "GET /e HTTP/01.1",
            "GET /e HTTP/11.1",
            "GET /e HTTP/1",
            "GET /e HTTP/1.",
            "GET /e HTTP/.1",
            "GET /e HTTP/1.1x",
            "GET /e HTTP/1.x",
            "GET /e HTTP/1,1",
            "GET /e HTTP/-1.1",
            "GET /e HTTP/1.1/1.1",
            "GET /e http/1.1",
            "GET /e Http/1.1",
            "GET /e HTTP1.1",
            "GET /e HTTPS/1.1",
            "GET /e HTTP/1.1\0",
            "GET /e ICY/1.1",
            "GET /e",
            "GET /e HTTP/\u{661}.1",
        ],
        None,
    );
}

// Case A16: spaces and tabs where a request line has none
#[test]
fn a_space_in_the_target_is_refused_with_a_text_that_says_so() {
    refused(
        &[
            "GET /a b HTTP/1.1",
            "GET /a  b HTTP/1.1",
            "GET /a b c HTTP/1.1",
            "GET /?x=a b HTTP/1.1",
            "GET / a HTTP/1.1",
            "GET /a HTTP/1.1 HTTP/1.1",
            "GET http://gate.test/a b HTTP/1.1",
        ],
        Some("space"),
    );
}

// Case A16: other blanks of a request line
#[test]
fn blanks_that_separate_nothing_are_refused() {
    refused(
        &[
            "GET  /a HTTP/1.1",
            "GET   /a HTTP/1.1",
            "GET /a  HTTP/1.1",
            "GET /a HTTP/1.1 ",
            "GET /a HTTP/1.1\t",
            "GET /a HTTP/1.1  ",
            " GET /a HTTP/1.1",
            "\tGET /a HTTP/1.1",
            "GET\t/a HTTP/1.1",
            "GET /a\tHTTP/1.1",
            "GET\t/a\tHTTP/1.1",
            "GET /a\tb HTTP/1.1",
            "GET /a\t HTTP/1.1",
            "GET \t/a HTTP/1.1",
            "GET /a HTTP/ 1.1",
            "GET /a HTTP /1.1",
            "GET /a HTTP/1 .1",
            "GET /a\u{b}b HTTP/1.1",
            "GET /a\u{c}HTTP/1.1",
            "GET /a\rb HTTP/1.1",
            "GET /a\r HTTP/1.1",
            "GET /a\0b HTTP/1.1",
            "GET /a\u{7f}b HTTP/1.1",
            "GET /a\u{1}b HTTP/1.1",
            "GET",
            "GET ",
        ],
        None,
    );
}

/// Each line is answered with 400 or 505 and the end of the connection, and nothing reaches a backend.
#[track_caller]
fn refused(lines: &[&str], says: Option<&str>) {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    for line in lines {
        let (answer, mut connection) = send(&gateway, line.as_bytes(), "", "");
        assert!(matches!(answer.status, 400 | 505), "{line:?}: {}", answer.status);
        let text = answer.text();
        assert!(says.is_none_or(|word| text.contains(word)), "{line:?}: {text}");
        assert!(connection.is_closed(), "{line:?}: what followed was answered");
    }
    assert_eq!(get("/sentinel").basic(API).send(gateway.api()).status, 200);
    assert_eq!(backend.next().target, "/sentinel");
}
