use super::super::*;
use super::streams::{Deviation, failing};
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

#[tokio::test]
async fn an_error_of_the_stream_is_the_cause_of_the_error_above() {
    let is_found = |error: &Error| {
        let found = stream_error(error).and_then(|error| error.get_ref());
        found.is_some_and(|error| error.is::<Deviation>())
    };
    for body in ["Content-Length: 9\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"] {
        let header = format!("POST / HTTP/1.1\r\nHost: a\r\n{body}");
        let mut session = ServerSession::new_http1(failing(&header));
        assert!(session.read_request().await.unwrap());
        let error = loop {
            match session.read_request_body().await {
                Ok(piece) => assert!(piece.is_some(), "an end before the error"),
                Err(error) => break error,
            }
        };
        assert!(is_found(&error), "a request's body: see stream_error: {error:?}");
        let mut upstream = UpstreamSession::new(failing(&format!("HTTP/1.1 200 OK\r\n{body}")));
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
    let mut upstream = UpstreamSession::new(failing("HTTP/1.1 200 OK\r\n"));
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
        let mut session = ServerSession::new_http1(failing(begin));
        assert_eq!(session.read_request().await.ok(), wanted, "failed after {begin:?}");
    }
}
