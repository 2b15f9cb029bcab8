//! The demo's HTTP backend: answers every request with what it received.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use pingora_core::protocols::http::ServerSession;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::edge::http::respond;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::listener::{self, Connection};
use crate::edge::net::source_limit::unlimited;

/// The number of bytes of a body that are shown.
const SHOWN: usize = 2048;

/// Serves on `socket` until `stop` turns true.
pub async fn serve(socket: TcpListener, name: &'static str, stop: watch::Receiver<bool>) {
    let answer = move |connection: Connection| answer_all(connection, name);
    listener::accept(socket, None, InFlight::new(1000), unlimited, stop, answer).await;
}

async fn answer_all(connection: Connection, name: &'static str) {
    let mut next = Some(connection.stream);
    while let Some(stream) = next.take() {
        let mut session = ServerSession::new_http1(stream);
        if !matches!(session.read_request().await, Ok(true)) || !answer(&mut session, name).await {
            return;
        }
        next = session.finish().await.ok().flatten().map(|kept| kept.into_parts().0);
    }
}

async fn answer(session: &mut ServerSession, name: &'static str) -> bool {
    let (mut shown, mut length) = (Vec::new(), 0);
    while let Ok(Some(piece)) = session.read_request_body().await {
        length += piece.len();
        let room = SHOWN - shown.len();
        shown.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    let request = session.req_header();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value.as_bytes()).into()))
        .collect();
    let received = json!({
        "backend": name,
        "method": request.method.as_str(),
        "target": text(request.raw_path()),
        "headers": headers,
        "body_bytes": length,
        "body": text(&shown),
    });
    let mut body = serde_json::to_vec_pretty(&received).unwrap_or_default();
    body.push(b'\n');
    let id = request.headers.get("x-request-id").cloned().unwrap_or(HeaderValue::from_static("none"));
    let Ok(header) = respond::header(200, "application/json", body.len(), &id) else { return false };
    respond::write(session, header, Bytes::from(body), Duration::from_secs(10)).await
}
