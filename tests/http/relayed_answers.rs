//! Every kind of answer that a backend gives, to requests with and without a body, and to every kind of client.

use std::io::Write;

use crate::common::backend::{Backend, Received, read_request};
use crate::common::http::{Connection, get, request};
use crate::common::http2::{self, ask, http2};
use crate::common::tls::Authority;
use crate::common::{Gateway, configured, open_api};

/// The `Date` of most answers.
const DATE: &str = "Date: Thu, 01 Jan 2015 00:00:00 GMT\r\n";

/// An answer, the status that clients get, the fields that a client of HTTP/1.1 gets, and the body; with `DATE` in both, and `ID` for
/// the request ID. The backend closes its connection after an answer whose name begins with `until`.
struct Case {
    name: &'static str,
    answer: &'static str,
    status: &'static str,
    fields: &'static str,
    body: &'static str,
}

const fn case(
    name: &'static str,
    answer: &'static str,
    status: &'static str,
    fields: &'static str,
    body: &'static str,
) -> Case {
    Case { name, answer, status, fields, body }
}

const LENGTH: &str = "DATEContent-Length: 5\r\nID";
const CHUNKED: &str = "DATETransfer-Encoding: chunked\r\nID";
const BARE: &str = "DATEID";

const CASES: [Case; 22] = [
    case("sized", "1.1 200 OK\r\nDATEContent-Length: 5\r\n\r\nhello", "200 OK", LENGTH, "hello"),
    case(
        "empty",
        "1.1 404 Gone Fishing\r\nDATEContent-Length: 0\r\n\r\n",
        "404 Gone Fishing",
        "DATEContent-Length: 0\r\nID",
        "",
    ),
    case(
        "chunked",
        "1.1 200 OK\r\nDATETransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "200 OK",
        CHUNKED,
        "hello",
    ),
    case(
        "empty-chunked",
        "1.1 200 OK\r\nDATETransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "200 OK",
        CHUNKED,
        "",
    ),
    case(
        "trailers",
        "1.1 200 OK\r\nTrailer: X-Sum\r\nDATETransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        "200 OK",
        CHUNKED,
        "hello",
    ),
    case("until-close", "1.1 200 OK\r\nDATE\r\nhello", "200 OK", CHUNKED, "hello"),
    case("until-close-1.0", "1.0 200 OK\r\nDATE\r\nhello", "200 OK", CHUNKED, "hello"),
    case("sized-1.0", "1.0 200 OK\r\nDATEContent-Length: 5\r\n\r\nhello", "200 OK", LENGTH, "hello"),
    case(
        "closing",
        "1.1 200 OK\r\nConnection: close\r\nDATEContent-Length: 5\r\n\r\nhello",
        "200 OK",
        LENGTH,
        "hello",
    ),
    case(
        "upgrade",
        "1.1 200 OK\r\nUpgrade: h2c\r\nTE: trailers\r\nDATEContent-Length: 5\r\nDate: x\r\n\r\nhello",
        "200 OK",
        LENGTH,
        "hello",
    ),
    case(
        "fields",
        "1.1 200 OK\r\nDATEcontent-LENGTH: 5\r\nETag: \"a\"\r\nset-cookie: a\r\nset-cookie: b\r\nX-Request-Id: theirs\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\r\nhello",
        "200 OK",
        "DATEcontent-LENGTH: 5\r\nETag: \"a\"\r\nset-cookie: a\r\nset-cookie: b\r\nID",
        "hello",
    ),
    case(
        "nominated",
        "1.1 200 OK\r\nDATEConnection: keep-alive, X-Hop, Content-Type\r\nContent-Type: text/plain\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\nhello",
        "200 OK",
        "DATEContent-Type: text/plain\r\nContent-Length: 5\r\nID",
        "hello",
    ),
    // Lengths that say the same more than once, and a coding that is none.
    case("list-of-lengths", "1.1 200 OK\r\nDATEContent-Length: 5, 5\r\n\r\nhello", "200 OK", LENGTH, "hello"),
    case(
        "two-lengths",
        "1.1 200 OK\r\nDATEContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "200 OK",
        LENGTH,
        "hello",
    ),
    case(
        "identity",
        "1.1 200 OK\r\nDATETransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        "200 OK",
        LENGTH,
        "hello",
    ),
    case(
        "identity-empty",
        "1.1 200 OK\r\nDATETransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
        "200 OK",
        "DATEContent-Length: 0\r\nID",
        "",
    ),
    case(
        "identity-chunked",
        "1.1 200 OK\r\nDATETransfer-Encoding: identity, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "200 OK",
        CHUNKED,
        "hello",
    ),
    // What has no body, whatever the backend says or sends.
    case("204", "1.1 204 No Content\r\nDATE\r\n", "204 No Content", BARE, ""),
    case("204-sized", "1.1 204 No Content\r\nDATEContent-Length: 5\r\n\r\n", "204 No Content", BARE, ""),
    case(
        "204-chunked",
        "1.1 204 No Content\r\nDATETransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "204 No Content",
        BARE,
        "",
    ),
    case("304", "1.1 304 Not Modified\r\nDATEContent-Length: 5\r\n\r\n", "304 Not Modified", LENGTH, ""),
    case(
        "304-chunked",
        "1.1 304 Not Modified\r\nDATETransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "304 Not Modified",
        BARE,
        "",
    ),
];

