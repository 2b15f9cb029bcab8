//! One attempt at a request in full duplex: its body goes to the backend while the response may already come back.

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{StatusCode, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_timeout::timeout;
use tokio::sync::watch;
use tracing::debug;

use super::write_buffer::Backlog;
use crate::config::Timeouts;
use crate::edge::http::body::error::BodyError;
use crate::edge::http::body::source::Body;
use crate::edge::http::error::Refusal;
use crate::edge::http::framing::{self, Validation};
use crate::edge::http::headers::response;
use crate::edge::http::respond;
use crate::edge::net::pingora_compat::without_quotes;

/// While the request is still being sent, its own pace is watched; the answer's isn't.
const NO_HURRY: Duration = Duration::from_secs(24 * 3600);

/// How an attempt ended that the client has seen something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// It has the whole answer, of this status.
    Answered(u16),
    /// Client and backend speak another protocol now.
    Switched,
    /// It has the beginning of an answer that can't be finished; only closing tells it so.
    Broken(u16),
    /// It went away.
    Gone,
}

/// Why an attempt came to nothing, with the client none the wiser.
#[derive(Debug)]
pub struct Failure {
    /// What the client is told if nobody else can do better.
    pub refusal: Refusal,
    /// For the log.
    pub detail: String,
}

/// One attempt.
pub struct Duplex<'a> {
    /// The client's side.
    pub session: &'a mut ServerSession,
    /// The backend's side, over a [`WriteBuffer`](super::write_buffer::WriteBuffer).
    pub upstream: &'a mut UpstreamSession,
    /// What of the request waits there.
    pub backlog: &'a Backlog,
    /// The validation of its answer.
    pub validation: &'a Validation,
    /// What the request carries.
    pub body: &'a mut Body,
    /// How long things may take.
    pub timeouts: &'a Timeouts,
    /// The request's number, for the answer.
    pub request_id: &'a HeaderValue,
    /// True once the gateway stops: the answer ends the client's connection then.
    pub stop: &'a watch::Receiver<bool>,
}

/// What came from the backend.
enum Event {
    Header(Box<ResponseHeader>),
    Body(Option<Bytes>),
}

/// Who was lost in the middle.
enum Lost {
    Client,
    Backend(String),
}

