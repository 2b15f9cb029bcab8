//! The choice of a backend for a request, and the attempts that may be repeated at another one.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::Method;
use http::header::{self, HeaderValue};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_http::RequestHeader;
use tracing::warn;

use super::duplex::Duplex;
use super::exchange::{ClientSide, Exchange, ExchangeFailure};
use super::fast_path::FastPath;
use super::upstream::{ConnectError, UpstreamGroup};
use super::write_buffer::{Backlog, WriteBuffer};
use crate::edge::http::error::Refusal;
use crate::edge::http::framing::{ValidatedStream, Validation};
use crate::edge::http::headers::request::with_host;
use crate::edge::http::headers::response_length::may_leave_bytes;
use crate::edge::net::tcp_stream::MeteredStream;

/// The most attempts for one request.
const ATTEMPTS: usize = 3;

/// A request as a backend is to get it.
pub enum Outbound {
    /// A request that may have a body, ask for another protocol, or go over TLS.
    Header(Box<RequestHeader>),
    /// A request without a body, as bytes, for cleartext backends.
    Bytes(Vec<u8>),
}

/// A request to be forwarded.
pub struct Forward<'a> {
    /// The client's side.
    pub client: ClientSide<'a>,
    /// The request as the backend is to get it.
    pub request: &'a Outbound,
    /// The host in it, if it isn't the client's.
    pub host: Option<&'a HeaderValue>,
    /// Its method.
    pub method: &'a Method,
    /// The worker. Each has its own idle connections.
    pub worker: usize,
}

impl Forward<'_> {
    /// Sends the request to the backends of `group` in turn until one responds. A request is sent again only if there was no connection
    /// to send it over, or if its method is idempotent and its body is still there (RFC 9110 section 9.2.2).
    ///
    /// # Errors
    /// No backend gave a response. Nothing was written to the client then.
    pub async fn run(mut self, group: &UpstreamGroup) -> Result<Exchange, Refusal> {
        if !self.method.is_idempotent() {
            self.client.body.send_once();
        }
        let mut tried = 0;
        let mut only_new = false;
        let mut refusal = Refusal::BadGateway;
        for _ in 0..ATTEMPTS {
            let Some(index) = group.next(tried) else { break };
            let server = &group.servers()[index];
            let connected = match only_new {
                true => group.connect_new(index).await.map(|stream| (stream, false)),
                false => group.connect(index, self.worker).await,
            };
            let (stream, kept) = match connected {
                Ok(connected) => connected,
                Err(error) => {
                    warn!(group = group.name(), %error, "no connection to the backend");
                    if matches!(error, ConnectError::Timeout(..)) {
                        refusal = Refusal::GatewayTimeout;
                    }
                    tried |= bit(index);
                    continue;
                }
            };
            let _active = server.count_active();
            match self.attempt(stream, server.host()).await {
                Ok((mut exchange, kept)) => {
                    if let Some(stream) = kept {
                        server.keep(self.worker, stream);
                    }
                    match &mut exchange {
                        Exchange::Begun(delivery) => delivery.server = index,
                        Exchange::BrokenOff(broken_off) => broken_off.log(server, self.client.request_id),
                        Exchange::Answered(_) | Exchange::Switched(_) | Exchange::ClientGone => {}
                    }
                    return Ok(exchange);
                }
                Err(failure) => {
                    // A client's error says nothing about the backend.
                    if failure.is_of_backend() {
                        warn!(upstream = server.name(), kept, error = failure.detail, "the backend failed");
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
        stream: Stream,
        host: Option<&HeaderValue>,
    ) -> Result<(Exchange, Option<Stream>), ExchangeFailure> {
        // The request is written for the first backend of the group.
        let other = host.filter(|host| self.host.is_some_and(|written| written != *host));
        let bytes = match self.request {
            Outbound::Header(header) => {
                let Some(host) = other else { return self.relay(stream, Some(header)).await };
                let mut header = header.clone();
                let inserted = header.insert_header(header::HOST, host);
                inserted.map_err(|error| ExchangeFailure::new(Refusal::BadGateway, &error))?;
                return self.relay(stream, Some(&header)).await;
            }
            Outbound::Bytes(bytes) => bytes,
        };
        let rewritten = other.map(|host| with_host(bytes, host));
        let bytes = rewritten.as_ref().unwrap_or(bytes);
        let Ok(socket) = stream.into_any().downcast::<MeteredStream>() else {
            return Err(ExchangeFailure::new(Refusal::BadGateway, &"not a cleartext connection"));
        };
        match (FastPath { client: &mut self.client }).run(socket, bytes).await? {
            ControlFlow::Break(exchange) => Ok((exchange, None)),
            ControlFlow::Continue(socket) => self.relay(socket, None).await,
        }
    }

    /// Relays a request, or the response to one that was sent if there is no header to send.
    async fn relay(
        &mut self,
        stream: Stream,
        header: Option<&RequestHeader>,
    ) -> Result<(Exchange, Option<Stream>), ExchangeFailure> {
        let backlog = Arc::new(Backlog::default());
        let validation = Arc::new(Validation::of_answer());
        let stream = Box::new(ValidatedStream::new(stream, validation.clone()));
        let stream = Box::new(WriteBuffer::new(stream, backlog.clone()));
        let mut upstream = Box::new(UpstreamSession::new(stream));
        let duplex = Duplex {
            client: &mut self.client,
            upstream: &mut upstream,
            backlog: &backlog,
            validation: &validation,
        };
        let exchange = match header {
            Some(header) => duplex.run(header).await?,
            None => duplex.resume().await?,
        };
        let status = match exchange {
            Exchange::Answered(_) if upstream.was_upgraded() => {
                return Ok((Exchange::Switched(upstream), None));
            }
            Exchange::Answered(status) => status,
            other => return Ok((other, None)),
        };
        upstream.respect_keepalive();
        let reusable = self.client.body.is_sent()
            && !backlog.waits()
            && !upstream.resp_header().is_none_or(may_leave_bytes);
        let kept = if reusable { upstream.reuse().await } else { None };
        let kept = kept.and_then(WriteBuffer::unwrap).and_then(|kept| ValidatedStream::unwrap(kept, None));
        Ok((Exchange::Answered(status), kept.map(|(stream, _)| stream)))
    }
}

/// The bit of a backend in the set of those that were tried. Backends after the 64th have none, and only take turns.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1u64.checked_shl(index)).unwrap_or(0)
}
