//! Connections of clients that stay open or end, as the client asked and as the answer allows, and are said to.

use std::fmt::Write;
use std::io::Write as _;

use crate::common::backend::{Backend, read_request};
use crate::common::http::{Connection, Response};
use crate::common::{Gateway, open_api};

/// The name of an answer, the answer, and whether it has a length or no body at all.
const ANSWERS: [(&str, &str, bool); 7] = [
    ("sized", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true),
    ("sized-1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", true),
    ("empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
    ("204", "HTTP/1.1 204 No Content\r\n\r\n", true),
    ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false),
    ("until-close", "HTTP/1.1 200 OK\r\n\r\nhello", false),
    ("until-close-1.0", "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhello", false),
];

/// Fields of a request, and what they ask for, if for anything.
const FIELDS: [(&str, Option<bool>); 12] = [
    ("", None),
    ("Connection: keep-alive\r\n", Some(true)),
    ("Connection: Keep-Alive\r\n", Some(true)),
    ("connection: x, keep-alive\r\n", Some(true)),
    ("Connection: x\r\nConnection: keep-alive\r\n", Some(true)),
    ("Connection: keep-alive\r\nKeep-Alive: timeout=5, max=2\r\n", Some(true)),
    ("Connection: close\r\n", Some(false)),
    ("Connection: Close\r\n", Some(false)),
    ("Connection: keep-alive, close\r\n", Some(false)),
    ("Connection: close, keep-alive\r\n", Some(false)),
    ("Connection: keep-alive\r\nConnection: close\r\n", Some(false)),
    ("Keep-Alive: timeout=5\r\n", None),
];

fn backend() -> Backend {
    Backend::handling(|stream, _| {
        while let Some(request) = read_request(stream) {
            let name = request.target.trim_start_matches("/open/");
            let answer = ANSWERS.iter().find(|(n, ..)| *n == name).map(|(_, answer, _)| *answer);
            let answer = answer.unwrap_or("HTTP/1.1 299 End\r\nContent-Length: 0\r\n\r\n");
            let head = answer.find("\r\n\r\n").unwrap() + 4;
            let end = if request.method == "HEAD" { head } else { answer.len() };
            let _ = stream.get_mut().write_all(&answer.as_bytes()[..end]);
            if name.starts_with("until-close") {
                return;
            }
        }
    })
}

/// Returns true if the answer says that the connection stays open; `None` if it says nothing.
fn says(answer: &Response) -> Option<bool> {
    let mut said = answer.header("connection")?.split(',').map(|option| option.trim().to_ascii_lowercase());
    Some(!said.any(|option| option == "close"))
}

// Case C6: every combination of a version, what it asks for, and an answer
#[test]
fn a_connection_stays_open_where_it_was_asked_for_and_ends_where_it_is_said_to() {
    let backend = backend();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut wrong = String::new();
    for version in ["1.0", "1.1"] {
        for (fields, asked) in FIELDS {
            for (name, _, has_length) in ANSWERS {
                for (method, body) in [("GET", ""), ("POST", "x"), ("HEAD", "")] {
                    let asks = asked.unwrap_or(version == "1.1");
                    let stays = asks && (version == "1.1" || has_length || method == "HEAD");
                    let shown = format!("{method} {name} HTTP/{version} {fields:?}");
                    let length = if body.is_empty() { "" } else { "Content-Length: 1\r\n" };
                    let mut connection = Connection::open(gateway.api());
                    connection.write(
                        format!(
                            "{method} /open/{name} HTTP/{version}\r\nHost: a\r\n{fields}{length}\r\n{body}"
                        )
                        .as_bytes(),
                    );
                    println!("{shown}");
                    let (head, stayed) = end_of(connection, stays);
                    let (said, stays_by_default) = (says(&head), version == "1.1");
                    if stayed != stays || said.unwrap_or(stays_by_default) != stayed {
                        let _ = writeln!(wrong, "{shown}: said {said:?}, stayed {stayed}, expected {stays}");
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_no_request_is_answered_whole_after_a_request_without_a_body() {
    let backend = backend();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut connection = Connection::open(gateway.api());
    connection.write(b"HEAD /open/sized HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n");
    let all = String::from_utf8(connection.read_to_end()).unwrap();
    let (_, refused) = all.split_once("HTTP/1.1 400").expect("a refusal behind the answer to HEAD");
    let (_, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(body.contains("Invalid request line"), "{all}");
}

#[test]
fn an_empty_line_behind_a_body_is_no_part_of_a_request() {
    let backend = backend();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut connection = Connection::open(gateway.api());
    connection.write(b"POST /open/sized HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n");
    assert_eq!(connection.read_response().status, 200);
    // The connection is idle, so its end is no incomplete header.
    connection.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(String::from_utf8(connection.read_to_end()).unwrap(), "");
}

// A connection that is closed with unread bytes is reset.
#[test]
fn a_body_that_was_sent_without_the_100_does_not_reset_the_connection_of_its_refusal() {
    let backend = backend();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let mut stream = std::net::TcpStream::connect(gateway.api()).unwrap();
    // More than one read takes.
    let request = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n{}",
        "x".repeat(30_000)
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = String::new();
    std::io::Read::read_to_string(&mut stream, &mut all).expect("no reset");
    assert!(all.starts_with("HTTP/1.1 401 "), "{all}");
    // A client that is still sending learns of a reset by its next write but one.
    for rest in [10_000, 10_000] {
        stream.write_all("x".repeat(rest).as_bytes()).expect("no reset while the client sends");
    }
}

/// The header of the answer, and whether the connection stays open behind it. A second request is sent only where it should.
fn end_of(mut connection: Connection, second: bool) -> (Response, bool) {
    if second {
        connection.write(b"GET /open/end HTTP/1.0\r\n\r\n");
    }
    let all = String::from_utf8(connection.read_to_end()).unwrap();
    let head = all.split("\r\n\r\n").next().unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    (Response { status: 0, headers, body: Vec::new() }, all.contains("HTTP/1.1 299 End"))
}
