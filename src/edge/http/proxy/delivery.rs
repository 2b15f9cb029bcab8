//! The delivery of a response of known length, whose header has been read, to a client whose request has been read to its end.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::warn;

use super::upstream::Server;
use crate::config::Timeouts;
use crate::edge::http::headers::response::SizedHeader;
use crate::edge::net::tcp_stream::MeteredStream;

/// The most bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// A client's connection for its next request, and the bytes that were already read of that.
pub type Next = Option<(Stream, Option<BytesMut>)>;

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
    pub fn log(&self, server: &Server, request_id: &HeaderValue) {
        if self.by == Side::Backend {
            warn!(
                upstream = server.name(),
                status = self.status,
                error = self.detail,
                request_id = request_id.to_str().unwrap_or_default(),
                "the backend broke off its response",
            );
        }
    }
}

/// A response on its way: nothing of it has been written to the client.
pub struct ResponseDelivery {
    socket: Box<MeteredStream>,
    /// The header as the client gets it, and what is there of the body.
    ready: Vec<u8>,
    /// Bytes of the body that are still to come.
    left: u64,
    status: u16,
    /// True if the backend keeps the connection open.
    keep: bool,
    /// The backend's index in its group.
    pub server: usize,
}

/// A delivery that has ended.
pub struct DeliveredResponse {
    /// The response where it was broken off.
    pub broken_off: Option<BrokenOff>,
    /// The client's connection for its next request.
    pub client: Next,
    /// The backend's connection for another request.
    pub backend: Option<Stream>,
}

impl ResponseDelivery {
    /// A response whose header and the bytes behind it were read from `socket`.
    pub fn new(header: SizedHeader, behind: &[u8], socket: Box<MeteredStream>) -> ResponseDelivery {
        let SizedHeader { bytes: mut ready, length, status, closes } = header;
        let there = behind.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        ready.extend_from_slice(&behind[..there]);
        // Bytes behind the response belong to nobody: the connection isn't used again.
        let keep = !closes && behind.len() == there;
        ResponseDelivery { socket, ready, left: length - there as u64, status, keep, server: 0 }
    }

    /// The response's status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Passes the response on to the client of `session`, whose request is read to its end and whose connection stays open.
    pub async fn run(mut self, session: ServerSession, timeouts: &Timeouts) -> DeliveredResponse {
        let Ok(Some(connection)) = session.finish().await else { return self.broken_off(Side::Client, "") };
        let (mut client, prefix) = connection.into_parts();
        let mut piece = Bytes::from(std::mem::take(&mut self.ready));
        loop {
            let written = timeout(timeouts.write, async {
                client.write_all(&piece).await?;
                // Large pieces aren't gathered; the last one must not wait.
                if self.left == 0 { client.flush().await } else { Ok(()) }
            });
            if !matches!(written.await, Ok(Ok(()))) {
                return self.broken_off(Side::Client, "");
            }
            if self.left == 0 {
                let backend: Option<Stream> = if self.keep { Some(self.socket) } else { None };
                return DeliveredResponse { broken_off: None, client: Some((client, prefix)), backend };
            }
            let wanted = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
            let mut buffer = BytesMut::with_capacity(wanted);
            piece = match self.read(&mut buffer, &mut client, timeouts).await {
                Ok(()) => self.take(buffer),
                Err((side, detail)) => {
                    // The client gets what there is, as it does when the response comes piece by piece.
                    let _ = timeout(timeouts.write, client.flush()).await;
                    return self.broken_off(side, detail);
                }
            };
        }
    }

    fn broken_off(self, by: Side, detail: &str) -> DeliveredResponse {
        let broken_off = BrokenOff { status: self.status, by, detail: detail.to_owned() };
        DeliveredResponse { broken_off: Some(broken_off), client: None, backend: None }
    }

    /// Reads more of the body. What was written before goes out while the backend is waited for.
    async fn read(
        &mut self,
        buffer: &mut BytesMut,
        client: &mut Stream,
        timeouts: &Timeouts,
    ) -> Result<(), (Side, &'static str)> {
        let read = async {
            tokio::select! {
                biased;
                read = self.socket.read_buf(buffer) => return Ok(read),
                flushed = client.flush() => flushed.map_err(|_| (Side::Client, ""))?,
            }
            Ok(self.socket.read_buf(buffer).await)
        };
        match timeout(timeouts.response, read).await {
            Ok(Ok(Ok(1..))) => Ok(()),
            Ok(Ok(Ok(0))) => Err((Side::Backend, "connection closed before the end of the body")),
            Ok(Ok(Err(_))) => Err((Side::Backend, "connection lost")),
            Ok(Err(lost)) => Err(lost),
            Err(_) => Err((Side::Backend, "no more of the body in time")),
        }
    }

    fn take(&mut self, buffer: BytesMut) -> Bytes {
        let mut piece = buffer.freeze();
        if piece.len() as u64 > self.left {
            // What comes after the response is nobody's: the connection isn't used again.
            self.keep = false;
            piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left -= piece.len() as u64;
        piece
    }
}
