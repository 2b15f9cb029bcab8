use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

const HEADER: &str = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const BEHIND: &[u8] = b"GET /next HTTP/1.1\r\n";

/// A session whose request came in pieces of at most `most` bytes, with its end behind it, above a validator.
async fn session(bytes: Vec<u8>, most: usize) -> ServerSession {
    let (near, mut far) = duplex(most);
    tokio::spawn(async move { far.write_all(&bytes).await });
    let mut session = ServerSession::new_http1(Box::new(near));
    session.set_pipelining_enabled(true);
    assert!(session.read_request().await.unwrap());
    validate_request(session).await.ok().unwrap()
}

async fn body(session: &mut ServerSession) -> pingora_error::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = session.read_request_body().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The bytes of the connection behind the request.
async fn behind(session: ServerSession) -> Vec<u8> {
    let (stream, prefix) = session.finish().await.unwrap().unwrap().into_parts();
    let (mut stream, prefix) = ValidatedStream::unwrap(stream, prefix).unwrap();
    let mut behind = prefix.unwrap_or_default().to_vec();
    stream.read_to_end(&mut behind).await.unwrap();
    behind
}

#[tokio::test]
async fn the_header_is_the_same_and_the_body_ends_where_it_does() {
    // A target that pingora rewrites before it reads it.
    let header =
        "POST /a b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nX-A: b\r\nConnection: close\r\n\r\n";
    let bytes = [header.as_bytes(), b"3\r\nabc\r\n0\r\n\r\n", BEHIND].concat();
    let mut session = session(bytes, 1000).await;
    assert_eq!(session.req_header().headers["transfer-encoding"], "Chunked");
    assert_eq!(session.req_header().headers["x-a"], "b");
    assert_eq!(session.get_keepalive(), None);
    assert!(!session.is_body_empty());
    assert_eq!(body(&mut session).await.unwrap(), b"abc");
    assert!(!is_invalid(&session));
}

#[tokio::test]
async fn a_deviation_is_found_in_the_error_and_stays() {
    let bytes = [HEADER.as_bytes(), b"3\r\nabc\r\n\r\n\r\n", BEHIND].concat();
    let mut session = session(bytes, 1000).await;
    for _ in 0..2 {
        let error = body(&mut session).await.unwrap_err();
        assert_eq!(deviation(&error), Some(ChunkedError::Size));
        assert!(is_invalid(&session) && !session.is_body_done());
    }
}

#[tokio::test]
async fn what_other_headers_announce_is_not_validated() {
    for (answers, length, invalid) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\r\n\r\n", 4, false),
        ("HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\r\n\r\n", 4, false),
        ("HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n", 4, true),
    ] {
        let (near, mut far) = duplex(1000);
        far.write_all(answers.as_bytes()).await.unwrap();
        drop(far);
        let validation = Arc::new(Validation::of_answer());
        let stream = ValidatedStream::new(Box::new(near), validation.clone());
        let mut upstream = UpstreamSession::new(Box::new(stream));
        let mut header = upstream.read_resp_header_parts().await.unwrap();
        while header.status.is_informational() {
            validation.pass_informational(upstream.get_headers_raw_bytes().len());
            header = upstream.read_resp_header_parts().await.unwrap();
        }
        let head = upstream.get_headers_raw_bytes().len();
        assert_eq!(&answers[answers.len() - length - head..][..8], "HTTP/1.1");
        let begun = validation.begin_body(head, is_chunked(&header.headers));
        assert_eq!(begun, if invalid { Err(ChunkedError::Size) } else { Ok(()) }, "{answers:?}");
    }
}

#[test]
fn the_last_coding_decides() {
    for (values, chunked) in [
        (&[][..], false),
        (&["chunked"], true),
        (&["gzip, Chunked "], true),
        (&["chunked, gzip"], false),
        (&["gzip", "chunked"], true),
        (&["chunked", "identity"], false),
        (&["chunked,"], false),
        (&["xchunked"], false),
    ] {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRANSFER_ENCODING, value.parse().unwrap());
        }
        assert_eq!(is_chunked(&headers), chunked, "{values:?}");
    }
}

/// Chunks with their sizes in different words, and what they hold together.
fn chunks() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let extension = "([ \t]?;[ \t]?[a-z]{1,3}(=([a-z]{1,3}|\"[a-z ;]{0,3}\"))?){0,2}";
    let chunk = (0_usize..6, extension, proptest::collection::vec(any::<u8>(), 1..300));
    proptest::collection::vec(
        chunk.prop_map(|(zeros, extension, data)| {
            (format!("{}{:x}{extension}", "0".repeat(zeros), data.len()), data)
        }),
        0..6,
    )
}

proptest! {
    /// pingora reads what the validator passes as it is meant, wherever it is cut.
    #[test]
    fn valid_bodies_are_read_as_they_are_meant(
        chunks in chunks(),
        last in "0{1,5}(;a=b)?\r\n(X-[A-Z]: [a-z]{0,5}\r\n){0,3}\r\n",
        most in 1_usize..500,
    ) {
        let mut bytes = HEADER.as_bytes().to_vec();
        for (size, data) in &chunks {
            bytes.extend([size.as_bytes(), b"\r\n", data, b"\r\n"].concat());
        }
        bytes.extend([last.as_bytes(), BEHIND].concat());
        let data: Vec<u8> = chunks.into_iter().flat_map(|(_, data)| data).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (read, left) = runtime.block_on(async {
            let mut session = session(bytes, most).await;
            (body(&mut session).await.unwrap(), behind(session).await)
        });
        prop_assert_eq!(read, data);
        prop_assert_eq!(left, BEHIND);
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_read_again_is_answered() {
    for header in ["POST /a HTTP/1.1\r\n: a\r\n\r\n", "\0\r\n\r\n"] {
        let (near, mut far) = duplex(1024);
        let stream = ValidatedStream::new(Box::new(near), Arc::new(Validation(Mutex::new(Mode::Off))));
        let read = read_again(BytesMut::from(header), stream).await;
        let Err(Unvalidated::Unreadable(mut session)) = read else { panic!("{header:?}") };
        session.respond_error(400).await.unwrap();
        drop(session);
        let mut answer = String::new();
        far.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}
