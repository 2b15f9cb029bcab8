//! A request of a client, and the way to answer it: over HTTP/1 or HTTP/2.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Version};
use pingora_timeout::timeout;

use super::body::error::BodyReadError;
use super::headers::answer::AnswerHead;
use super::headers::response::{Incoming, TooManyNominated, incoming_bytes, incoming_http2};
use super::http1::client::Http1Client;
use super::http2::client::Http2Client;
use crate::wire::{RequestHead, ResponseHead};

/// The client's side of an exchange.
pub enum ClientSession {
    /// A connection with one request after another.
    Http1(Box<Http1Client>),
    /// A stream with one request, one of many of its connection.
    Http2(Box<Http2Client>),
}

/// The reason that the head of a backend's response wasn't written.
#[derive(Debug)]
pub enum RelayError {
    /// A head that can't be written for any client.
    Response(String),
    /// The client takes no more.
    Client,
}

impl From<TooManyNominated> for RelayError {
    fn from(error: TooManyNominated) -> RelayError {
        RelayError::Response(error.to_string())
    }
}

impl ClientSession {
    /// The request.
    pub fn head(&self) -> &RequestHead {
        match self {
            ClientSession::Http1(client) => client.head(),
            ClientSession::Http2(client) => client.head(),
        }
    }

    /// Returns true if the request has no body.
    pub fn is_body_empty(&self) -> bool {
        match self {
            ClientSession::Http1(client) => client.is_body_empty(),
            ClientSession::Http2(client) => client.is_body_empty(),
        }
    }

    /// Returns true if the whole body was read.
    pub fn is_body_done(&self) -> bool {
        match self {
            ClientSession::Http1(client) => client.is_body_done(),
            ClientSession::Http2(client) => client.is_body_done(),
        }
    }

    /// Returns true if a part of the body was read.
    pub fn has_read_body(&self) -> bool {
        match self {
            ClientSession::Http1(client) => client.has_read_body(),
            ClientSession::Http2(client) => client.has_read_body(),
        }
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    ///
    /// # Errors
    /// The client is gone, or its body is invalid. No further request can be read.
    pub async fn read_body(&mut self) -> Result<Option<Bytes>, BodyReadError> {
        let read = match self {
            ClientSession::Http1(client) => client.read_body().await,
            ClientSession::Http2(client) => client.read_body().await,
        };
        read.inspect_err(|_| self.close_afterwards())
    }

    /// Returns true if Gatepost has reset the stream of the request, because its body violates the protocol of HTTP/2.
    pub fn is_reset_as_invalid(&mut self) -> bool {
        match self {
            ClientSession::Http1(_) => false,
            ClientSession::Http2(client) => client.is_invalid(),
        }
    }

    /// Resolves once the client is gone. It may have ended its own side before. Cancel safe.
    pub async fn gone(&mut self) {
        match self {
            ClientSession::Http1(client) => client.gone().await,
            ClientSession::Http2(client) => client.gone().await,
        }
    }

    /// Returns true if the client's connection stays open after the response.
    pub fn stays_open(&self) -> bool {
        match self {
            ClientSession::Http1(client) => client.stays_open(),
            ClientSession::Http2(_) => true,
        }
    }

    /// Has a connection over HTTP/1 closed after the response.
    pub fn close_afterwards(&mut self) {
        if let ClientSession::Http1(client) = self {
            client.close_afterwards();
        }
    }

    /// Notes that a credential was accepted. Over HTTP/2, the response takes no room of those who have none.
    pub fn note_accepted(&mut self) {
        if let ClientSession::Http2(client) = self {
            client.note_accepted();
        }
    }

    /// Writes the head of a backend's response, which may be interim. With `ends` there is no body. Over HTTP/1 it may wait for [`ClientSession::send`], or
    /// for the last piece of the body.
    ///
    /// # Errors
    /// [`RelayError`]
    pub fn write_relayed_head(
        &mut self,
        response: &ResponseHead,
        with: &Incoming<'_>,
        ends: bool,
    ) -> Result<(), RelayError> {
        match self {
            ClientSession::Http1(client) => {
                Ok(client.queue_head(with.is_chunked(), |out| incoming_bytes(response, with, out))?)
            }
            ClientSession::Http2(client) => {
                let header = incoming_http2(response, with).map_err(RelayError::Response)?;
                if response.is_interim() {
                    return client.write_interim(header).map_err(|_| RelayError::Client);
                }
                client.write_head(header, ends).map_err(|_| RelayError::Client)
            }
        }
    }

    /// Writes the head of an answer of Gatepost's own. `ends` as in [`ClientSession::write_relayed_head`].
    ///
    /// # Errors
    /// The client takes no more.
    pub fn write_head(&mut self, answer: &AnswerHead, ends: bool) -> io::Result<()> {
        let version = self.head().version();
        // A connection on which the rest of a request is still to come is closed after the answer.
        if !self.is_body_done() {
            self.close_afterwards();
        }
        let stays_open = self.stays_open();
        match self {
            ClientSession::Http1(client) => client.queue_head(answer.is_chunked(), |out| {
                answer.write(version, stays_open, out);
                Ok(())
            }),
            ClientSession::Http2(client) => {
                let header = answer.for_http2().map_err(io::Error::other)?;
                client.write_head(header, ends)
            }
        }
    }

    /// Writes a piece of the body. With `ends` it is the last one, and everything is sent. It is left out if the request is HEAD.
    ///
    /// # Errors
    /// The client takes no more.
    pub async fn write_body(&mut self, piece: Bytes, ends: bool) -> io::Result<()> {
        match self {
            ClientSession::Http1(client) => client.write_body(&piece, ends).await,
            ClientSession::Http2(client) => client.write_body(piece, ends).await,
        }
    }

    /// Returns true if something waits to be sent.
    pub fn has_unsent(&self) -> bool {
        matches!(self, ClientSession::Http1(client) if client.has_unsent())
    }

    /// Sends what was written. Cancel safe.
    ///
    /// # Errors
    /// The client takes no more.
    pub async fn send(&mut self) -> io::Result<()> {
        match self {
            ClientSession::Http1(client) => client.send().await,
            ClientSession::Http2(_) => Ok(()),
        }
    }

    /// Tells a client that waits for a 100 to send its body (RFC 9110 section 10.1.1). Returns false if that can't be written.
    pub async fn say_continue(&mut self, within: Duration) -> bool {
        let client = match self {
            ClientSession::Http1(client) => client,
            ClientSession::Http2(client) => return client.say_continue().is_ok(),
        };
        let queued = client.queue_head(false, |out| {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            io::Result::Ok(())
        });
        queued.is_ok() && matches!(timeout(within, client.send()).await, Ok(Ok(())))
    }

    /// Returns true if the client may get a 103 before the response. HTTP/1.0 has no interim responses.
    pub fn takes_early_hints(&self) -> bool {
        self.head().version() != Version::HTTP_10
    }

    /// Returns true if the request is HEAD, whose response has no body.
    pub fn is_head(&self) -> bool {
        self.head().method() == Method::HEAD
    }
}
