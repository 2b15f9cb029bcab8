//! The demo's dashboard: an application that stands behind the gate. It has a page with its files, a call that says who is logged
//! in, and a WebSocket with live figures.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::time::interval;

use crate::edge::http::client_session::ClientSession;

mod handshake;

/// The distance of two messages over the WebSocket.
const TICK: Duration = Duration::from_secs(1);

/// The final frame of a text (RFC 6455 section 5.2).
const TEXT_FRAME: u8 = 0x81;

/// The longest text of a frame with a length of one byte.
const LONGEST_TEXT: usize = 125;

/// An answer of the dashboard.
pub struct DashboardAnswer {
    /// Its media type.
    pub content_type: &'static str,
    /// Its body.
    pub body: Bytes,
}

/// Returns the answer to a request with these fields; `None` if the address is none of the dashboard's. A browser that opens any other page
/// gets the start page.
pub fn answer(path: &str, headers: &Map<String, Value>) -> Option<DashboardAnswer> {
    let said = |name: &str| headers.get(name).and_then(Value::as_str).unwrap_or_default();
    let (content_type, body) = match path {
        "/dashboard/dashboard.css" => ("text/css; charset=utf-8", include_str!("dashboard/dashboard.css")),
        "/dashboard/dashboard.js" => {
            ("text/javascript; charset=utf-8", include_str!("dashboard/dashboard.js"))
        }
        "/dashboard/icon.svg" => ("image/svg+xml", include_str!("dashboard/icon.svg")),
        "/dashboard/login" => {
            let login = json!({
                "user": said("x-gatepost-user"),
                "account": said("x-gatepost-account"),
                "permissions": said("x-gatepost-permissions"),
            });
            return Some(DashboardAnswer {
                content_type: "application/json",
                body: login.to_string().into(),
            });
        }
        _ if said("accept").contains("text/html") => {
            ("text/html; charset=utf-8", include_str!("dashboard/index.html"))
        }
        _ => return None,
    };
    Some(DashboardAnswer { content_type, body: Bytes::from_static(body.as_bytes()) })
}

/// Returns the key of a WebSocket's handshake, if a request is one.
pub fn live_key<'a>(path: &str, headers: &'a Map<String, Value>) -> Option<&'a str> {
    let key = headers.get("sec-websocket-key").and_then(Value::as_str)?;
    (path == "/dashboard/live").then_some(key)
}

/// Sends the time and the number of messages of the last second, until the connection is closed. What the browser sends is not read.
pub async fn send_figures(session: &mut ClientSession, key: &str) {
    let ClientSession::Http1(client) = session else { return };
    let accept = handshake::accept(key);
    let queued = client.queue_head(false, |out| {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        out.extend_from_slice(format!("Sec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes());
        Ok::<_, std::convert::Infallible>(())
    });
    let mut ticks = interval(TICK);
    let mut is_open = queued.is_ok() && client.send().await.is_ok();
    while is_open {
        ticks.tick().await;
        let frame = text_frame(&figures(OffsetDateTime::now_utc()));
        is_open = client.write_body(&frame, true).await.is_ok();
    }
}

/// A message of the WebSocket, with figures that look like those of a busy service.
fn figures(now: OffsetDateTime) -> String {
    let (hour, minute, second) = now.to_hms();
    let seconds = f64::from(u32::from(minute) * 60 + u32::from(second));
    let rate = 9.0 + 4.0 * (seconds / 7.0).sin() + 3.0 * (seconds / 2.3).sin();
    json!({ "time": format!("{hour:02}:{minute:02}:{second:02}"), "rate": rate.round() as u32 }).to_string()
}

fn text_frame(text: &str) -> Vec<u8> {
    debug_assert!(text.len() <= LONGEST_TEXT);
    let mut frame = vec![TEXT_FRAME, text.len() as u8];
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Map<String, Value> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    }

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let page = answer("/any/page", &headers(&[("accept", "text/html,*/*")])).unwrap();
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        let mut seen = 0;
        for address in page.split('"').filter(|text| text.starts_with("/dashboard/")) {
            assert!(answer(address, &Map::new()).is_some(), "{address}");
            seen += 1;
        }
        assert_eq!(seen, 4, "is the test blind?");
        assert!(answer("/any/page", &headers(&[("accept", "*/*")])).is_none());
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("://"));
    }

    #[test]
    fn the_login_is_what_the_gate_says() {
        let sent = headers(&[("x-gatepost-user", "a\"b"), ("x-gatepost-account", "acme")]);
        let login = answer("/dashboard/login", &sent).unwrap();
        let login: Value = serde_json::from_slice(&login.body).unwrap();
        assert_eq!(login, json!({ "user": "a\"b", "account": "acme", "permissions": "" }));
    }

    #[test]
    fn figures_fit_into_a_short_frame() {
        for second in 0..3600 {
            let now = OffsetDateTime::from_unix_timestamp(1_795_920_000 + second).unwrap();
            let frame = text_frame(&figures(now));
            let sent: Value = serde_json::from_slice(&frame[2..]).unwrap();
            assert!(usize::from(frame[1]) == frame.len() - 2 && frame[1] <= 125);
            assert!(sent["rate"].as_u64().is_some_and(|rate| (1..=17).contains(&rate)), "{sent}");
        }
    }
}
