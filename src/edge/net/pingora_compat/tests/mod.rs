mod backends;
mod errors;
mod http2;
mod requests;
mod responses;
mod streams;

use bytes::BytesMut;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_http::RequestHeader;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// A session whose client has sent `bytes`, before it reads anything, and the client's side.
async fn connection(bytes: &[u8]) -> (ServerSession, DuplexStream) {
    let (near, mut client) = duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    let mut session = ServerSession::new_http1(Box::new(near));
    session.set_pipelining_enabled(true);
    session.set_read_timeout(None);
    (session, client)
}

/// The same with the header of a request read.
async fn request(bytes: &[u8]) -> (ServerSession, DuplexStream) {
    let (mut session, client) = connection(bytes).await;
    assert!(session.read_request().await.expect("a request"));
    (session, client)
}

/// A session to a backend that has sent `bytes`, and the backend's side.
async fn backend(bytes: &[u8]) -> (UpstreamSession, DuplexStream) {
    let (near, mut far) = duplex(1 << 20);
    far.write_all(bytes).await.unwrap();
    (UpstreamSession::new(Box::new(near)), far)
}

/// Sends a request with these fields to a backend.
async fn send(upstream: &mut UpstreamSession, method: &str, fields: &[(&'static str, &'static str)]) {
    let mut header = RequestHeader::build(method, b"/", None).unwrap();
    for (name, value) in fields {
        header.insert_header(*name, *value).unwrap();
    }
    upstream.write_request_header(Box::new(header)).await.unwrap();
}

/// The part of a connection that `finish` gives back: the stream and the bytes of the next request.
async fn finished(session: ServerSession) -> Option<(Stream, Option<BytesMut>)> {
    Some(session.finish().await.unwrap()?.into_parts())
}

/// All bytes that the other side has received when the session is dropped.
async fn received(mut far: DuplexStream) -> String {
    let mut text = String::new();
    far.read_to_string(&mut text).await.unwrap();
    text
}
