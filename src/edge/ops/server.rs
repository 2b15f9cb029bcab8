//! The listener for operators: metrics, and whether the process runs and can decide.

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

const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers operators' requests.
#[derive(Clone)]
pub struct OpsServer {
    /// Who decides; asked whether it can.
    pub access: Arc<Access>,
    /// What is shown.
    pub metrics: Arc<Metrics>,
    /// Turns true when the gateway begins to stop, and is no longer ready.
    pub stop: watch::Receiver<bool>,
    /// Turns true when it has stopped; until then it tells of itself.
    pub end: watch::Receiver<bool>,
}

impl OpsServer {
    /// Serves `connection` until either side has enough.
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
                // Nobody asks with a body here. Where it ends isn't looked for, so that nothing in it is a request.
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
            (405, "text/plain; charset=utf-8", "use GET\n".to_owned())
        } else {
            match request.uri.path() {
                "/metrics" => (200, "text/plain; version=0.0.4", self.metrics.encode()),
                "/healthz" => (200, "text/plain; charset=utf-8", "ok\n".to_owned()),
                "/readyz" if *self.stop.borrow() => {
                    (503, "text/plain; charset=utf-8", "stopping\n".to_owned())
                }
                "/readyz" => match timeout(PATIENCE, self.access.ready()).await {
                    Ok(Ok(())) => (200, "text/plain; charset=utf-8", "ready\n".to_owned()),
                    _ => (503, "text/plain; charset=utf-8", "the store can't be asked\n".to_owned()),
                },
                _ => (404, "text/plain; charset=utf-8", "/metrics /healthz /readyz\n".to_owned()),
            }
        };
        let written = timeout(PATIENCE, write(session, status, kind, Bytes::from(body)));
        matches!(written.await, Ok(Ok(())))
    }
}

/// Writes a whole response. pingora leaves out the body where the request is HEAD.
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
