//! The health check of an HTTP backend: one `GET`.

use http::header;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_http::RequestHeader;

/// Sends a `GET` of `path` over this connection. The caller limits the time.
///
/// # Errors
/// The reason for the log: the answer is not 2xx, or there is none.
pub async fn ask(stream: Stream, path: &str, host: &str) -> Result<(), String> {
    let unusable = || format!("GET {path} can't be sent");
    let mut request = RequestHeader::build("GET", path.as_bytes(), Some(3)).map_err(|_| unusable())?;
    let inserted = request
        .insert_header(header::HOST, host)
        .and_then(|()| request.insert_header(header::USER_AGENT, "gatepost-health"))
        .and_then(|()| request.insert_header(header::CONNECTION, "close"));
    inserted.map_err(|_| unusable())?;
    let mut session = HttpSession::new(stream);
    if session.write_request_header(Box::new(request)).await.is_err()
        || session.read_response().await.is_err()
    {
        return Err(format!("no response to GET {path}"));
    }
    match session.get_status() {
        Some(status) if status.is_success() => Ok(()),
        Some(status) => Err(format!("GET {path} was answered with {}", status.as_u16())),
        None => Err(format!("no response to GET {path}")),
    }
}
