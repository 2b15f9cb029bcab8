//! Connections over HTTP/2 whose client resets streams as fast as it can, or has the gateway reset them.

use crate::common::PATIENCE;
use crate::common::backend::Backend;
use crate::common::http2::{address, ask, http2, start};
use crate::common::tls::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// GET / of gate.test, in fields of the static table (RFC 7541 appendix A).
const GET: &[u8] = b"\x82\x87\x84\x41\x09gate.test";

/// The streams of each connection; the library gives up a connection after 1,024 errors of its client.
const STREAMS: u32 = 1500;

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
    let text = gateway.log().wait_for(&["HTTP/2 connection closed: too many resets or invalid frames"]);
    assert!(text.contains("\"peer\":\"127.0.0.1\""), "{text}");
    let log = gateway.log().text();
    let warnings = log.lines().filter(|line| line.contains("WARN") && !line.contains("bcrypt_cost")).count();
    assert_eq!(warnings, 1, "{}", gateway.log().text());
}
