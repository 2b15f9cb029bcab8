use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::*;
use super::*;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";

async fn body_error(body: &str) -> Box<Error> {
    let (mut session, _client) =
        request(format!("POST / HTTP/1.1\r\nHost: a\r\n{CHUNKED}{body}").as_bytes()).await;
    loop {
        match session.read_request_body().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("read to its end: {body:?}"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn invalid_chunks_and_trailers_have_errors_of_these_names() {
    let long = "a".repeat(1 << 17);
    for (body, name) in [
        ("zz\r\n", "InvalidChunk"),
        ("3\r\nabcd\r\n", "InvalidChunk"),
        (&format!("3;{long}"), "InvalidChunk"),
        (&format!("0\r\nX: {long}"), "InvalidTrailerEnd"),
    ] {
        let error = body_error(body).await;
        assert_eq!(error.etype().as_str(), name, "see INVALID_CHUNK in pingora_compat: {}", &body[..4]);
        assert!(is_invalid_chunk(&error), "see is_invalid_chunk in pingora_compat: {}", &body[..4]);
    }
    let (mut session, client) = request(format!("POST / HTTP/1.1\r\nHost: a\r\n{CHUNKED}").as_bytes()).await;
    drop(client);
    assert!(!is_invalid_chunk(&session.read_request_body().await.unwrap_err()), "the client went away");
}

#[tokio::test]
async fn too_many_fields_are_the_cause_of_an_error() {
    let header = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(fields));
    let (mut session, _client) = connection(header(255).as_bytes()).await;
    assert!(
        session.read_request().await.unwrap(),
        "pingora reads 256 fields; fewer would refuse good requests"
    );
    for (header, wanted) in [(header(256), true), ("GET / HTTP/1.1\r\n: a\r\n\r\n".into(), false)] {
        let (mut session, _client) = connection(header.as_bytes()).await;
        let error = session.read_request().await.unwrap_err();
        assert_eq!(has_too_many_fields(&error), wanted, "see has_too_many_fields: {:?}", error.cause);
    }
}

/// A stream that begins with some bytes and then fails with [`Deviation`].
#[derive(Debug)]
struct Failing(&'static [u8]);

#[derive(Debug, thiserror::Error)]
#[error("not as agreed")]
struct Deviation;

#[tokio::test]
async fn an_error_of_the_stream_is_the_cause_of_the_error_above() {
    let is_found = |error: &Error| {
        let found = stream_error(error).and_then(|error| error.get_ref());
        found.is_some_and(|error| error.is::<Deviation>())
    };
    for body in ["Content-Length: 9\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"] {
        let header: &str = format!("POST / HTTP/1.1\r\nHost: a\r\n{body}").leak();
        let mut session = ServerSession::new_http1(Box::new(Failing(header.as_bytes())));
        assert!(session.read_request().await.unwrap());
        let error = loop {
            match session.read_request_body().await {
                Ok(piece) => assert!(piece.is_some(), "an end before the error"),
                Err(error) => break error,
            }
        };
        assert!(is_found(&error), "a request's body: see stream_error: {error:?}");
        let header: &str = format!("HTTP/1.1 200 OK\r\n{body}").leak();
        let mut upstream = UpstreamSession::new(Box::new(Failing(header.as_bytes())));
        upstream.read_resp_header_parts().await.unwrap();
        let error = loop {
            match upstream.read_body_bytes().await {
                Ok(piece) => assert!(piece.is_some(), "an end before the error"),
                Err(error) => break error,
            }
        };
        assert!(is_found(&error), "a response's body: see stream_error: {error:?}");
        assert_eq!(without_quotes(&error), "ReadError: not as agreed");
    }
    let mut upstream = UpstreamSession::new(Box::new(Failing(b"HTTP/1.1 200 OK\r\n")));
    let error = upstream.read_resp_header_parts().await.unwrap_err();
    assert!(is_found(&error), "a response's header: see stream_error: {error:?}");
}

#[tokio::test]
async fn an_unreadable_header_stands_in_the_error_and_is_left_out_of_the_log() {
    let (mut session, _client) = connection(b"GET / HTTP/1.1\r\nSecret: a\r\n: b\r\n\r\n").await;
    let (mut upstream, _backend) = backend(b"HTTP/1.1 200 OK\r\nSecret: a\r\n: b\r\n\r\n").await;
    let ours = session.read_request().await.unwrap_err();
    let theirs = upstream.read_resp_header_parts().await.unwrap_err();
    for error in [ours, theirs] {
        assert!(error.to_string().contains("Secret"), "without_quotes may have become unnecessary: {error}");
        assert_eq!(without_quotes(&error), "InvalidHTTPHeader: invalid header name");
    }
    let closed = Error::explain(ErrorType::ConnectionClosed, "Secret");
    assert_eq!(without_quotes(&closed), "ConnectionClosed");
}

#[tokio::test]
async fn a_connection_that_ends_before_its_first_byte_is_no_request() {
    for (begin, wanted) in [("", Some(false)), ("GET /", None)] {
        let (mut session, client) = connection(begin.as_bytes()).await;
        drop(client);
        assert_eq!(session.read_request().await.ok(), wanted, "closed after {begin:?}");
        let mut session = ServerSession::new_http1(Box::new(Failing(begin.as_bytes())));
        assert_eq!(session.read_request().await.ok(), wanted, "failed after {begin:?}");
    }
}

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begin = std::mem::take(&mut self.0);
        if begin.is_empty() {
            return Poll::Ready(Err(io::Error::other(Deviation)));
        }
        buf.put_slice(begin);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Failing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for Failing {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Failing {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Failing {}

#[async_trait]
impl Peek for Failing {}

impl GetTimingDigest for Failing {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Failing {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }

    fn set_proxy_digest(&mut self, _: ProxyDigest) {}
}

impl GetSocketDigest for Failing {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }

    fn set_socket_digest(&mut self, _: SocketDigest) {}
}
