//! The choice of a backend for a request, and the attempts that may be repeated at another one.

use std::sync::Arc;

use http::Method;
use http::header::HeaderValue;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_http::RequestHeader;
use tokio::sync::watch;
use tracing::warn;

use super::duplex::{Duplex, Failure, Relayed, failure};
use super::fast_path::{Asked, Delivery, FastPath};
use super::upstream::{ConnectError, Group};
use super::write_buffer::{Backlog, WriteBuffer};
use crate::config::Timeouts;
use crate::edge::http::body::source::Body;
use crate::edge::http::error::Refusal;
use crate::edge::http::framing::{ValidatedStream, Validation};
use crate::edge::net::tcp_stream::MeteredStream;

/// Attempts for one request at most.
const ATTEMPTS: usize = 3;

/// What happened to a request that was forwarded.
pub enum Forwarded {
    /// The client has the whole answer, of this status.
    Answered(u16),
    /// An answer has begun, nothing of which the client has seen; the backend's index is for its connection.
    Begun(Box<Delivery>, usize),
    /// Client and backend speak another protocol now; this is the backend's side.
    Switched(Box<UpstreamSession>),
    /// The client has the beginning of an answer that can't be finished; only closing tells it so.
    Broken(u16),
    /// The client went away.
    Gone,
}

/// A request as a backend is to get it.
pub enum Outbound {
    /// One that can carry a body, ask for another protocol, or go over TLS.
    Header(Box<RequestHeader>),
    /// One without a body, as bytes, for backends in clear.
    Bytes(Vec<u8>),
}

/// A request on its way.
pub struct Forward<'a> {
    /// The client's side.
    pub session: &'a mut ServerSession,
    /// The request as the backend is to get it.
    pub request: &'a Outbound,
    /// Its method.
    pub method: &'a Method,
    /// What it carries.
    pub body: &'a mut Body,
    /// How long things may take.
    pub timeouts: &'a Timeouts,
    /// Its number, for the answer.
    pub request_id: &'a HeaderValue,
    /// True once the gateway stops: the answer ends the connection then.
    pub stop: &'a watch::Receiver<bool>,
    /// Which worker this is: kept connections belong to one.
    pub worker: usize,
}

impl Forward<'_> {
    /// Asks the backends of `group` in turn until one answers, within what is safe to repeat: a request goes out again
    /// only where there was no connection to send it over, or where its method is idempotent and its body is still there
    /// (RFC 9110 section 9.2.2).
    ///
    /// # Errors
    /// Where no backend gave an answer; nothing was written to the client then.
    pub async fn run(mut self, group: &Group) -> Result<Forwarded, Refusal> {
        if !self.method.is_idempotent() {
            self.body.send_once();
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
            match self.attempt(stream).await {
                Ok(Attempt::Answered(status, stream)) => {
                    if let Some(stream) = stream {
                        server.keep(self.worker, stream);
                    }
                    return Ok(Forwarded::Answered(status));
                }
                Ok(Attempt::Begun(delivery)) => return Ok(Forwarded::Begun(delivery, index)),
                Ok(Attempt::Switched(upstream)) => return Ok(Forwarded::Switched(upstream)),
                Ok(Attempt::Broken(status)) => return Ok(Forwarded::Broken(status)),
                Ok(Attempt::Gone) => return Ok(Forwarded::Gone),
                Err(failure) => {
                    // What the client did wrong is no news of the backend.
                    if matches!(failure.refusal, Refusal::BadGateway | Refusal::GatewayTimeout) {
                        warn!(upstream = server.name(), kept, error = failure.detail, "the backend failed");
                    }
                    refusal = failure.refusal;
                    let repeatable = refusal == Refusal::BadGateway && self.method.is_idempotent();
                    if !repeatable || !self.body.rewind().await {
                        break;
                    }
                    // A kept connection may have been closed, just as it was used, by a backend that is well.
                    only_new = kept;
                    if !kept {
                        tried |= bit(index);
                    }
                }
            }
        }
        Err(refusal)
    }

    /// One attempt over one connection.
    async fn attempt(&mut self, stream: Stream) -> Result<Attempt, Failure> {
        let header = match self.request {
            Outbound::Header(header) => header,
            Outbound::Bytes(bytes) => {
                let Ok(socket) = stream.into_any().downcast::<MeteredStream>() else {
                    return Err(failure(Refusal::BadGateway, &"not a connection in clear"));
                };
                let plain = FastPath {
                    session: &mut *self.session,
                    timeouts: self.timeouts,
                    request_id: self.request_id,
                    stop: self.stop,
                };
                return match plain.ask(socket, bytes).await? {
                    Asked::Begun(delivery) => Ok(Attempt::Begun(delivery)),
                    Asked::Unusual(socket) => self.relay(socket, None).await,
                    Asked::Gone => Ok(Attempt::Gone),
                };
            }
        };
        self.relay(stream, Some(header)).await
    }

    /// Relays a request, or, where there is no header to send, the answer to one that was sent.
    async fn relay(&mut self, stream: Stream, header: Option<&RequestHeader>) -> Result<Attempt, Failure> {
        let backlog = Arc::new(Backlog::default());
        let validation = Arc::new(Validation::of_answer());
        let stream = Box::new(ValidatedStream::new(stream, validation.clone()));
        let stream = Box::new(WriteBuffer::new(stream, backlog.clone()));
        let mut upstream = Box::new(UpstreamSession::new(stream));
        let relay = Duplex {
            session: &mut *self.session,
            upstream: &mut upstream,
            backlog: &backlog,
            validation: &validation,
            body: &mut *self.body,
            timeouts: self.timeouts,
            request_id: self.request_id,
            stop: self.stop,
        };
        let relayed = match header {
            Some(header) => relay.run(header).await,
            None => relay.resume().await,
        };
        Ok(match relayed? {
            Relayed::Answered(status) => {
                upstream.respect_keepalive();
                let whole = self.body.is_sent() && !backlog.waits();
                let kept = if whole { upstream.reuse().await } else { None };
                let kept =
                    kept.and_then(WriteBuffer::unwrap).and_then(|kept| ValidatedStream::unwrap(kept, None));
                Attempt::Answered(status, kept.map(|(stream, _)| stream))
            }
            Relayed::Switched => Attempt::Switched(upstream),
            Relayed::Broken(status) => Attempt::Broken(status),
            Relayed::Gone => Attempt::Gone,
        })
    }
}

/// How one attempt ended, with what is left of the backend's side.
enum Attempt {
    /// The client has the whole answer; the connection is for the next request, where there is one.
    Answered(u16, Option<Stream>),
    /// An answer is on its way.
    Begun(Box<Delivery>),
    /// Client and backend speak another protocol now.
    Switched(Box<UpstreamSession>),
    /// The client has the beginning of an answer that can't be finished.
    Broken(u16),
    /// The client went away.
    Gone,
}

/// More than 64 backends in one group are only told apart by their turn.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1u64.checked_shl(index)).unwrap_or(0)
}
