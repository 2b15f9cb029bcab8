//! The health check of an HTTP backend: one `GET`.

use http::header;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_http::RequestHeader;

/// Returns true if a `GET` of `path` over this connection is answered with 2xx. The caller limits the time.
pub async fn ask(stream: Stream, path: &str, host: &str) -> bool {
    let Ok(mut request) = RequestHeader::build("GET", path.as_bytes(), Some(3)) else { return false };
    let inserted = request
        .insert_header(header::HOST, host)
        .and_then(|()| request.insert_header(header::USER_AGENT, "gatepost-health"))
        .and_then(|()| request.insert_header(header::CONNECTION, "close"));
    if inserted.is_err() {
        return false;
    }
    let mut session = HttpSession::new(stream);
    if session.write_request_header(Box::new(request)).await.is_err()
        || session.read_response().await.is_err()
    {
        return false;
    }
    session.get_status().is_some_and(|status| status.is_success())
}
