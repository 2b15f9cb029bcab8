use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use http::header::DATE;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Accept, HttpSession, default_h2_options, handshake};
use pingora_http::ResponseHeader;
use tokio::io::duplex;

/// A connection with one request: the session of it, the client, and its response. Both ends run on tasks of their own.
async fn request() -> (ServerSession, SendRequest<Bytes>, ResponseFuture) {
    let (near, far) = duplex(1 << 16);
    let (sessions, mut session) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut connection = handshake(Box::new(near), Some(default_h2_options())).await.unwrap();
        while let Ok(Some(accepted)) =
            HttpSession::from_h2_conn(&mut connection, Arc::new(Digest::default())).await
        {
            let H2Accept::Session(session) = accepted else { panic!("rejected") };
            let _ = sessions.send(ServerSession::new_http2(session)).await;
        }
    });
    let (client, connection) = h2::client::handshake(far).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = Request::get("https://host.test/a?b").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    (session.recv().await.unwrap(), client, response)
}

fn response(status: u16, fields: &[(&'static str, &'static str)]) -> Box<ResponseHeader> {
    let mut header = ResponseHeader::build(status, None).unwrap();
    for (name, value) in fields {
        header.insert_header(*name, *value).unwrap();
    }
    Box::new(header)
}

#[tokio::test]
async fn the_date_is_set_and_fields_of_a_connection_are_removed() {
    let (mut session, _client, answer) = request().await;
    session.write_response_header(response(103, &[("Link", "x")])).await.unwrap();
    let fields =
        [("Date", "yesterday"), ("Connection", "x"), ("Transfer-Encoding", "chunked"), ("Upgrade", "x")];
    session.write_response_header(response(200, &fields)).await.unwrap();
    session.write_response_body(Bytes::from_static(b"a"), true).await.unwrap();
    let answer = answer.await.expect("http::proxy::relay passes 103 on, which pingora ignores");
    assert_eq!(answer.status(), 200, "informational responses pass now: see http::proxy::relay");
    let names: Vec<_> = answer.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["date"], "see http::headers::response");
    assert_ne!(answer.headers()[DATE], "yesterday", "see date");
}

#[tokio::test]
async fn the_end_goes_with_the_header_or_with_the_last_piece() {
    let (session, _client, answer) = request().await;
    let ServerSession::H2(mut session) = session else { panic!("not HTTP/2") };
    session.write_response_header(response(204, &[]), true).unwrap();
    assert!(answer.await.unwrap().body().is_end_stream(), "see http::http2_client");

    let (mut session, _client, answer) = request().await;
    session.write_response_header(response(200, &[])).await.unwrap();
    session.write_response_body(Bytes::from_static(b"ab"), true).await.unwrap();
    session.finish().await.unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(&body.data().await.unwrap().unwrap()[..], b"ab");
    assert!(body.is_end_stream(), "see http::proxy::relay");
}

#[tokio::test]
async fn a_client_may_have_a_hundred_requests_open() {
    let (mut session, client, answer) = request().await;
    // The settings come before the response.
    session.write_response_header(response(200, &[])).await.unwrap();
    answer.await.unwrap();
    assert_eq!(client.current_max_send_streams(), 100, "http::intake and http::quota count on it");
}

#[tokio::test]
async fn a_stream_is_reset_with_a_reason() {
    let (mut session, _client, answer) = request().await;
    session.shutdown_with_reason(7.into());
    let error = answer.await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM), "see http::server");
}

#[tokio::test]
async fn the_host_is_the_authority_of_the_target() {
    let (session, _client, _answer) = request().await;
    let header = session.req_header();
    assert_eq!(header.uri.authority().unwrap().as_str(), "host.test", "see http::http2_client");
    assert!(!header.headers.contains_key("host"));
    assert_eq!(header.raw_path(), b"/a?b");
}

#[tokio::test]
async fn an_idle_read_ends_when_the_client_resets_its_stream() {
    let (session, client, answer) = request().await;
    let ServerSession::H2(mut session) = session else { panic!("not HTTP/2") };
    drop(answer);
    session.idle().await.expect("see http::http2_client");
    drop(client);
}
