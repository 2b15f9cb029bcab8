use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::super::*;
use super::*;

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\n";

#[tokio::test]
async fn a_length_beside_chunked_is_left_out_of_the_fields_and_not_of_the_raw_header() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (session, _client) = request(bytes).await;
    assert!(!session.req_header().headers.contains_key(CONTENT_LENGTH));
    assert_eq!(&session.to_h1_raw()[..], bytes, "http::ambiguity looks for such a field in the raw header");
    let bytes = b"GET / HTTP/1.1\nHost: a\n\n";
    let (session, _client) = request(bytes).await;
    assert_eq!(&session.to_h1_raw()[..], bytes, "http::ambiguity looks for a lone LF in the raw header");
}

#[tokio::test]
async fn an_invalid_target_is_escaped_in_the_request_and_in_the_raw_header() {
    let (session, _client) = request(b"GET /a b\"c HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(session.req_header().raw_path(), b"/a%20b%22c", "http::target judges what it is given");
    assert!(
        session.to_h1_raw().starts_with(b"GET /a%20b%22c HTTP/1.1\r\n"),
        "http::framing has it read again"
    );
}

#[tokio::test]
async fn bytes_behind_a_request_without_a_body_are_the_next_request() {
    let header = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let (mut session, _client) = request(&[header, NEXT].concat()).await;
    assert_eq!(session.get_keepalive(), None);
    session.req_header_mut().remove_header(&TRANSFER_ENCODING);
    session.set_keepalive(KEPT);
    assert_eq!(session.get_keepalive(), None, "Connection: close wins: http::framing removes it first");
    session.req_header_mut().remove_header("Connection");
    session.set_keepalive(KEPT);
    assert!(session.is_body_empty());
    let (_, prefix) = finished(session).await.expect("http::framing takes the connection back");
    assert_eq!(&prefix.expect("bytes behind the header")[..], NEXT);
}

#[tokio::test]
async fn a_connection_is_kept_as_the_client_asks() {
    for (request_line, connection, kept) in [
        ("GET / HTTP/1.1", "", KEPT),
        ("GET / HTTP/1.1", "Connection: close\r\n", None),
        ("GET / HTTP/1.0", "", None),
        ("GET / HTTP/1.0", "Connection: keep-alive\r\n", KEPT),
    ] {
        let header = format!("{request_line}\r\nHost: a\r\n{connection}\r\n");
        let (session, _client) = request(header.as_bytes()).await;
        assert_eq!(session.get_keepalive(), kept, "{header:?}: see KEPT");
        assert_eq!(finished(session).await.is_some(), kept.is_some(), "{header:?}: see KEPT");
    }
    let (mut session, mut client) = request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    session.set_keepalive(None);
    assert!(finished(session).await.is_none(), "None of set_keepalive closes the connection");
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_idle_read_ends_only_when_the_client_is_gone() {
    let (mut session, mut client) = request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // pingora loses the byte that it reads when nobody has asked about the body before. `http::authorize` always does.
    assert!(session.is_body_empty());
    assert!(!is_ready(session.read_body_or_idle(true)).await, "the client is silent");
    client.write_all(NEXT).await.unwrap();
    assert!(!is_ready(session.read_body_or_idle(true)).await, "the client sends its next request early");
    assert!(!is_ready(session.read_body_or_idle(true)).await, "the same again");
    let (mut stream, prefix) = finished(session).await.unwrap();
    let mut next = prefix.expect("what the idle read has taken").to_vec();
    drop(client);
    stream.read_to_end(&mut next).await.unwrap();
    assert_eq!(next, NEXT, "no byte of the next request is lost");
    let (mut session, client) = request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    drop(client);
    assert!(session.read_body_or_idle(true).await.is_err(), "http::proxy cancels the request then");
}

/// Polls a future once.
async fn is_ready(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

#[tokio::test]
async fn a_client_is_told_to_continue_only_when_asked_and_once() {
    let header = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let (mut session, client) = request(header).await;
    assert!(!is_ready(session.read_request_body()).await);
    for _ in 0..2 {
        session.write_continue_response().await.unwrap();
    }
    drop(session);
    assert_eq!(received(client).await, "HTTP/1.1 100 Continue\r\n\r\n", "see http::respond::say_continue");
}
