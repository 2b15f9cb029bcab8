//! An exchange with a backend: the client's side of it, and its outcome, as the fast path, the duplex path, the choice of a
//! backend and the handler all speak of it.

use http::header::HeaderValue;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use tokio::sync::watch;

use super::delivery::{BrokenOff, ResponseDelivery};
use crate::config::Timeouts;
use crate::edge::http::body::source::Body;
use crate::edge::http::error::Refusal;

/// The client's side of an exchange.
pub struct ClientSide<'a> {
    /// The client's session, whose request is to be answered.
    pub session: &'a mut ServerSession,
    /// The body of its request.
    pub body: &'a mut Body,
    /// The time limits of the entry.
    pub timeouts: &'a Timeouts,
    /// The request ID, for the response.
    pub request_id: &'a HeaderValue,
    /// True once the gateway stops: the response ends the client's connection then.
    pub stop: &'a watch::Receiver<bool>,
}

/// The outcome of an exchange of which the client may have seen something. The client's connection stays open where its session
/// says so, except after [`Exchange::BrokenOff`] and [`Exchange::ClientGone`].
pub enum Exchange {
    /// The client has the whole response, of this status.
    Answered(u16),
    /// A response of known length has begun, and the client has seen nothing of it. It is passed on when the client's session is
    /// done with.
    Begun(Box<ResponseDelivery>),
    /// Client and backend speak another protocol from now on. This is the backend's side.
    Switched(Box<UpstreamSession>),
    /// The client has a part of the response. Only the end of its connection tells it that nothing more comes.
    BrokenOff(BrokenOff),
    /// The client went away before the response.
    ClientGone,
}

/// The outcome of an exchange of which the client has seen nothing.
#[derive(Debug)]
pub struct ExchangeFailure {
    /// The answer to the client, unless another backend can do better.
    pub refusal: Refusal,
    /// The reason, for the log.
    pub detail: String,
}

impl ExchangeFailure {
    /// A failure for that reason.
    pub fn new(refusal: Refusal, detail: &dyn std::fmt::Display) -> ExchangeFailure {
        ExchangeFailure { refusal, detail: detail.to_string() }
    }

    /// Returns true if the backend is at fault, and not the client.
    pub fn is_of_backend(&self) -> bool {
        matches!(self.refusal, Refusal::BadGateway | Refusal::GatewayTimeout)
    }

    /// Returns true if the request may be sent again, where its method and its body allow it: the backend, or the connection to it,
    /// was lost. A backend that is only slow may still be at work.
    pub fn may_be_retried(&self) -> bool {
        self.refusal == Refusal::BadGateway
    }
}