/// Answers that can't be understood in one way.
const NONSENSE: [(&str, &str); 9] = [
    ("coded", "1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("only-coded", "1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
    ("twice-chunked", "1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (
        "two-codings",
        "1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("chunked-identity", "1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("two-different-lengths", "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello"),
    ("list-of-different-lengths", "1.1 200 OK\r\nContent-Length: 5, 4\r\n\r\nhello"),
    ("empty-size", "1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n"),
    ("101", "1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
];

fn answer_to(request: &Received) -> Vec<u8> {
    let name = request.target.trim_start_matches("/open/");
    let case = CASES.iter().map(|case| (case.name, case.answer)).chain(NONSENSE).find(|(n, _)| *n == name);
    let answer = match name {
        "end" => "1.1 299 End\r\nContent-Length: 0\r\n\r\n",
        _ => case.unwrap_or_else(|| panic!("{name}")).1,
    };
    let answer = format!("HTTP/{}", answer.replace("DATE", DATE));
    if request.method != "HEAD" {
        return answer.into_bytes();
    }
    answer[..answer.find("\r\n\r\n").unwrap() + 4].into()
}

fn backend() -> Backend {
    Backend::handling(|stream, received| {
        while let Some(request) = read_request(stream) {
            let (answer, closes) = (answer_to(&request), request.target.starts_with("/open/until"));
            let _ = received.send(request);
            if stream.get_mut().write_all(&answer).is_err() || closes {
                return;
            }
        }
    })
}

/// The header, its request ID and the dates of this year replaced, and the body, chunks put together.
fn split(raw: &[u8]) -> (String, String) {
    let text = String::from_utf8(raw.to_vec()).unwrap();
    let (head, mut rest) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no header in {text:?}"));
    let head: String = head
        .lines()
        .map(|line| match line.split_once(": ") {
            Some(("x-request-id", id)) if id.len() == 16 => "ID".into(),
            _ => format!("{line}\r\n"),
        })
        .collect();
    let mut body = String::new();
    if !head.contains("Transfer-Encoding: chunked") {
        return (head, rest.to_owned());
    }
    loop {
        let (size, chunk) = rest.split_once("\r\n").unwrap_or_else(|| panic!("no chunk in {rest:?}"));
        let size = usize::from_str_radix(size, 16).unwrap();
        body += &chunk[..size];
        rest = chunk[size..].strip_prefix("\r\n").unwrap();
        if size == 0 {
            assert_eq!(rest, "", "behind {text:?}");
            return (head, body);
        }
    }
}

/// Everything that comes for a request up to the answer of the next one, to which the connection has to stay open.
fn exchange(gateway: &Gateway, first: &[u8]) -> Vec<u8> {
    let mut connection = Connection::open(gateway.api());
    connection.write(&[first, &get("/open/end").header("Connection", "close").bytes()].concat());
    let all = connection.read_to_end();
    let end = memchr::memmem::find(&all, b"HTTP/1.1 299 End\r\n");
    let end = end.unwrap_or_else(|| panic!("the connection didn't stay open after {}", all.escape_ascii()));
    all[..end].to_vec()
}

// Case C5, Case C13: framing that says the same twice, or that a 204 or 304 can't have
#[test]
fn both_paths_give_the_client_the_same_bytes() {
    let backend = backend();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for case in &CASES {
        let target = format!("/open/{}", case.name);
        for (path, bytes) in [
            ("fast", get(&target).bytes()),
            ("duplex", get(&target).body("x").bytes()),
            ("duplex, chunked", get(&target).chunked("x").bytes()),
        ] {
            let (head, body) = split(&exchange(&gateway, &bytes));
            let expected = format!("HTTP/1.1 {}\r\n{}", case.status, case.fields).replace("DATE", DATE);
            assert_eq!((head, body.as_str()), (expected, case.body), "{} over the {path} path", case.name);
        }
    }
}

#[test]
fn a_backend_with_tls_gives_the_client_the_same_bytes() {
    let authority = Authority::new();
    let backend = authority.issue("127.0.0.1").backend_answering(|request| {
        let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
        String::from_utf8(answer_to(&Received { target, ..Received::default() })).unwrap()
    });
    let config = open_api(backend, "health_interval = \"1h\"\nupstream_ca = \"DIR/ca.pem\"");
    let directory = configured(&config.replace("http://", "https://"));
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let gateway = Gateway::start_in(directory);
    // This backend doesn't end its connections.
    for case in CASES.iter().filter(|case| !case.name.starts_with("until")) {
        let target = format!("/open/{}", case.name);
        let (head, body) = split(&exchange(&gateway, &get(&target).bytes()));
        let expected = format!("HTTP/1.1 {}\r\n{}", case.status, case.fields).replace("DATE", DATE);
        assert_eq!((head, body.as_str()), (expected, case.body), "{}", case.name);
    }
}

// Case C5, Case C14: framing that contradicts itself, an empty size line and another coding
#[test]
fn answers_that_contradict_themselves_are_a_bad_gateway_over_both_paths() {
    let backend = backend();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for (name, _) in NONSENSE {
        let target = format!("/open/{name}");
        for request in [get(&target), get(&target).body("x"), request("POST", &target).body("x")] {
            let asked = request.bytes();
            let answer = request.send(gateway.api());
            assert_eq!(answer.status, 502, "{}: {}", asked.escape_ascii(), answer.text());
        }
    }
}

#[test]
fn head_gets_the_header_of_get_without_the_framing_of_a_body() {
    let backend = backend();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for case in &CASES {
        let (head, body) =
            split(&exchange(&gateway, &request("HEAD", &format!("/open/{}", case.name)).bytes()));
        let fields = case.fields.replace("Transfer-Encoding: chunked\r\n", "").replace("DATE", DATE);
        let shown = head;
        assert_eq!(
            (shown, body),
            (format!("HTTP/1.1 {}\r\n{fields}", case.status), String::new()),
            "{}",
            case.name
        );
    }
}

#[test]
fn an_answer_without_a_date_gets_one_over_both_paths() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for request in [get("/open/a"), get("/open/a").body("x")] {
        let mut connection = Connection::open(gateway.api());
        connection.write(&request.header("Connection", "keep-alive").bytes());
        let raw = String::from_utf8(connection.read_raw().unwrap()).unwrap();
        let (head, tail) = raw.split_once("Date: ").unwrap();
        assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n", "{raw}");
        assert_eq!(tail.find(" GMT\r\nx-request-id: "), Some("Sat, 28 Nov 2026 08:00:00".len()), "{raw}");
    }
}

// Case C6: a client of HTTP/1.0 and every kind of answer
/// `ab -k` waits for the next answer where one says that the connection stays open.
#[test]
fn a_client_of_http_1_0_is_told_whether_the_connection_stays_open() {
    let backend = backend();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for case in &CASES {
        for (fields, asks) in [("", false), ("Connection: Keep-Alive\r\n", true)] {
            let stays = asks && !case.fields.contains("Transfer-Encoding");
            let mut connection = Connection::open(gateway.api());
            let first = format!("GET /open/{} HTTP/1.0\r\n{fields}\r\n", case.name);
            let next = if stays { "GET /open/end HTTP/1.0\r\n\r\n" } else { "" };
            connection.write((first + next).as_bytes());
            let all = String::from_utf8(connection.read_to_end()).unwrap();
            let answer = match all.find("HTTP/1.1 299 End") {
                Some(end) if stays => &all[..end],
                None if !stays => &all[..],
                _ => panic!("{}, asked to stay: {asks}: {all}", case.name),
            };
            let expected = case.fields.replace("Transfer-Encoding: chunked\r\n", "").replace(
                "ID",
                if stays { "Connection: keep-alive\r\nID" } else { "Connection: close\r\nID" },
            );
            let expected = format!("HTTP/1.1 {}\r\n{expected}", case.status).replace("DATE", DATE);
            assert_eq!(
                split(answer.as_bytes()),
                (expected, case.body.to_owned()),
                "{} {fields:?}",
                case.name
            );
        }
    }
}

// Case C13, Case C14: framing of no body, another coding and the field TE, over HTTP/2
// Case C3: the backend's date is kept over HTTP/2, too
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_2_gets_the_same_fields_but_those_of_the_connection() {
    let (authority, backend) = (Authority::new(), backend());
    let gateway = http2::start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    for case in &CASES {
        let answer = ask(&mut client, "GET", &format!("/open/{}", case.name), &[], true).0.await.unwrap();
        let dates: Vec<_> = answer.headers().get_all("date").iter().collect();
        let [date] = dates[..] else { panic!("{}: {dates:?}", case.name) };
        let is_kept = DATE.contains(date.to_str().unwrap());
        assert_eq!(is_kept, case.fields.contains("DATE"), "{}: {date:?}", case.name);
        let mut shown: Vec<String> = answer
            .headers()
            .iter()
            .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        let kept =
            case.fields.replace("DATE", "").replace("ID", "").replace("Transfer-Encoding: chunked\r\n", "");
        let mut expected: Vec<String> = kept
            .lines()
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
            .collect();
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected, "{}", case.name);
        let (status, body) = http2::whole(answer).await.unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let expected: u16 = case.status[..3].parse().unwrap();
        assert_eq!((status, body), (expected, case.body.as_bytes().to_vec()), "{}", case.name);
    }
    for (name, _) in NONSENSE {
        let answer = ask(&mut client, "GET", &format!("/open/{name}"), &[], true).0.await.unwrap();
        assert_eq!(answer.status(), 502, "{name}");
    }
}

/// Hints come before the answer, without the fields that are about the backend's connection.
#[test]
fn hints_are_the_same_over_both_paths() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Request-Id: a\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: now\r\n\r\nhello"
            .to_vec()
    });
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for request in [get("/open/a"), get("/open/a").body("x")] {
        let mut connection = Connection::open(gateway.api());
        connection.write(&request.header("Connection", "close").bytes());
        let all = String::from_utf8(connection.read_to_end()).unwrap();
        let answer = all.strip_prefix("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        let (head, body) = split(answer.unwrap_or_else(|| panic!("{all}")).as_bytes());
        assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: now\r\nConnection: close\r\nID");
        assert_eq!(body, "hello");
    }
}

