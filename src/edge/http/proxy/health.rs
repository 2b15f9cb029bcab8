//! The health check of an HTTP backend: one `GET`.

use pingora_core::protocols::Stream;

use crate::edge::http::http1::backend::{BackendEvent, Http1Backend};

/// Sends a `GET` of `path` over this connection. The caller limits the time.
///
/// # Errors
/// The reason for the log: the answer is not 2xx, or there is none.
pub async fn ask(stream: Stream, path: &str, host: &str) -> Result<(), String> {
    let mut backend = Http1Backend::new(stream);
    let fields = format!("Host: {host}\r\nUser-Agent: gatepost-health\r\nConnection: close\r\n");
    backend.begin(format!("GET {path} HTTP/1.1\r\n{fields}\r\n").as_bytes());
    loop {
        match backend.next().await {
            Ok(BackendEvent::Head) if backend.head().is_interim() => {}
            Ok(BackendEvent::Head) => match backend.head().status() {
                200..300 => return Ok(()),
                status => return Err(format!("GET {path} was answered with {status}")),
            },
            Ok(BackendEvent::Sent(true)) => {}
            _ => return Err(format!("no response to GET {path}")),
        }
    }
}
