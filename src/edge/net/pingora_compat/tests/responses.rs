use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, DATE};
use pingora_http::ResponseHeader;

use super::super::*;
use super::streams::Recorded;
use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn response(status: u16, fields: &[(&'static str, &'static str)]) -> Box<ResponseHeader> {
    let mut header = ResponseHeader::build(status, None).unwrap();
    for (name, value) in fields {
        header.insert_header(*name, *value).unwrap();
    }
    Box::new(header)
}

/// Returns what the client of a request gets for this response, and true if its connection is given back.
async fn answered(request_bytes: &[u8], header: Box<ResponseHeader>, body: &'static str) -> (String, bool) {
    let (mut session, client) = request(request_bytes).await;
    session.write_response_header(header).await.unwrap();
    session.write_response_body(Bytes::from_static(body.as_bytes()), true).await.unwrap();
    let kept = finished(session).await.is_some();
    (received(client).await, kept)
}

#[tokio::test]
async fn date_and_connection_are_set_by_pingora() {
    let fields = [("Date", "yesterday"), ("Connection", "x"), ("Content-Length", "0")];
    let (mut session, _client) = request(GET).await;
    let before = date();
    session.write_response_header(response(200, &fields)).await.unwrap();
    let headers = &session.response_written().unwrap().headers;
    let written = &headers[DATE];
    assert!([before, date()].contains(written), "http::headers::response sends the same date: {written:?}");
    assert_eq!(headers[CONNECTION], "keep-alive", "http::client_stream replaces it");
    assert_eq!(headers.get_all(DATE).iter().count() + headers.get_all(CONNECTION).iter().count(), 2);
    assert_eq!(written.len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());

    for (request_bytes, connection) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..], "close"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", "close"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "keep-alive"),
    ] {
        let (text, _) = answered_early(request_bytes).await;
        let line = format!("\r\nconnection: {connection}\r\n");
        assert!(text.to_lowercase().contains(&line), "for a body that is not read to its end: {text}");
    }
}

/// The response before the request's body was read.
async fn answered_early(request_bytes: &[u8]) -> (String, bool) {
    let (mut session, client) = request(request_bytes).await;
    session.write_response_header(response(200, &[("Content-Length", "0")])).await.unwrap();
    session.write_response_body(Bytes::new(), true).await.unwrap();
    let kept = session.get_keepalive().is_some();
    drop(session);
    (received(client).await, kept)
}

#[tokio::test]
async fn informational_responses_are_written_as_they_are() {
    let (mut session, client) = request(GET).await;
    session.write_response_header(response(103, &[("Link", "x")])).await.unwrap();
    drop(session);
    assert_eq!(received(client).await, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
}

#[tokio::test]
async fn responses_without_a_body_by_definition_get_none() {
    let head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (request_bytes, status) in [(&head[..], 200), (GET, 204), (GET, 304)] {
        let header = response(status, &[("Content-Length", "5")]);
        let (text, kept) = answered(request_bytes, header, "hello").await;
        assert!(text.ends_with("\r\n\r\n"), "http::respond and ops leave that to pingora: {text}");
        assert!(kept, "{text}");
    }
    let (text, kept) = answered(GET, response(200, &[("Content-Length", "5")]), "hello").await;
    assert!(text.ends_with("\r\n\r\nhello") && kept, "{text}");
}

#[tokio::test]
async fn a_response_that_ends_with_the_connection_ends_the_connection() {
    let (text, kept) = answered(GET, response(200, &[]), "hello").await;
    assert!(!kept && text.ends_with("\r\n\r\nhello"), "http::headers::response has it chunked: {text}");
    let (text, kept) = answered(GET, response(200, &[("Transfer-Encoding", "chunked")]), "hello").await;
    assert!(kept && text.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn a_session_that_wrote_nothing_writes_nothing_when_it_is_finished() {
    let (session, client) = request(GET).await;
    let (stream, prefix) = finished(session).await.expect("http::proxy::delivery writes on it");
    assert!(prefix.is_none());
    drop(stream);
    assert_eq!(received(client).await, "");
}

#[tokio::test]
async fn a_header_goes_out_in_one_write() {
    let long = "a".repeat(100_000);
    for status in [100, 103, 101, 200, 304] {
        let (near, mut client) = duplex(1 << 20);
        client.write_all(GET).await.unwrap();
        let writes = Arc::default();
        let stream = Recorded { stream: Box::new(near), writes: Arc::clone(&writes) };
        let mut session = ServerSession::new_http1(Box::new(stream));
        session.read_request().await.unwrap();
        let mut header = response(status, &[("Content-Length", "5")]);
        header.insert_header("X-Long", &long).unwrap();
        session.write_response_header(header).await.unwrap();
        let writes = writes.lock();
        let [write] = &writes[..] else {
            panic!("{status}: {} writes: see http::client_stream", writes.len())
        };
        assert!(write.starts_with(b"HTTP/1.1 ") && write.ends_with(b"\r\n\r\n"), "see http::client_stream");
    }
}
