//! The health check of an HTTP backend: one `GET`.

use pingora_core::protocols::Stream;

use crate::edge::http::http1::backend::{BackendEvent, Http1Backend};

/// Returns true if a `GET` of `path` over this connection is answered with 2xx. The caller limits the time.
pub async fn ask(stream: Stream, path: &str, host: &str) -> bool {
    let mut backend = Http1Backend::new(stream);
    let fields = format!("Host: {host}\r\nUser-Agent: gatepost-health\r\nConnection: close\r\n");
    backend.begin(format!("GET {path} HTTP/1.1\r\n{fields}\r\n").as_bytes());
    loop {
        match backend.next().await {
            Ok(BackendEvent::Head) if backend.head().is_interim() => {}
            Ok(BackendEvent::Head) => return (200..300).contains(&backend.head().status()),
            Ok(BackendEvent::Sent(true)) => {}
            _ => return false,
        }
    }
}
