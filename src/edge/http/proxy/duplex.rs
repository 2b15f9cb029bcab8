//! An attempt at a request in full duplex: its body goes to the backend while the response may already come back.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_timeout::timeout;

use super::delivery::{BrokenOff, Side};
use super::exchange::{ClientSide, Exchange, ExchangeFailure};
use super::write_buffer::Backlog;
use crate::edge::http::body::error::BodyError;
use crate::edge::http::error::Refusal;
use crate::edge::http::framing::{self, Validation};
use crate::edge::http::headers::response::Incoming;
use crate::edge::http::headers::response_length::BodyLength;
use crate::edge::http::respond::{self, RelayError};
use crate::edge::net::pingora_compat::without_quotes;

/// While the request is still being sent, its own pace is watched, and the response's isn't.
const NO_HURRY: Duration = Duration::from_secs(24 * 3600);

/// An attempt over one connection.
pub struct Duplex<'a, 'c> {
    /// The client's side.
    pub client: &'a mut ClientSide<'c>,
    /// The backend's side, over a [`WriteBuffer`](super::write_buffer::WriteBuffer).
    pub upstream: &'a mut UpstreamSession,
    /// The part of the request that waits there.
    pub backlog: &'a Backlog,
    /// The validation of the backend's bytes.
    pub validation: &'a Validation,
}

/// The response so far.
#[derive(Clone, Copy)]
struct ResponseProgress {
    status: u16,
    /// Bytes of its body that are still to come, where that is known. pingora doesn't always know it.
    left: Option<u64>,
}

/// A part of the response.
enum Part {
    Header(Box<ResponseHeader>),
    Body(Option<Bytes>),
}

/// The side that was lost in the middle.
enum LostSide {
    Client,
    Backend(String),
}

