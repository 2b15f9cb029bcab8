//! The server for operators: metrics, and whether the process is alive and can decide.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use pingora_timeout::timeout;
use tokio::sync::watch;

use crate::edge::net::listener::Connection;
use crate::service::access::Access;
use crate::state::metrics::Metrics;

/// The most bytes of a request's header, request line included.
const HEADER_LIMIT: usize = 64 * 1024;

/// The longest wait for a request, for a check of the store, and for a response to be read.
const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
        let mut next = Some(connection.stream);
        while let Some(stream) = next.take() {
            let mut session = ServerSession::new_http1(stream);
            connection.meter.start(HEADER_LIMIT);
            let read = tokio::select! {
                biased;
                read = timeout(PATIENCE, session.read_request()) => read,
                _ = self.end.wait_for(|end| *end) => return,
            };
            connection.meter.lift();
            if matches!(read, Ok(Ok(true))) && !session.is_body_empty() {
                // No request here needs a body. Its end is not searched for, so that nothing in it can be taken for a request.
                session.set_keepalive(None);
            }
            if !matches!(read, Ok(Ok(true))) || !self.answer(&mut session).await {
                return;
            }
            let kept = timeout(PATIENCE, session.finish()).await;
            next = kept.ok().and_then(Result::ok).flatten().map(|kept| kept.into_parts().0);
        }
    }

    async fn answer(&self, session: &mut ServerSession) -> bool {
        let request = session.req_header();
        let (status, kind, body) = if !matches!(request.method, Method::GET | Method::HEAD) {
            (405, "text/plain; charset=utf-8", "method not allowed: use GET or HEAD\n".to_owned())
        } else {
            match request.uri.path() {
                "/metrics" => (200, "text/plain; version=0.0.4", self.metrics.encode()),
                "/healthz" => (200, "text/plain; charset=utf-8", "ok\n".to_owned()),
                "/readyz" if *self.stop.borrow() => {
                    (503, "text/plain; charset=utf-8", "stopping\n".to_owned())
                }
                "/readyz" => match timeout(PATIENCE, self.access.ready()).await {
                    Ok(Ok(())) => (200, "text/plain; charset=utf-8", "ready\n".to_owned()),
                    _ => (503, "text/plain; charset=utf-8", "the store is unavailable\n".to_owned()),
                },
                _ => (404, "text/plain; charset=utf-8", "/metrics /healthz /readyz\n".to_owned()),
            }
        };
        let written = timeout(PATIENCE, write(session, status, kind, Bytes::from(body)));
        matches!(written.await, Ok(Ok(())))
    }
}

/// Writes a response. pingora omits the body if the request is HEAD.
async fn write(
    session: &mut ServerSession,
    status: u16,
    content_type: &'static str,
    body: Bytes,
) -> pingora_error::Result<()> {
    let mut response = ResponseHeader::build(status, Some(4))?;
    response.insert_header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))?;
    response.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    response.insert_header(REQUEST_ID, HeaderValue::from_static("ops"))?;
    session.write_response_header(Box::new(response)).await?;
    session.write_response_body(body, true).await
}
