//! An attempt at a request over one connection: its body goes to the backend while the response may already come back. A request
//! whose body is in memory goes out in one write with its header, and so does a response whose body is there.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use pingora_timeout::timeout;
use tokio::task::coop::unconstrained;

use super::exchange::{BrokenOff, ClientSide, Exchange, ExchangeFailure, Side};
use crate::edge::http::body::error::BodyError;
use crate::edge::http::client_session::RelayError;
use crate::edge::http::error::Refusal;
use crate::edge::http::headers::response::Incoming;
use crate::edge::http::http1::backend::{BackendEvent, Http1Backend, ResponseError};
use crate::wire::BodyLength;

/// The most bytes of a body that go out with the header.
const WITH_HEADER: usize = 64 * 1024;

/// An attempt over one connection.
pub struct Relay<'a, 'c> {
    /// The client's side.
    pub client: &'a mut ClientSide<'c>,
    /// The backend's side.
    pub backend: &'a mut Http1Backend,
    /// True if the request's body is sent in chunks.
    pub is_chunked: bool,
    /// True if the request asks for another protocol.
    pub upgrade: bool,
    /// Gets the status of the response, once it has begun.
    pub begun: &'a mut Option<u16>,
}

/// An event of an exchange.
enum Event {
    Backend(Result<BackendEvent, ResponseError>),
    /// The end of a write to the client: true if it was sent.
    Flushed(bool),
    /// A piece of the request's body, or its end.
    Body(Result<Option<Bytes>, BodyError>),
}

/// The side that was lost in the middle.
enum LostSide {
    Client,
    Backend(String),
}

impl Relay<'_, '_> {
    /// Sends the request whose header is `head`, and passes the response on as it comes.
    ///
    /// # Errors
    /// [`ExchangeFailure`] if the client can have seen nothing of a response.
    pub async fn run(mut self, head: &[u8]) -> Result<Exchange, ExchangeFailure> {
        self.backend.begin(head);
        if let Some(outcome) = self.send_what_is_there().await {
            return outcome;
        }
        if self.backend.send_now().await == Some(false) {
            self.client.body.give_up();
        }
        let mut begun: Option<u16> = None;
        loop {
            let passed = match self.next_event(begun.is_some()).await {
                Some(Event::Backend(Ok(event))) => self.take(event, &mut begun).await,
                Some(Event::Backend(Err(error))) => Err(LostSide::Backend(error.to_string())),
                Some(Event::Flushed(true)) => Ok(None),
                Some(Event::Flushed(false)) => Err(LostSide::Client),
                Some(Event::Body(Ok(piece))) => {
                    self.send(piece);
                    Ok(None)
                }
                Some(Event::Body(Err(error))) => match self.body_failed(error, begun) {
                    Some(failure) => return Err(failure),
                    None => Err(LostSide::Client),
                },
                // The backend takes no more. It may have responded already.
                None if self.backend.waits() && begun.is_none() => {
                    self.client.body.give_up();
                    self.backend.give_up();
                    Ok(None)
                }
                None if begun.is_none() => {
                    return Err(ExchangeFailure::new(Refusal::GatewayTimeout, &"no response in time"));
                }
                None => Err(LostSide::Backend("no more of the body in time".into())),
            };
            match passed {
                Ok(None) => {}
                Ok(Some(exchange)) => return Ok(exchange),
                Err(lost) => return lost.outcome(begun),
            }
        }
    }

    /// The next event; `None` if it doesn't come in time.
    async fn next_event(&mut self, begun: bool) -> Option<Event> {
        let patience = self.patience(begun);
        let ClientSide { session, body, timer, .. } = &mut *self.client;
        let waits = self.backend.waits();
        let has_unsent = session.has_unsent();
        let event = async {
            tokio::select! {
                biased;
                event = self.backend.next() => Event::Backend(event),
                event = async {
                    match has_unsent {
                        true => Event::Flushed(session.send().await.is_ok()),
                        false => Event::Body(body.next(session).await),
                    }
                }, if has_unsent || !waits => event,
            }
        };
        // Pinned, because it is large, and would be moved otherwise.
        let event = pin!(event);
        match patience {
            Some(patience) => timer.within(patience, event).await,
            None => Some(event.await),
        }
    }

    /// The time for the next event. While the request is still being sent, its own pace is watched, and the response's isn't.
    fn patience(&self, begun: bool) -> Option<Duration> {
        let timeouts = self.client.timeouts;
        match () {
            () if begun => Some(timeouts.response),
            () if self.backend.waits() => Some(timeouts.write),
            () if self.client.body.is_over() => Some(timeouts.response),
            () => None,
        }
    }

    /// Adds the pieces of the request's body that are in memory to what is sent first.
    async fn send_what_is_there(&mut self) -> Option<Result<Exchange, ExchangeFailure>> {
        let mut room = WITH_HEADER;
        while room > 0 && !self.client.body.is_over() && !self.client.body.wants_continue() {
            let ClientSide { session, body, .. } = &mut *self.client;
            let next = async {
                tokio::select! {
                    biased;
                    piece = body.next(session) => Some(piece),
                    () = std::future::ready(()) => None,
                }
            };
            match unconstrained(next).await? {
                Ok(piece) => {
                    room = room.saturating_sub(piece.as_ref().map_or(0, Bytes::len));
                    self.send(piece);
                    if self.backend.has_large_piece() {
                        return None;
                    }
                }
                Err(error) => {
                    return Some(match self.body_failed(error, None) {
                        Some(failure) => Err(failure),
                        None => Ok(Exchange::ClientGone),
                    });
                }
            }
        }
        None
    }