impl Duplex<'_> {
    /// Sends `request` and its body, and passes the answer on as it comes.
    ///
    /// # Errors
    /// Where there is no answer of which the client could have seen anything.
    pub async fn run(self, request: &RequestHeader) -> Result<Relayed, Failure> {
        let header = Box::new(request.clone());
        match timeout(self.timeouts.write, self.upstream.write_request_header(header)).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return Err(failure(Refusal::BadGateway, &without_quotes(&e))),
            Err(e) => return Err(failure(Refusal::GatewayTimeout, &e)),
        }
        self.resume().await
    }

    /// The same once the request's header was sent.
    ///
    /// # Errors
    /// As [`Duplex::run`].
    pub async fn resume(mut self) -> Result<Relayed, Failure> {
        let mut status = None;
        self.backlog.keep(true);
        loop {
            let given_up = self.body.is_over() && !self.body.is_sent();
            let waits = self.backlog.waits() && !given_up;
            let answer_is_due = self.body.is_over() && !waits || status.is_some();
            let patience = if answer_is_due { self.timeouts.response } else { NO_HURRY };
            tokio::select! {
                biased;
                event = timeout(patience, read(self.upstream, status.is_some())) => {
                    let passed = match event {
                        Ok(Ok(event)) => self.pass_on(event, &mut status).await,
                        Ok(Err(e)) => Err(Lost::Backend(without_quotes(&e))),
                        Err(_) if status.is_none() => return Err(failure(Refusal::GatewayTimeout, &"no answer in time")),
                        Err(_) => Err(Lost::Backend("the answer stopped".into())),
                    };
                    match (passed, status) {
                        (Ok(None), _) => {}
                        (Ok(Some(done)), _) => return Ok(done),
                        (Err(Lost::Client), _) => return Ok(Relayed::Gone),
                        (Err(Lost::Backend(detail)), None) => return Err(failure(Refusal::BadGateway, &detail)),
                        (Err(Lost::Backend(detail)), Some(status)) => {
                            debug!(detail, "the answer broke off");
                            return Ok(Relayed::Broken(status));
                        }
                    }
                }
                // An answer that comes while the backend takes nothing is passed on all the same.
                gone = timeout(self.timeouts.write, self.backlog.gone()), if waits => {
                    if !matches!(gone, Ok(true)) {
                        self.body.give_up();
                    }
                }
                piece = self.body.next(self.session), if !waits => match (piece, status) {
                    (Ok(Some(piece)), _) => self.send(&piece).await,
                    (Ok(None), _) => self.finish_sending().await,
                    (Err(BodyError::Gone), _) | (Err(BodyError::Refused(_)), Some(_)) => return Ok(Relayed::Gone),
                    (Err(BodyError::Refused(refusal)), None) => {
                        return Err(failure(refusal, &"the request ended in the middle"));
                    }
                }
            }
        }
    }

    /// Sends a piece of the body, as far as the backend takes it; the rest goes while it is read from. A backend that takes no
    /// more may have answered already: its answer is what counts.
    async fn send(&mut self, piece: &Bytes) {
        // A read may bring no more than the end of a chunk; written as a chunk, nothing would be the end of the body.
        if piece.is_empty() {
            return;
        }
        if self.upstream.write_body(piece).await.is_err() {
            self.body.give_up();
        }
    }

    async fn finish_sending(&mut self) {
        if self.upstream.finish_body().await.is_err() {
            self.body.give_up();
        }
    }

    /// Validates what came of the body with the header that was just read, and has the rest validated as it comes.
    fn validate(&mut self, header: &ResponseHeader) -> Result<(), Lost> {
        let length = self.upstream.get_headers_raw_bytes().len();
        if header.status.is_informational() && header.status != StatusCode::SWITCHING_PROTOCOLS {
            self.validation.pass_informational(length);
            return Ok(());
        }
        let chunked = !self.upstream.is_body_done() && framing::is_chunked(&header.headers);
        self.validation
            .begin_body(length, chunked && !self.upstream.was_upgraded())
            .map_err(|deviation| Lost::Backend(format!("invalid chunked answer: {deviation}")))
    }

    /// Passes one piece of the answer on; `Some` once nothing more comes.
    async fn pass_on(&mut self, event: Event, status: &mut Option<u16>) -> Result<Option<Relayed>, Lost> {
        if let Event::Header(header) = &event {
            self.validate(header)?;
        }
        match event {
            Event::Header(header) if header.status == StatusCode::SWITCHING_PROTOCOLS => {
                if !self.upstream.was_upgraded() {
                    return Err(Lost::Backend("101 that nobody asked for".into()));
                }
                self.write_header(header, false).await?;
                self.backlog.keep(false);
                Ok(Some(Relayed::Switched))
            }
            Event::Header(header) if header.status.is_informational() => {
                // 100 was said here when the body was wanted; a hint is for the client.
                if header.status.as_u16() == 103 && self.session.req_header().version != Version::HTTP_10 {
                    let written = self.session.write_response_header(header);
                    lost(timeout(self.timeouts.write, written).await)?;
                }
                Ok(None)
            }
            Event::Header(header) => {
                *status = Some(header.status.as_u16());
                // The client sees this answer, so no other one is asked for.
                self.body.send_once();
                let ends = self.upstream.is_body_done();
                self.write_header(header, ends).await?;
                Ok(status.filter(|_| ends).map(Relayed::Answered))
            }
            Event::Body(piece) => {
                // The end goes with the last piece: over HTTP/2 that is one frame, not two.
                let end = self.upstream.is_body_done();
                self.write_body(piece.unwrap_or_default(), end).await?;
                Ok(status.filter(|_| end).map(Relayed::Answered))
            }
        }
    }

    async fn write_header(&mut self, mut header: Box<ResponseHeader>, ends: bool) -> Result<(), Lost> {
        let version = self.session.req_header().version;
        response::incoming(&mut header, version, self.request_id)
            .map_err(|e| Lost::Backend(without_quotes(&e)))?;
        if *self.stop.borrow() {
            self.session.set_keepalive(None);
        }
        lost(timeout(self.timeouts.write, respond::write_header(self.session, header, ends)).await)
    }

    async fn write_body(&mut self, piece: Bytes, end: bool) -> Result<(), Lost> {
        lost(timeout(self.timeouts.write, self.session.write_response_body(piece, end)).await)
    }
}

/// The next piece of the answer. A call that was dropped half-way loses nothing.
async fn read(upstream: &mut UpstreamSession, has_header: bool) -> pingora_error::Result<Event> {
    if has_header {
        return Ok(Event::Body(upstream.read_body_bytes().await?));
    }
    Ok(Event::Header(upstream.read_resp_header_parts().await?))
}

fn lost<E>(written: Result<pingora_error::Result<()>, E>) -> Result<(), Lost> {
    match written {
        Ok(Ok(())) => Ok(()),
        _ => Err(Lost::Client),
    }
}

/// A failure after something may have been sent.
pub fn failure(refusal: Refusal, detail: &dyn std::fmt::Display) -> Failure {
    Failure { refusal, detail: detail.to_string() }
}
