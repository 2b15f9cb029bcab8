use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn connection(room: usize) -> (Http1Backend, DuplexStream) {
    let (near, far) = duplex(room);
    (Http1Backend::new(Box::new(near)), far)
}

#[tokio::test]
async fn what_is_not_taken_goes_out_while_a_response_is_awaited() {
    let (mut backend, mut far) = connection(16);
    backend.begin(b"head");
    backend.queue_body(Bytes::from_static(&[b'x'; 200]), false);
    // A response comes before all of it is taken, and is read.
    far.write_all(b"HTTP/1.1 413").await.unwrap();
    let responding = tokio::spawn(async move {
        far.write_all(b" No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let mut taken = vec![0; 204];
        far.read_exact(&mut taken).await.unwrap();
        (far, taken)
    });
    assert!(matches!(backend.next().await, Ok(BackendEvent::Head)));
    assert!(backend.waits());
    assert!(matches!(backend.next().await, Ok(BackendEvent::Sent(true))));
    let (far, taken) = responding.await.unwrap();
    assert_eq!(taken, [&b"head"[..], &[b'x'; 200]].concat());
    drop(far);
}

#[tokio::test]
async fn large_pieces_are_sent_with_their_chunk() {
    let (mut backend, mut far) = connection(1 << 20);
    backend.begin(b"");
    backend.queue_body(Bytes::from(vec![b'x'; SMALL_PIECE + 1]), true);
    assert!(matches!(backend.next().await, Ok(BackendEvent::Sent(true))));
    backend.queue_body(Bytes::from_static(b"hello"), true);
    backend.queue_last_chunk();
    assert!(matches!(backend.next().await, Ok(BackendEvent::Sent(true))));
    drop(backend);
    let mut taken = Vec::new();
    far.read_to_end(&mut taken).await.unwrap();
    let large = "x".repeat(SMALL_PIECE + 1);
    assert_eq!(taken, format!("4001\r\n{large}\r\n5\r\nhello\r\n0\r\n\r\n").as_bytes());
}

#[tokio::test]
async fn a_backend_that_takes_no_more_may_have_responded() {
    let (mut backend, mut far) = connection(16);
    backend.begin(&[b'x'; 100]);
    far.write_all(b"HTTP/1.1 200 OK\r").await.unwrap();
    drop(far);
    assert!(matches!(backend.next().await, Err(ResponseError::Closed("header"))));
    assert!(!backend.waits() && !backend.is_reusable());
}

/// A connection whose backend has sent this and ended, and whose head was read.
async fn responded(response: &str) -> Http1Backend {
    let (mut backend, mut far) = connection(1000);
    far.write_all(response.as_bytes()).await.unwrap();
    drop(far);
    assert!(matches!(backend.next().await, Ok(BackendEvent::Head)));
    backend
}

#[tokio::test]
async fn a_body_ends_as_its_length_says() {
    for (length, sent, reusable) in [
        (BodyLength::Known(5), "hello", true),
        (BodyLength::Known(5), "hellox", false),
        (BodyLength::Chunked, "5\r\nhello\r\n0\r\n\r\n", true),
        (BodyLength::Chunked, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", true),
        (BodyLength::UntilClose, "hello", false),
    ] {
        let mut backend = responded(&format!("HTTP/1.1 200 OK\r\n\r\n{sent}")).await;
        let mut read = backend.begin_body(length).unwrap().unwrap().to_vec();
        while let BackendEvent::Piece(piece) = backend.next().await.unwrap() {
            read.extend_from_slice(&piece);
        }
        assert_eq!((&read[..], backend.is_reusable()), (&b"hello"[..], reusable), "{length:?} {sent}");
    }
    let mut backend = responded("HTTP/1.1 200 OK\r\n\r\n").await;
    assert!(backend.begin_body(BodyLength::None).unwrap().is_none() && backend.is_done());
}

#[tokio::test]
async fn early_hints_have_an_end_and_a_slow_backend_may_say_that_it_works() {
    let (hint, works) = ("103 Early Hints", "102 Processing");
    for (interim, count, is_too_much) in
        [(hint, MOST_HINTS, false), (hint, MOST_HINTS + 1, true), (works, 200, false)]
    {
        let (mut backend, mut far) = connection(10_000);
        backend.begin(b"");
        assert!(!backend.has_begun());
        far.write_all(format!("HTTP/1.1 {interim}\r\n\r\n").repeat(count).as_bytes()).await.unwrap();
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let mut heads = 0;
        let last = loop {
            match backend.next().await {
                Ok(BackendEvent::Head) if backend.head().is_interim() => heads += 1,
                other => break other,
            }
        };
        assert_eq!(heads, count - usize::from(is_too_much));
        assert_eq!(matches!(last, Err(ResponseError::TooManyHints)), is_too_much, "{last:?}");
        assert!(backend.has_begun());
        backend.begin(b"");
        assert!(!backend.has_begun());
    }
}

// Case C14: an empty size line is no end.
#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    for (length, sent) in [(BodyLength::Known(9), "hello"), (BodyLength::Chunked, "5\r\nhello\r\n")] {
        let mut backend = responded(&format!("HTTP/1.1 200 OK\r\n\r\n{sent}")).await;
        assert!(backend.begin_body(length).unwrap().is_some());
        assert!(backend.next().await.is_err() && !backend.is_reusable(), "{length:?} {sent}");
    }
    let mut backend = responded("HTTP/1.1 200 OK\r\n\r\n5\r\nhello\r\n\r\n\r\n").await;
    assert_eq!(backend.begin_body(BodyLength::Chunked), Err(ChunkedError::Size));
}
