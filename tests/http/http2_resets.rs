//! Connections over HTTP/2 whose client resets streams as fast as it can, or has the gateway reset them.

use std::io::Write;

use crate::common::PATIENCE;
use crate::common::backend::{Backend, read_header};
use crate::common::http2::{address, ask, connected, http2, start};
use crate::common::tls::Authority;
use h2::Reason;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// GET / of gate.test, in fields of the static table (RFC 7541 appendix A).
const GET: &[u8] = b"\x82\x87\x84\x41\x09gate.test";

/// The streams of each connection; the library gives up a connection after 1,024 errors of its client.
const STREAMS: u32 = 1500;
/// The reason in the log.
const RESETS: &str = "too many resets or invalid frames over HTTP/2";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A request that is reset at once.
fn reset(stream: u32) -> Vec<u8> {
    [frame(1, 4, stream, GET), frame(3, 0, stream, &8u32.to_be_bytes())].concat()
}

/// A request that announces a body and has none, which is an error of its stream.
fn invalid(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &[GET, b"\x5c\x011"].concat())
}

/// An answer to a question that nobody asked.
fn pong(_stream: u32) -> Vec<u8> {
    frame(6, 1, 0, b"nobody's")
}

// Case F5: connections that reset streams rapidly
#[tokio::test(flavor = "multi_thread")]
async fn they_are_logged_now_and_then() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let connector = TlsConnector::from(authority.client(&["h2"]));
    for (attack, is_closed) in [(reset as fn(u32) -> Vec<u8>, false), (invalid, true), (pong, false)] {
        for _ in 0..3 {
            let stream = TcpStream::connect(address(&gateway)).await.unwrap();
            let stream = connector.connect("gate.test".try_into().unwrap(), stream).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(stream);
            let reading = tokio::spawn(async move {
                let _ = reader.read_to_end(&mut Vec::new()).await;
            });
            let mut frames = PREFACE.to_vec();
            frames.extend((0..STREAMS).flat_map(|nth| attack(2 * nth + 1)));
            // The gateway may close the connection in between.
            let _ = writer.write_all(&frames).await;
            let _ = writer.flush().await;
            if !is_closed {
                let _ = writer.shutdown().await;
            }
            timeout(PATIENCE, reading).await.expect("the connection ends").unwrap();
        }
    }
    // Others are served, and all of that was one line.
    let mut client = http2(&gateway, &authority).await;
    assert_eq!(ask(&mut client, "GET", "/open/a", &[], true).0.await.unwrap().status(), 200);
    let text = gateway.log().wait_for(&[RESETS]);
    assert!(text.contains("\"source\":\"127.0.0.1\""), "{text}");
    let log = gateway.log().text();
    assert!(!log.lines().any(|line| line.contains("WARN") && line.contains("HTTP/2")), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains(RESETS)).count(), 1, "{}", gateway.log().text());
}

/// Each of its requests has a backend begin in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_each_request_is_sent_away() {
    const TRIES: usize = 300;
    let (arrived, mut arrivals) = unbounded_channel();
    let backend = Backend::handling(move |stream, _| {
        while let Some(request) = read_header(stream) {
            let _ = arrived.send(());
            if request.target.ends_with("answered") {
                let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    let authority = Authority::new();
    let gateway = start(&authority, backend.address, "");
    gateway.account("email,api,web").credential("caller:passw0rd-call", "api");
    let login = [("authorization", "Basic Y2FsbGVyOnBhc3N3MHJkLWNhbGw=")];
    for (path, fields) in [("/open/a", &[][..]), ("/v3/stats", &login)] {
        let (mut client, mut ended) = connected(&gateway, &authority).await;
        let mut begun = 0;
        while begun < TRIES {
            // One that is answered in between shows that the client waits now and then.
            if begun == 60 {
                let answered = ask(&mut client, "GET", "/open/answered", &[], true).0;
                assert_eq!(answered.await.unwrap().status(), 200);
                arrivals.recv().await.unwrap();
            }
            let mut request = Request::get(format!("https://gate.test{path}"));
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let Ok((_answer, mut stream)) = client.send_request(request.body(()).unwrap(), true) else {
                break;
            };
            tokio::select! {
                arrived = arrivals.recv() => arrived.unwrap(),
                _ = &mut ended => break,
            }
            stream.send_reset(Reason::CANCEL);
            begun += 1;
        }
        assert!((160..200).contains(&begun), "{path}: {begun}");
        drop(client);
        if !ended.is_finished() {
            timeout(PATIENCE, ended).await.expect("the connection ends").unwrap();
        }
    }
    gateway.log().wait_for(&[RESETS]);
}
