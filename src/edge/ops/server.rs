//! The server for operators: metrics, and whether the process is alive and can decide.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Method;
use pingora_core::protocols::Stream;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::edge::net::listener::Connection;
use crate::service::access::Access;
use crate::state::metrics::Metrics;
use crate::wire::{BodyLength, RequestHead};

/// The longest wait for a request, for a check of the store, and for a response to be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the requests of operators.
#[derive(Clone)]
pub struct OpsServer {
    /// Decides on credentials, and knows whether it can.
    pub access: Arc<Access>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Becomes true when the gateway begins to stop; it is no longer ready then.
    pub stop: watch::Receiver<bool>,
    /// Becomes true when the gateway has stopped; requests are served until then.
    pub end: watch::Receiver<bool>,
}

impl OpsServer {
    /// Serves `connection` until either side closes it.
    pub async fn serve(mut self, connection: Connection) {
        let mut stream = connection.stream;
        let (mut received, mut request) = (BytesMut::new(), RequestHead::default());
        loop {
            let read = tokio::select! {
                biased;
                read = timeout(PATIENCE, read_head(&mut stream, &mut received, &mut request)) => read,
                _ = self.end.wait_for(|end| *end) => return,
            };
            if !matches!(read, Ok(Some(()))) {
                return;
            }
            // No request here needs a body. Its end is not searched for, so that nothing in it can be taken for a request.
            let stays_open = request.keeps_open() && request.body_length() == BodyLength::None;
            let response = self.answer(&request, stays_open).await;
            let written = timeout(PATIENCE, write(&mut stream, &response, stays_open)).await;
            if !stays_open || !matches!(written, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The response to a request.
    async fn answer(&self, request: &RequestHead, stays_open: bool) -> Vec<u8> {
        let path = request.target().split(|b| *b == b'?').next().unwrap_or_default();
        let (status, kind, body) = if !matches!(*request.method(), Method::GET | Method::HEAD) {
            (
                "405 Method Not Allowed",
                "text/plain; charset=utf-8",
                "method not allowed: use GET or HEAD\n".to_owned(),
            )
        } else {
            match path {
                b"/metrics" => ("200 OK", "text/plain; version=0.0.4", self.metrics.encode()),
                b"/healthz" => ("200 OK", "text/plain; charset=utf-8", "ok\n".to_owned()),
                b"/readyz" if *self.stop.borrow() => {
                    ("503 Service Unavailable", "text/plain; charset=utf-8", "stopping\n".to_owned())
                }
                b"/readyz" => match timeout(PATIENCE, self.access.ready()).await {
                    Ok(Ok(())) => ("200 OK", "text/plain; charset=utf-8", "ready\n".to_owned()),
                    Ok(Err(why)) => {
                        ("503 Service Unavailable", "text/plain; charset=utf-8", format!("{why}\n"))
                    }
                    Err(_) => (
                        "503 Service Unavailable",
                        "text/plain; charset=utf-8",
                        "the store is unavailable\n".to_owned(),
                    ),
                },
                _ => ("404 Not Found", "text/plain; charset=utf-8", "/metrics /healthz /readyz\n".to_owned()),
            }
        };
        let mut response =
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        response += "Cache-Control: no-store\r\nx-request-id: ops\r\n";
        response += if stays_open { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" };
        if *request.method() != Method::HEAD {
            response += &body;
        }
        response.into_bytes()
    }
}

/// Reads the head of a request; `None` if there is none that can be answered.
async fn read_head(stream: &mut Stream, received: &mut BytesMut, request: &mut RequestHead) -> Option<()> {
    loop {
        if let Some(length) = request.read(received).ok()? {
            received.advance(length);
            return Some(());
        }
        if stream.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}

async fn write(stream: &mut Stream, response: &[u8], stays_open: bool) -> io::Result<()> {
    stream.write_all(response).await?;
    if stays_open { stream.flush().await } else { AsyncWriteExt::shutdown(stream).await }
}