// Case C13: the last chunk that comes late
/// Bytes that a backend sends behind an answer without a body are not the next answer, however late they come.
#[test]
fn late_bytes_behind_an_answer_without_a_body_harm_no_other_request() {
    for header in [
        "204 No Content\r\nTransfer-Encoding: chunked",
        "204 No Content\r\nContent-Length: 5",
        "304 Not Modified\r\nTransfer-Encoding: chunked",
    ] {
        let backend = Backend::handling(move |stream, received| {
            while let Some(request) = read_request(stream) {
                let is_first = request.target == "/open/first";
                let _ = received.send(request);
                let stream = stream.get_mut();
                if is_first {
                    let _ = stream.write_all(format!("HTTP/1.1 {header}\r\n\r\n").as_bytes());
                    // Until the next request comes on this connection, or its end.
                    let _ = stream.peek(&mut [0]);
                    let _ = stream.write_all(b"0\r\n\r\n");
                } else {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
                }
            }
        });
        let config = format!("[server]\nthreads = 1\n{}", open_api(backend.address, ""));
        let gateway = Gateway::start(&config);
        let mut connection = Connection::open(gateway.api());
        let first = connection.exchange(get("/open/first"));
        assert_eq!(first.status.to_string(), header[..3]);
        // Not repeated where it fails.
        let second = connection.exchange(request("POST", "/open/second").body("x"));
        assert_eq!((second.status, second.text().as_str()), (200, "hello"), "{header}");
    }
}
