//! The demo's dashboard: a page with its files, who is logged in, and figures over a WebSocket.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::edge::http::http1::client::Http1Client;
use crate::wire::RequestHead;

const PAGE: &str = include_str!("dashboard/index.html");
const STYLESHEET: &str = include_str!("dashboard/dashboard.css");
const SCRIPT: &str = include_str!("dashboard/dashboard.js");
const ICON: &str = include_str!("dashboard/icon.svg");

/// The path of the WebSocket.
const LIVE: &str = "/dashboard/live";
/// The interval between two figures.
const EVERY: Duration = Duration::from_secs(1);
/// The text that a handshake is hashed with (RFC 6455 section 1.3).
const HANDSHAKE: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns the type and the content for a path. `headers` are those of the request. `None` if it is for a program: then the demo
/// shows what it received.
pub(super) fn content(target: &str, headers: &Map<String, Value>) -> Option<(&'static str, Bytes)> {
    let said = |name: &str| headers.get(name).and_then(Value::as_str).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    Some(match path {
        "/dashboard/dashboard.css" => ("text/css; charset=utf-8", STYLESHEET.into()),
        "/dashboard/dashboard.js" => ("text/javascript; charset=utf-8", SCRIPT.into()),
        "/dashboard/icon.svg" => ("image/svg+xml", ICON.into()),
        "/dashboard/login" => {
            let login = json!({
                "user": said("x-gatepost-user"),
                "account": said("x-gatepost-account"),
                "permissions": said("x-gatepost-permissions"),
            });
            ("application/json", login.to_string().into())
        }
        _ if said("accept").contains("text/html") => ("text/html; charset=utf-8", PAGE.into()),
        _ => return None,
    })
}

/// Returns the key of the handshake of a request for the WebSocket.
pub(super) fn key_of_live(request: &RequestHead) -> Option<Vec<u8>> {
    let is_live = request.target().split(|byte| *byte == b'?').next() == Some(LIVE.as_bytes());
    request.fields().named("sec-websocket-key").next().filter(|_| is_live).map(<[u8]>::to_vec)
}

/// Sends a figure each second, until the browser or the gateway ends the connection.
pub(super) async fn live(client: &mut Http1Client, key: &[u8]) -> std::io::Result<()> {
    let accepted = STANDARD.encode(Sha1::new().chain_update(key).chain_update(HANDSHAKE).finalize());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accepted}\r\n\r\n"
    );
    let (stream, _) = client.switch();
    stream.write_all(head.as_bytes()).await?;
    let mut ticks = tokio::time::interval(EVERY);
    let mut received = [0; 1024];
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                stream.write_all(&figure()).await?;
                stream.flush().await?;
            }
            // Nothing but the end is expected.
            read = stream.read(&mut received) => if read? == 0 || received[0] & 0x0f == CLOSE { return Ok(()) },
        }
    }
}

/// The opcode of a frame that closes (RFC 6455 section 5.5.1).
const CLOSE: u8 = 8;

/// A text frame with the time of day (UTC), and the messages of the last second.
fn figure() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (hour, minute, second) = (now / 3600 % 24, now / 60 % 60, now % 60);
    let rate = 4 + (now * 7919 % 13) * (2 + now / 10 % 3) / 3;
    let text = json!({"time": format!("{hour:02}:{minute:02}:{second:02}"), "rate": rate}).to_string();
    // Short texts have their length in one byte.
    let mut frame = vec![0x81, text.len() as u8];
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_one_short_frame() {
        let frame = figure();
        assert_eq!(frame[0], 0x81);
        assert!(frame.len() < 128 && usize::from(frame[1]) == frame.len() - 2);
        let text: Value = serde_json::from_slice(&frame[2..]).unwrap();
        assert!(text["rate"].as_u64().is_some_and(|rate| rate < 30), "{text}");
    }

    #[test]
    fn programs_get_what_they_sent_and_browsers_a_page() {
        let mut headers = Map::new();
        assert_eq!(content("/", &headers), None);
        headers.insert("accept".into(), "text/html,*/*".into());
        headers.insert("x-gatepost-user".into(), "joe".into());
        assert!(content("/reports?week=47", &headers).unwrap().0.starts_with("text/html"));
        assert!(content("/dashboard/dashboard.css", &Map::new()).unwrap().0.starts_with("text/css"));
        let (_, login) = content("/dashboard/login", &headers).unwrap();
        assert!(login.starts_with(b"{\"account\":\"\""), "{login:?}");
    }
}
