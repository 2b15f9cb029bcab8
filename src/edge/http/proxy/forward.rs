//! The choice of a backend for a request, and the attempts that may be repeated at another one.

use std::time::Instant;

use http::Method;
use tracing::warn;

use super::exchange::{ClientSide, Exchange, ExchangeFailure};
use super::relay::Relay;
use super::upstream::{ConnectError, UpstreamGroup};
use crate::domain::Unavailable;
use crate::edge::http::error::Refusal;
use crate::edge::http::headers::request::with_host;
use crate::edge::http::http1::backend::Http1Backend;
use crate::service::access::Access;

/// The most attempts for one request.
const ATTEMPTS: usize = 3;

/// A request to be forwarded.
pub struct Forward<'a> {
    /// The client's side.
    pub client: ClientSide<'a>,
    /// The header of the request as the backend is to get it.
    pub head: &'a [u8],
    /// The host in it, if it isn't the client's.
    pub host: Option<&'a str>,
    /// True if its body is sent in chunks.
    pub is_chunked: bool,
    /// True if it asks for a WebSocket.
    pub upgrade: bool,
    /// Its method.
    pub method: &'a Method,
    /// The worker. Each has its own idle connections.
    pub worker: usize,
    /// The decision that permitted the request; none on a public route.
    pub access: Option<&'a Access>,
    /// Gets the index of the backend that was asked last.
    pub server: &'a mut Option<usize>,
    /// Gets the status of the response, once it has begun.
    pub begun: &'a mut Option<u16>,
}

impl Forward<'_> {
    /// Sends the request to the backends of `group` in turn until one responds. A request is sent again only if there was no connection
    /// to send it over, or if its method is idempotent, its body is still there (RFC 9110 section 9.2.2), and no interim response came.
    /// Returns the time of the end, too.
    ///
    /// # Errors
    /// No backend gave a response. Nothing was written to the client then.
    pub async fn run(mut self, group: &UpstreamGroup) -> Result<(Exchange, Instant), Refusal> {
        if !self.method.is_idempotent() {
            self.client.body.send_once();
        }
        let mut tried = 0;
        let mut only_new = false;
        let mut refusal = Refusal::BadGateway;
        for _ in 0..ATTEMPTS {
            let Some(index) = group.next(tried) else { break };
            let server = &group.servers()[index];
            *self.server = Some(index);
            let connected = match only_new {
                true => group.connect_new(index).await.map(|new| (new, false)),
                false => group.connect(index, self.worker).await,
            };
            let (backend, kept) = match connected {
                Ok(connected) => connected,
                Err(error) => {
                    let request_id = self.client.request_id.as_str();
                    warn!(group = group.name(), %error, request_id, "no connection to the backend");
                    if matches!(error, ConnectError::Timeout(..)) {
                        refusal = Refusal::GatewayTimeout;
                    }
                    tried |= bit(index);
                    continue;
                }
            };
            let _active = server.count_active();
            match self.attempt(backend, server.host()).await {
                Ok((exchange, kept)) => {
                    let ended = Instant::now();
                    if let Some(backend) = kept {
                        server.keep(self.worker, backend, ended);
                    }
                    if let Exchange::BrokenOff(broken_off) = &exchange {
                        broken_off.log(server, self.client.request_id);
                    }
                    return Ok((exchange, ended));
                }
                Err(failure) => {
                    // A client's error says nothing about the backend.
                    if failure.is_of_backend() {
                        let (error, request_id) = (&failure.detail, self.client.request_id.as_str());
                        warn!(upstream = server.name(), kept, error, request_id, "the backend failed");
                    }
                    let repeatable = failure.may_be_retried() && self.method.is_idempotent();
                    refusal = failure.refusal;
                    if !repeatable || !self.client.body.rewind().await {
                        break;
                    }
                    // A healthy backend may have closed an idle connection just as it was used.
                    only_new = kept;
                    if !kept {
                        tried |= bit(index);
                    }
                }
            }
        }
        Err(refusal)
    }

    /// Makes one attempt over one connection. Returns the connection, too, if another request can use it.
    /// `host` is the backend's own, if it gets one.
    async fn attempt(
        &mut self,
        mut backend: Box<Http1Backend>,
        host: Option<&str>,
    ) -> Result<(Exchange, Option<Box<Http1Backend>>), ExchangeFailure> {
        // The last look: the connection may have taken long. What is sent after this is concurrent with a revocation that it misses.
        if self.access.is_some_and(|access| !access.has_trust()) {
            let refusal = Refusal::Unavailable(Unavailable::CutOff);
            return Err(ExchangeFailure::new(refusal, &Unavailable::CutOff));
        }
        // The request is written for the first backend of the group.
        let other = host.filter(|host| self.host.is_some_and(|written| written != *host));
        let rewritten = other.map(|host| with_host(self.head, host));
        let head = rewritten.as_deref().unwrap_or(self.head);
        let relay = Relay {
            client: &mut self.client,
            backend: &mut backend,
            is_chunked: self.is_chunked,
            upgrade: self.upgrade,
            begun: self.begun,
        };
        let run = relay.run(head).await;
        let exchange =
            run.map_err(|failure| ExchangeFailure { has_begun: backend.has_begun(), ..failure })?;
        match exchange {
            Exchange::Answered(101) => Ok((Exchange::Switched(backend), None)),
            Exchange::Answered(_) => {
                let reusable = self.client.body.is_sent() && backend.is_reusable();
                Ok((exchange, reusable.then_some(backend)))
            }
            other => Ok((other, None)),
        }
    }
}

/// The bit of a backend in the set of those that were tried. Backends after the 64th have none, and only take turns.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1u64.checked_shl(index)).unwrap_or(0)
}
