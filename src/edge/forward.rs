//! A request's way to a backend: which one, how often, and what of it may be repeated.

use http::header::HeaderValue;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_http::RequestHeader;
use tracing::warn;

use super::body::Body;
use super::refusal::Refusal;
use super::relay::{Relay, Relayed};
use super::upstream::{ConnectError, Group};
use crate::config::Timeouts;

/// Attempts for one request at most.
const ATTEMPTS: usize = 3;

/// What happened to a request that was forwarded.
pub enum Forwarded {
    /// The client has the whole answer, of this status.
    Answered(u16),
    /// Client and backend speak another protocol now; this is the backend's side.
    Switched(Box<UpstreamSession>),
    /// The client has the beginning of an answer that can't be finished; only closing tells it so.
    Broken(u16),
    /// The client went away.
    Gone,
}

/// A request on its way.
pub struct Forward<'a> {
    /// The client's side.
    pub session: &'a mut ServerSession,
    /// The request as the backend is to get it.
    pub request: &'a RequestHeader,
    /// What it carries.
    pub body: &'a mut Body,
    /// How long things may take.
    pub timeouts: &'a Timeouts,
    /// Its number, for the answer.
    pub request_id: &'a HeaderValue,
    /// Whether the answer is to end the connection, since the gateway stops.
    pub closing: bool,
    /// Which worker this is: kept connections belong to one.
    pub worker: usize,
}

impl Forward<'_> {
    /// Asks the backends of `group` in turn until one answers, within what is safe to repeat: a request goes out again
    /// only where nothing of it was sent, or where its method is idempotent and its body is still there
    /// (RFC 9110 section 9.2.2).
    ///
    /// # Errors
    /// Where no backend gave an answer; nothing was written to the client then.
    pub async fn run(self, group: &Group) -> Result<Forwarded, Refusal> {
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
            let mut upstream = UpstreamSession::new(stream);
            let _active = server.count_active();
            let relay = Relay {
                session: &mut *self.session,
                upstream: &mut upstream,
                body: &mut *self.body,
                timeouts: self.timeouts,
                request_id: self.request_id,
                closing: self.closing,
            };
            match relay.run(self.request).await {
                Ok(Relayed::Answered(status)) => {
                    upstream.respect_keepalive();
                    if self.body.is_sent()
                        && let Some(stream) = upstream.reuse().await
                    {
                        server.keep(self.worker, stream);
                    }
                    return Ok(Forwarded::Answered(status));
                }
                Ok(Relayed::Switched) => return Ok(Forwarded::Switched(Box::new(upstream))),
                Ok(Relayed::Broken(status)) => return Ok(Forwarded::Broken(status)),
                Ok(Relayed::Gone) => return Ok(Forwarded::Gone),
                Err(failure) => {
                    warn!(upstream = server.name(), kept, error = failure.detail, "the request failed");
                    refusal = failure.refusal;
                    let repeatable = failure.unsent || self.request.method.is_idempotent();
                    if refusal != Refusal::BadGateway || !repeatable || !self.body.rewind().await {
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
}

/// More than 64 backends in one group are only told apart by their turn.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1u64.checked_shl(index)).unwrap_or(0)
}