    /// Queues a piece of the body, or its end. The rest is sent while the backend is read from.
    fn send(&mut self, piece: Option<Bytes>) {
        match piece {
            Some(piece) => self.backend.queue_body(piece, self.is_chunked),
            None if self.is_chunked => self.backend.queue_last_chunk(),
            None => {}
        }
    }

    /// The failure if a body can't be read to its end; `None` if the client is lost.
    fn body_failed(&self, error: BodyError, begun: Option<u16>) -> Option<ExchangeFailure> {
        match (error, begun) {
            (BodyError::Refused(refusal), None) => {
                Some(ExchangeFailure::new(refusal, &"the request broke off"))
            }
            (BodyError::Gone | BodyError::Refused(_), _) => None,
        }
    }

    /// Passes on what came from the backend; `Some` once nothing more comes.
    async fn take(
        &mut self,
        event: BackendEvent,
        begun: &mut Option<u16>,
    ) -> Result<Option<Exchange>, LostSide> {
        match event {
            BackendEvent::Sent(true) => Ok(None),
            BackendEvent::Sent(false) => {
                self.client.body.give_up();
                Ok(None)
            }
            BackendEvent::Head => self.pass_on_head(begun).await,
            BackendEvent::Piece(piece) => {
                // The end goes with the last piece: over HTTP/2 that is one frame, not two.
                let ends = self.backend.is_done();
                self.write(piece, ends).await?;
                Ok(begun.filter(|_| ends).map(Exchange::Answered))
            }
            BackendEvent::End => {
                self.write(Bytes::new(), true).await?;
                Ok(begun.map(Exchange::Answered))
            }
        }
    }

    async fn write(&mut self, piece: Bytes, ends: bool) -> Result<(), LostSide> {
        let ClientSide { session, timer, timeouts, .. } = &mut *self.client;
        let writing = pin!(session.write_body(piece, ends));
        match timer.within(timeouts.write, writing).await {
            Some(Ok(())) => Ok(()),
            _ => Err(LostSide::Client),
        }
    }

    async fn pass_on_head(&mut self, begun: &mut Option<u16>) -> Result<Option<Exchange>, LostSide> {
        let (status, is_interim) = (self.backend.head().status(), self.backend.head().is_interim());
        if is_interim {
            // Gatepost sends 100 itself. Early hints are for the client.
            if status == 103 && self.client.session.takes_early_hints() {
                self.write_head(BodyLength::None, false)?;
                // A client that takes nothing would let them pile up.
                let sent = timeout(self.client.timeouts.write, self.client.session.send()).await;
                return if matches!(sent, Ok(Ok(()))) { Ok(None) } else { Err(LostSide::Client) };
            }
            return Ok(None);
        }
        if status == 101 {
            if !self.upgrade {
                return Err(LostSide::Backend("101 without a request for an upgrade".into()));
            }
            self.write_head(BodyLength::None, false)?;
            let sent = timeout(self.client.timeouts.write, self.client.session.send()).await;
            // The caller has the connections.
            return if matches!(sent, Ok(Ok(()))) {
                Ok(Some(Exchange::Answered(101)))
            } else {
                Err(LostSide::Client)
            };
        }
        let length = self.backend.head().body_length(self.client.session.is_head());
        let length = length.map_err(|error| LostSide::Backend(error.to_string()))?;
        let first = self.backend.begin_body(length).map_err(|error| LostSide::Backend(error.to_string()))?;
        // The client sees this response, so no other attempt follows, and no 100 comes after it.
        self.client.body.send_once();
        if self.client.body.wants_continue() {
            self.client.body.give_up();
        }
        let ends = self.backend.is_done();
        self.write_head(length, ends && first.is_none())?;
        *begun = Some(status);
        *self.begun = *begun;
        if first.is_some() || ends {
            self.write(first.unwrap_or_default(), ends).await?;
        }
        Ok(ends.then_some(Exchange::Answered(status)))
    }

    fn write_head(&mut self, length: BodyLength, ends: bool) -> Result<(), LostSide> {
        let session = &mut *self.client.session;
        let version = session.head().version();
        let closes =
            version == Version::HTTP_10 && matches!(length, BodyLength::Chunked | BodyLength::UntilClose);
        // A connection on which the rest of a request is still to come is closed after the response.
        let is_final = self.backend.head().status() >= 200;
        if is_final && (closes || !session.is_body_done() || *self.client.stop.borrow()) {
            session.close_afterwards();
        }
        let keepalive = session.stays_open();
        let (request_id, rules) = (self.client.request_id, self.client.rules);
        let with = Incoming { version, keepalive, length, request_id, rules };
        session.write_relayed_head(self.backend.head(), &with, ends).map_err(|error| match error {
            RelayError::Response(error) => LostSide::Backend(error),
            RelayError::Client => LostSide::Client,
        })
    }
}

impl LostSide {
    /// The outcome of an exchange whose response has `begun`, or not.
    fn outcome(self, begun: Option<u16>) -> Result<Exchange, ExchangeFailure> {
        match (self, begun) {
            (LostSide::Client, None) => Ok(Exchange::ClientGone),
            (LostSide::Client, Some(status)) => Ok(Exchange::BrokenOff(BrokenOff::by_client(status))),
            (LostSide::Backend(detail), None) => Err(ExchangeFailure::new(Refusal::BadGateway, &detail)),
            (LostSide::Backend(detail), Some(status)) => {
                Ok(Exchange::BrokenOff(BrokenOff { status, by: Side::Backend, detail }))
            }
        }
    }
}
