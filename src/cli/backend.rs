//! The demo's HTTP backends: the API answers every request with what it received, and the dashboard shows browsers a page.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::dashboard;
use crate::domain::RequestId;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::headers::answer::AnswerHead;
use crate::edge::http::http1::client::Http1Client;
use crate::edge::http::respond;
use crate::edge::net::listener::{self, AdmissionLimits, Connection};
use crate::edge::net::refused_connections::RefusedConnections;
use crate::edge::net::source_limit::unlimited;

/// The name of the backend that is a dashboard as well.
pub const DASHBOARD: &str = "web";

/// The number of bytes of a body that are shown.
const SHOWN: usize = 2048;

/// Serves on `socket` until `stop` turns true.
pub async fn serve(socket: TcpListener, name: &'static str, stop: watch::Receiver<bool>) {
    let answer = move |connection: Connection| answer_all(connection, name);
    let limits = AdmissionLimits::for_operators(1000, None);
    listener::accept(socket, None, limits, unlimited, RefusedConnections::default(), stop, answer).await;
}

/// The longest time for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

async fn answer_all(connection: Connection, name: &'static str) {
    let mut session = ClientSession::Http1(Box::new(Http1Client::new(connection.stream)));
    loop {
        let ClientSession::Http1(client) = &mut session else { return };
        if client.read_head().await != Ok(true) {
            return;
        }
        if let Some(key) = dashboard::key_of_live(client.head()).filter(|_| name == DASHBOARD) {
            // The browser connects again.
            let _ = dashboard::live(client, &key).await;
            return;
        }
        if !answer(&mut session, name).await {
            return;
        }
        let ClientSession::Http1(client) = &mut session else { return };
        if !client.finish(PATIENCE).await {
            return;
        }
    }
}

async fn answer(session: &mut ClientSession, name: &'static str) -> bool {
    let (mut shown, mut length) = (Vec::new(), 0);
    while let Ok(Some(piece)) = session.read_body().await {
        length += piece.len();
        let room = SHOWN - shown.len();
        shown.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    let request = session.head();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Map<String, Value> = request
        .fields()
        .iter()
        .map(|field| (text(field.name).to_ascii_lowercase(), text(field.value).into()))
        .collect();
    let target = text(request.target());
    if let Some((kind, content)) = dashboard::content(&target, &headers).filter(|_| name == DASHBOARD) {
        let head = AnswerHead::new(200, kind, Some(content.len()), &RequestId::default());
        return respond::write(session, &head, content, PATIENCE).await;
    }
    let received = json!({
        "backend": name,
        "method": request.method().as_str(),
        "target": target,
        "headers": headers,
        "body_bytes": length,
        "body": text(&shown),
    });
    let mut body = serde_json::to_vec_pretty(&received).unwrap_or_default();
    body.push(b'\n');
    let head = AnswerHead::new(200, "application/json", Some(body.len()), &RequestId::default());
    respond::write(session, &head, Bytes::from(body), PATIENCE).await
}
