//! The common case made fast: a request without a body, over HTTP/1.1, to a cleartext backend. It goes out as bytes, and a
//! response of known length comes back as bytes after one look. Any other response is passed on by [`Duplex`](super::duplex::Duplex).
//! docs/performance.md has what it saves.

use std::ops::ControlFlow;

use bytes::BytesMut;
use http::HeaderValue;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::delivery::ResponseDelivery;
use super::exchange::{ClientSide, Exchange, ExchangeFailure};
use crate::edge::http::error::Refusal;
use crate::edge::http::headers::response::SizedHeader;
use crate::edge::net::tcp_stream::MeteredStream;

/// The most bytes of a response's header.
const HEADER_LIMIT: usize = 256 * 1024;
/// The most fields of it; the duplex path has room for more.
const HEADER_FIELDS: usize = 100;
/// Bytes that are read at once.
const READ: usize = 4096;

/// A request to a backend over one connection.
pub struct FastPath<'a, 'c> {
    /// The client's side.
    pub client: &'a mut ClientSide<'c>,
}

/// The exchange where it has an outcome, or else the backend's connection, from which its response can be read again.
pub type FirstLook = ControlFlow<Exchange, Box<MeteredStream>>;

impl FastPath<'_, '_> {
    /// Sends `request`, a whole request without a body, and waits for the header of the response.
    ///
    /// # Errors
    /// There is no response.
    pub async fn run(
        mut self,
        mut socket: Box<MeteredStream>,
        request: &[u8],
    ) -> Result<FirstLook, ExchangeFailure> {
        let timeouts = self.client.timeouts;
        let sent = timeout(timeouts.write, async {
            socket.write_all(request).await?;
            socket.flush().await
        });
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(ExchangeFailure::new(Refusal::BadGateway, &e)),
            Err(e) => return Err(ExchangeFailure::new(Refusal::GatewayTimeout, &e)),
        }
        // One time limit for all of the header, however it comes.
        match timeout(timeouts.response, self.first_look(socket)).await {
            Ok(looked) => looked,
            Err(_) => Err(ExchangeFailure::new(Refusal::GatewayTimeout, &"no response in time")),
        }
    }

    /// Waits for the header of the response.
    async fn first_look(&mut self, mut socket: Box<MeteredStream>) -> Result<FirstLook, ExchangeFailure> {
        let mut buffer = BytesMut::with_capacity(READ);
        loop {
            tokio::select! {
                biased;
                read = socket.read_buf(&mut buffer) => match read {
                    Ok(0) => return Err(ExchangeFailure::new(Refusal::BadGateway, &"connection closed before the response")),
                    Ok(_) => {}
                    Err(e) => return Err(ExchangeFailure::new(Refusal::BadGateway, &e)),
                },
                _ = self.client.session.read_body_or_idle(true) => {
                    return Ok(ControlFlow::Break(Exchange::ClientGone));
                }
            }
            match parse(&buffer, self.client.request_id) {
                Parsed::Incomplete if buffer.len() < HEADER_LIMIT => buffer.reserve(READ),
                Parsed::Incomplete => {
                    return Err(ExchangeFailure::new(
                        Refusal::BadGateway,
                        &"the response's header is too large",
                    ));
                }
                // At a stop the response has to say that the client's connection is closed.
                Parsed::Sized(header, head) if !*self.client.stop.borrow() => {
                    let delivery = ResponseDelivery::new(header, &buffer[head..], socket);
                    return Ok(ControlFlow::Break(Exchange::Begun(Box::new(delivery))));
                }
                Parsed::Sized(..) | Parsed::Other => {
                    socket.unread(buffer);
                    return Ok(ControlFlow::Continue(socket));
                }
            }
        }
    }
}

/// The result of a look at a response.
enum Parsed {
    /// Its header is incomplete.
    Incomplete,
    /// It has a known length. With the bytes of its header as the backend sent it.
    Sized(SizedHeader, usize),
    /// It is any other response.
    Other,
}

fn parse(buffer: &BytesMut, request_id: &HeaderValue) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => match SizedHeader::of(&response, request_id, buffer.len()) {
            Some(header) => Parsed::Sized(header, head),
            None => Parsed::Other,
        },
        Ok(httparse::Status::Partial) => Parsed::Incomplete,
        // The other reader has room for more fields, and accepts more: which way a request takes makes no difference.
        Err(_) => Parsed::Other,
    }
}
