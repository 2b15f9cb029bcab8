//! An exchange with a backend: the client's side of it, and its outcome, as the relay, the choice of a backend and the handler all
//! speak of it.

use tokio::sync::watch;
use tracing::warn;

use super::upstream::Server;
use crate::config::Timeouts;
use crate::domain::RequestId;
use crate::edge::http::body::source::Body;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::headers::response::GateRules;
use crate::edge::http::http1::backend::Http1Backend;
use crate::edge::net::deadline::DeadlineTimer;

/// The client's side of an exchange.
pub struct ClientSide<'a> {
    /// The client's session, whose request is to be answered.
    pub session: &'a mut ClientSession,
    /// The body of its request.
    pub body: &'a mut Body,
    /// The time limits of the entry.
    pub timeouts: &'a Timeouts,
    /// The timer of the connection.
    pub timer: &'a mut DeadlineTimer,
    /// The request ID, for the response.
    pub request_id: &'a RequestId,
    /// The rules of a gate for the response.
    pub rules: GateRules,
    /// True once the gateway stops: the response ends the client's connection then.
    pub stop: &'a watch::Receiver<bool>,
}

/// The outcome of an exchange of which the client may have seen something. The client's connection stays open where its session
/// says so, except after [`Exchange::BrokenOff`] and [`Exchange::ClientGone`].
pub enum Exchange {
    /// The client has the whole response, of this status.
    Answered(u16),
    /// Client and backend speak another protocol from now on. This is the backend's side.
    Switched(Box<Http1Backend>),
    /// The client has a part of the response. Only the end of its connection tells it that nothing more comes.
    BrokenOff(BrokenOff),
    /// The client went away before the response.
    ClientGone,
}

/// The side that broke off a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client went away, or took nothing for too long.
    Client,
    /// The backend closed its connection, sent something invalid, or nothing for too long.
    Backend,
    /// Gatepost could not read what it had to send.
    Gatepost,
}

impl Side {
    /// The side's name in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Backend => "backend",
            Side::Gatepost => "gatepost",
        }
    }
}

/// A response that the client has a part of, and of which nothing more comes.
#[derive(Debug)]
pub struct BrokenOff {
    /// The response's status.
    pub status: u16,
    /// The side that broke it off.
    pub by: Side,
    /// The reason, for the log.
    pub detail: String,
}

impl BrokenOff {
    /// A response of that status that the client broke off.
    pub fn by_client(status: u16) -> BrokenOff {
        BrokenOff { status, by: Side::Client, detail: String::new() }
    }

    /// Logs it if it was the fault of `server`.
    pub fn log(&self, server: &Server, request_id: &RequestId) {
        if self.by == Side::Backend {
            warn!(
                upstream = server.name(),
                status = self.status,
                error = self.detail,
                request_id = request_id.as_str(),
                "the backend broke off its response",
            );
        }
    }
}

/// The outcome of an exchange of which the client has seen nothing, but early hints.
#[derive(Debug)]
pub struct ExchangeFailure {
    /// The answer to the client, unless another backend can do better.
    pub refusal: Refusal,
    /// The reason, for the log.
    pub detail: String,
    /// True if an interim response came before. The client may have seen it.
    pub has_begun: bool,
}

impl ExchangeFailure {
    /// A failure for that reason, before anything of a response.
    pub fn new(refusal: Refusal, detail: &dyn std::fmt::Display) -> ExchangeFailure {
        ExchangeFailure { refusal, detail: detail.to_string(), has_begun: false }
    }

    /// Returns true if the backend is at fault, and not the client.
    pub fn is_of_backend(&self) -> bool {
        matches!(self.refusal, Refusal::BadGateway | Refusal::GatewayTimeout)
    }

    /// Returns true if the request may be sent again, where its method and its body allow it: the backend, or the connection to it,
    /// was lost. A backend that is only slow, or has sent an interim response, may still be at work.
    pub fn may_be_retried(&self) -> bool {
        self.refusal == Refusal::BadGateway && !self.has_begun
    }
}