impl Duplex<'_, '_> {
    /// Sends `request` and its body, and passes the response on as it comes.
    ///
    /// # Errors
    /// There is no response of which the client could have seen anything.
    pub async fn run(self, request: &RequestHeader) -> Result<Exchange, ExchangeFailure> {
        let header = Box::new(request.clone());
        match timeout(self.client.timeouts.write, self.upstream.write_request_header(header)).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return Err(ExchangeFailure::new(Refusal::BadGateway, &without_quotes(&e))),
            Err(e) => return Err(ExchangeFailure::new(Refusal::GatewayTimeout, &e)),
        }
        self.resume().await
    }

    /// As [`Duplex::run`], if the request's header was sent before.
    ///
    /// # Errors
    /// As [`Duplex::run`].
    pub async fn resume(mut self) -> Result<Exchange, ExchangeFailure> {
        let timeouts = self.client.timeouts;
        let mut begun: Option<ResponseProgress> = None;
        self.backlog.keep(true);
        loop {
            let body = &*self.client.body;
            let given_up = body.is_over() && !body.is_sent();
            let waits = self.backlog.waits() && !given_up;
            let response_is_due = body.is_over() && !waits || begun.is_some();
            let patience = if response_is_due { timeouts.response } else { NO_HURRY };
            tokio::select! {
                biased;
                part = timeout(patience, read(self.upstream, begun.is_some())) => {
                    let passed = match part {
                        Ok(Ok(part)) => self.pass_on(part, &mut begun).await,
                        Ok(Err(e)) => Err(LostSide::Backend(without_quotes(&e))),
                        Err(_) if begun.is_none() => {
                            return Err(ExchangeFailure::new(Refusal::GatewayTimeout, &"no response in time"));
                        }
                        Err(_) => Err(LostSide::Backend("no more of the body in time".into())),
                    };
                    match passed {
                        Ok(None) => {}
                        Ok(Some(exchange)) => return Ok(exchange),
                        Err(lost) => return lost.outcome(begun),
                    }
                }
                // A response that arrives while the backend takes nothing is passed on, too.
                gone = timeout(timeouts.write, self.backlog.gone()), if waits => {
                    if !matches!(gone, Ok(true)) {
                        self.client.body.give_up();
                    }
                }
                piece = self.client.body.next(self.client.session), if !waits => match (piece, begun) {
                    (Ok(Some(piece)), _) => self.send(&piece).await,
                    (Ok(None), _) => self.finish_sending().await,
                    (Err(BodyError::Refused(refusal)), None) => {
                        return Err(ExchangeFailure::new(refusal, &"the request broke off"));
                    }
                    (Err(BodyError::Gone | BodyError::Refused(_)), _) => return LostSide::Client.outcome(begun),
                }
            }
        }
    }

    /// Sends a piece of the body, as far as the backend takes it. The rest is sent while the backend is read from. A backend that takes
    /// no more may have responded already, and its response counts.
    async fn send(&mut self, piece: &Bytes) {
        // A read may return no more than the end of a chunk. An empty chunk would be the end of the body.
        if piece.is_empty() {
            return;
        }
        if self.upstream.write_body(piece).await.is_err() {
            self.client.body.give_up();
        }
    }

    async fn finish_sending(&mut self) {
        if self.upstream.finish_body().await.is_err() {
            self.client.body.give_up();
        }
    }

    /// Finds the end of the response whose header was just read. Validates what came of its body, and has the rest validated as it
    /// comes.
    fn validate(&mut self, header: &ResponseHeader) -> Result<BodyLength, LostSide> {
        let raw = self.upstream.get_headers_raw_bytes();
        let is_final = !header.status.is_informational() || header.status == StatusCode::SWITCHING_PROTOCOLS;
        if !is_final {
            self.validation.pass_informational(raw.len());
            return Ok(BodyLength::None);
        }
        let to_head = self.client.session.req_header().method == Method::HEAD;
        let length = BodyLength::of(header, &raw, to_head).map_err(|e| LostSide::Backend(e.to_string()))?;
        let chunked = !self.upstream.is_body_done() && framing::is_chunked(&header.headers);
        self.validation
            .begin_body(raw.len(), chunked && !self.upstream.was_upgraded())
            .map_err(|deviation| LostSide::Backend(format!("invalid chunked body: {deviation}")))?;
        Ok(length)
    }

    /// Passes one part of the response on; `Some` once nothing more comes.
    async fn pass_on(
        &mut self,
        part: Part,
        begun: &mut Option<ResponseProgress>,
    ) -> Result<Option<Exchange>, LostSide> {
        match part {
            Part::Header(header) => {
                let length = self.validate(&header)?;
                self.pass_on_header(&header, length, begun).await
            }
            Part::Body(piece) => {
                let Some(begun) = begun else { return Ok(None) };
                let mut piece = piece.unwrap_or_default();
                let mut ends = self.upstream.is_body_done();
                if let Some(left) = &mut begun.left {
                    piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= piece.len() as u64;
                    if ends && *left > 0 {
                        return Err(LostSide::Backend("connection closed before the end of the body".into()));
                    }
                    ends = *left == 0;
                }
                // The end goes with the last piece: over HTTP/2 that is one frame, not two.
                let written = self.client.session.write_response_body(piece, ends);
                lost(timeout(self.client.timeouts.write, written).await)?;
                Ok(ends.then_some(Exchange::Answered(begun.status)))
            }
        }
    }

    async fn pass_on_header(
        &mut self,
        header: &ResponseHeader,
        length: BodyLength,
        begun: &mut Option<ResponseProgress>,
    ) -> Result<Option<Exchange>, LostSide> {
        if header.status == StatusCode::SWITCHING_PROTOCOLS {
            if !self.upstream.was_upgraded() {
                return Err(LostSide::Backend("101 without a request for an upgrade".into()));
            }
            self.write_header(header, length, false).await?;
            self.backlog.keep(false);
            // The caller has the session.
            return Ok(Some(Exchange::Answered(header.status.as_u16())));
        }
        if header.status.is_informational() {
            // Gatepost sends 100 itself. Early hints are for the client.
            if header.status.as_u16() == 103 && self.client.session.req_header().version == Version::HTTP_11 {
                self.write_header(header, length, false).await?;
            }
            return Ok(None);
        }
        let status = header.status.as_u16();
        let left = match length {
            BodyLength::Known(length) => Some(length),
            _ => None,
        };
        // The client sees this response, so no other attempt follows.
        self.client.body.send_once();
        let ends = self.upstream.is_body_done() || left == Some(0);
        self.write_header(header, length, ends).await?;
        *begun = Some(ResponseProgress { status, left });
        Ok(ends.then_some(Exchange::Answered(status)))
    }

    async fn write_header(
        &mut self,
        header: &ResponseHeader,
        length: BodyLength,
        ends: bool,
    ) -> Result<(), LostSide> {
        let session = &mut *self.client.session;
        let version = session.req_header().version;
        let closes =
            version == Version::HTTP_10 && matches!(length, BodyLength::Chunked | BodyLength::UntilClose);
        // A connection on which the rest of a request is still to come is closed after the response.
        if closes || !session.is_body_done() || *self.client.stop.borrow() {
            session.set_keepalive(None);
        }
        let keepalive = session.get_keepalive().is_some();
        let with = Incoming { version, keepalive, length, request_id: self.client.request_id };
        let written = respond::write_relayed_header(session, header, &with, ends);
        match timeout(self.client.timeouts.write, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(RelayError::Response(e))) => Err(LostSide::Backend(without_quotes(&e))),
            Ok(Err(RelayError::Client)) | Err(_) => Err(LostSide::Client),
        }
    }
}

impl LostSide {
    /// The outcome of an exchange whose response has `begun`, or not.
    fn outcome(self, begun: Option<ResponseProgress>) -> Result<Exchange, ExchangeFailure> {
        match (self, begun) {
            (LostSide::Client, None) => Ok(Exchange::ClientGone),
            (LostSide::Client, Some(begun)) => Ok(Exchange::BrokenOff(BrokenOff::by_client(begun.status))),
            (LostSide::Backend(detail), None) => Err(ExchangeFailure::new(Refusal::BadGateway, &detail)),
            (LostSide::Backend(detail), Some(ResponseProgress { status, .. })) => {
                Ok(Exchange::BrokenOff(BrokenOff { status, by: Side::Backend, detail }))
            }
        }
    }
}

/// The next part of the response. Cancel safe.
async fn read(upstream: &mut UpstreamSession, has_header: bool) -> pingora_error::Result<Part> {
    if has_header {
        return Ok(Part::Body(upstream.read_body_bytes().await?));
    }
    Ok(Part::Header(upstream.read_resp_header_parts().await?))
}

fn lost<E>(written: Result<pingora_error::Result<()>, E>) -> Result<(), LostSide> {
    match written {
        Ok(Ok(())) => Ok(()),
        _ => Err(LostSide::Client),
    }
}
