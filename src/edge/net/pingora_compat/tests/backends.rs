use std::io::Write;
use std::time::Duration;

use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use tokio::time::timeout;

use super::*;

/// Time for a read of what is there already.
const SHORT: Duration = Duration::from_millis(20);

#[tokio::test]
async fn reads_that_are_dropped_half_way_lose_nothing() {
    let (mut upstream, mut far) = backend(b"HTTP/1.1 200 O").await;
    send(&mut upstream, "GET", &[]).await;
    assert!(timeout(SHORT, upstream.read_resp_header_parts()).await.is_err());
    far.write_all(b"K\r\nTransfer-Encoding: chunked\r\n").await.unwrap();
    assert!(timeout(SHORT, upstream.read_resp_header_parts()).await.is_err());
    far.write_all(b"\r\n5\r").await.unwrap();
    let header = upstream.read_resp_header_parts().await.expect("http::proxy::duplex reads in a select");
    assert_eq!(header.status, 200);
    let mut body = Vec::new();
    for part in ["\nhe", "llo\r", "\n0", "\r\n", "\r\n"] {
        while let Ok(piece) = timeout(SHORT, upstream.read_body_bytes()).await {
            body.extend(piece.unwrap().expect("the body has not ended"));
        }
        far.write_all(part.as_bytes()).await.unwrap();
    }
    while let Some(piece) = upstream.read_body_bytes().await.unwrap() {
        body.extend(piece);
    }
    assert_eq!(body, b"hello", "http::proxy::duplex reads in a select");
}

#[tokio::test]
async fn an_empty_piece_ends_a_chunked_body() {
    let (mut upstream, far) = backend(b"").await;
    send(&mut upstream, "POST", &[("Transfer-Encoding", "chunked")]).await;
    upstream.write_body(b"ab").await.unwrap();
    upstream.write_body(b"").await.unwrap();
    drop(upstream);
    let sent = received(far).await;
    assert!(sent.ends_with("2\r\nab\r\n0\r\n\r\n"), "http::proxy::duplex need not avoid it: {sent}");
}

#[tokio::test]
async fn a_connection_is_reused_only_after_a_complete_response_that_allows_it() {
    for (method, answer, kept) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", true),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", true),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", true),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", false),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", false),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", false),
    ] {
        let (mut upstream, _far) = backend(answer.as_bytes()).await;
        send(&mut upstream, method, &[]).await;
        upstream.read_resp_header_parts().await.unwrap();
        while !upstream.is_body_done() {
            upstream.read_body_bytes().await.unwrap();
        }
        upstream.respect_keepalive();
        assert_eq!(upstream.reuse().await.is_some(), kept, "see http::proxy::forward: {answer:?}");
    }
    let (mut upstream, _far) = backend(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").await;
    send(&mut upstream, "GET", &[]).await;
    upstream.read_resp_header_parts().await.unwrap();
    upstream.read_body_bytes().await.unwrap();
    upstream.respect_keepalive();
    assert!(upstream.reuse().await.is_none(), "the body is incomplete");
}

#[tokio::test]
async fn protocols_are_switched_only_where_that_was_asked_for() {
    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    for (fields, upgraded) in [(&[][..], false), (&[("Connection", "upgrade"), ("Upgrade", "x")], true)] {
        let (mut upstream, _far) = backend(SWITCH).await;
        send(&mut upstream, "GET", fields).await;
        assert_eq!(upstream.read_resp_header_parts().await.unwrap().status, 101);
        assert_eq!(upstream.was_upgraded(), upgraded, "http::proxy::duplex believes it");
    }
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_stays_in_the_raw_header_only() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: identity\r\n\r\n";
    let (mut upstream, _far) = backend(answer).await;
    send(&mut upstream, "GET", &[]).await;
    let header = upstream.read_resp_header_parts().await.unwrap();
    assert!(!header.headers.contains_key("content-length"), "see http::headers::response_length");
    assert_eq!(&upstream.get_headers_raw_bytes()[..], answer, "see http::headers::response_length");
}

#[tokio::test]
async fn names_of_fields_keep_their_case_and_the_order_of_the_fields() {
    let answer = b"HTTP/1.1 200 OK\r\nB-b: 1\r\na: 2\r\nContent-Length: 0\r\nB-B: 3\r\n\r\n";
    let (mut upstream, _far) = backend(answer).await;
    send(&mut upstream, "GET", &[]).await;
    let header = upstream.read_resp_header_parts().await.unwrap();
    let cased: Vec<_> = header.case_header_iter().map(|(name, value)| (name.as_slice(), value)).collect();
    let plain: Vec<_> = header.headers.iter().collect();
    assert_eq!(cased.len(), plain.len());
    for ((cased, value), (plain, same)) in cased.iter().zip(&plain) {
        assert!(cased.eq_ignore_ascii_case(plain.as_str().as_bytes()), "see http::headers::response");
        assert_eq!(value, same, "see http::headers::response");
    }
    assert_eq!(cased.iter().map(|(name, _)| *name).filter(|name| *name == b"B-b").count(), 1);
}

#[test]
fn a_file_of_roots_that_cannot_be_used_makes_the_connector_panic() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let path = file.path().display().to_string();
    let made = std::panic::catch_unwind(|| {
        let mut options = ConnectorOptions::new(1);
        options.ca_file = Some(path);
        TransportConnector::new(Some(options))
    });
    assert!(made.is_err(), "net::tls_roots need not check the certificates for pingora any more");
}
