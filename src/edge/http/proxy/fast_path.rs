//! The common case made quick: a request without a body, over HTTP/1.1, to a cleartext backend. It goes out as bytes, and an
//! answer of a known length comes back as bytes after one parse; any other answer is [`Duplex`](super::duplex::Duplex)'s.
//! docs/performance.md has what it saves.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::HeaderName;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::duplex::{Failure, failure};
use crate::config::Timeouts;
use crate::edge::http::error::Refusal;
use crate::edge::http::request_id::REQUEST_ID;
use crate::edge::net::pingora_compat;
use crate::edge::net::tcp_stream::MeteredStream;

/// Bytes of an answer's header at most.
const HEADER_LIMIT: usize = 256 * 1024;
const HEADER_FIELDS: usize = 100;
const FIRST_READ: usize = 4096;
const NEXT_READ: usize = 64 * 1024;

/// A client's connection for its next request, and what was already read of it.
pub type Next = Option<(Stream, Option<BytesMut>)>;

/// Asks one backend over one connection.
pub struct FastPath<'a> {
    /// The client's side.
    pub session: &'a mut ServerSession,
    /// How long things may take.
    pub timeouts: &'a Timeouts,
    /// The request's number, for the answer.
    pub request_id: &'a HeaderValue,
    /// True once the gateway stops: the answer has to say so then.
    pub stop: &'a watch::Receiver<bool>,
}

/// How asking ended.
pub enum Asked {
    /// An answer of a known length has begun.
    Begun(Box<Delivery>),
    /// Another answer; what was read of it can be read again.
    Unusual(Box<MeteredStream>),
    /// The client went away.
    Gone,
}

/// An answer on its way: nothing of it has been written to the client.
pub struct Delivery {
    socket: Box<MeteredStream>,
    /// The header as the client gets it, and what is there of the body.
    answer: Vec<u8>,
    /// Bytes of the body that are still to come.
    left: u64,
    status: u16,
    /// Whether the backend keeps the connection.
    keep: bool,
}

/// How a delivery ended.
pub struct Delivered {
    /// The client's connection for its next request.
    pub next: Next,
    /// The backend's connection for another request.
    pub kept: Option<Stream>,
}

impl FastPath<'_> {
    /// Sends `request`, a whole request without a body, and waits for the answer's header.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn ask(mut self, mut socket: Box<MeteredStream>, request: &[u8]) -> Result<Asked, Failure> {
        let sent = timeout(self.timeouts.write, async {
            socket.write_all(request).await?;
            socket.flush().await
        });
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(failure(Refusal::BadGateway, &e)),
            Err(e) => return Err(failure(Refusal::GatewayTimeout, &e)),
        }
        // One time for all of the header, however it comes.
        match timeout(self.timeouts.response, self.answer(socket)).await {
            Ok(asked) => asked,
            Err(_) => Err(failure(Refusal::GatewayTimeout, &"no answer in time")),
        }
    }

    /// Waits for the answer's header.
    async fn answer(&mut self, mut socket: Box<MeteredStream>) -> Result<Asked, Failure> {
        let mut buffer = BytesMut::with_capacity(FIRST_READ);
        loop {
            tokio::select! {
                biased;
                read = socket.read_buf(&mut buffer) => match read {
                    Ok(0) => return Err(failure(Refusal::BadGateway, &"closed before its answer")),
                    Ok(_) => {}
                    Err(e) => return Err(failure(Refusal::BadGateway, &e)),
                },
                _ = self.session.read_body_or_idle(true) => return Ok(Asked::Gone),
            }
            match parse(&buffer, self.request_id) {
                Parsed::Incomplete if buffer.len() < HEADER_LIMIT => buffer.reserve(FIRST_READ),
                Parsed::Incomplete => return Err(failure(Refusal::BadGateway, &"endless header")),
                Parsed::Unusual => {
                    socket.unread(buffer);
                    return Ok(Asked::Unusual(socket));
                }
                Parsed::Sized(_) if *self.stop.borrow() => {
                    socket.unread(buffer);
                    return Ok(Asked::Unusual(socket));
                }
                Parsed::Sized(sized) => return Ok(Asked::Begun(Box::new(sized.deliver(socket, &buffer)))),
            }
        }
    }
}

impl Delivery {
    /// The answer's status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Passes the answer on to the client of `session`, whose request is read to its end and whose connection stays.
    pub async fn run(mut self, session: ServerSession, timeouts: &Timeouts) -> Delivered {
        const CUT: Delivered = Delivered { next: None, kept: None };
        let Ok(Some(connection)) = session.finish().await else { return CUT };
        let (mut client, prefix) = connection.into_parts();
        let mut piece = Bytes::from(std::mem::take(&mut self.answer));
        loop {
            let written = timeout(timeouts.write, async {
                client.write_all(&piece).await?;
                // Large pieces aren't gathered; the last one must not wait.
                if self.left == 0 { client.flush().await } else { Ok(()) }
            });
            if !matches!(written.await, Ok(Ok(()))) {
                return CUT;
            }
            if self.left == 0 {
                let kept: Option<Stream> = if self.keep { Some(self.socket) } else { None };
                return Delivered { next: Some((client, prefix)), kept };
            }
            let wanted = usize::try_from(self.left).unwrap_or(NEXT_READ).min(NEXT_READ);
            let mut buffer = BytesMut::with_capacity(wanted);
            piece = match self.read(&mut buffer, &mut client, timeouts).await {
                Some(()) => self.take(buffer),
                None => return CUT,
            };
        }
    }

    /// Reads more of the body. What was written before goes out while the backend is waited for.
    async fn read(&mut self, buffer: &mut BytesMut, client: &mut Stream, timeouts: &Timeouts) -> Option<()> {
        let read = async {
            tokio::select! {
                biased;
                read = self.socket.read_buf(buffer) => return read,
                flushed = client.flush() => flushed?,
            }
            self.socket.read_buf(buffer).await
        };
        matches!(timeout(timeouts.response, read).await, Ok(Ok(n)) if n > 0).then_some(())
    }

    fn take(&mut self, buffer: BytesMut) -> Bytes {
        let mut piece = buffer.freeze();
        if piece.len() as u64 > self.left {
            // What comes after the answer is nobody's: the connection isn't used again.
            self.keep = false;
            piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left -= piece.len() as u64;
        piece
    }
}

/// The beginning of an answer whose length is known.
struct Sized {
    answer: Vec<u8>,
    /// Bytes of the header as the backend sent it.
    head: usize,
    length: u64,
    status: u16,
    keep: bool,
}

impl Sized {
    fn deliver(self, socket: Box<MeteredStream>, buffer: &BytesMut) -> Delivery {
        let Sized { mut answer, head, length, status, keep } = self;
        let body = &buffer[head..];
        let there = body.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        answer.extend_from_slice(&body[..there]);
        let keep = keep && body.len() == there;
        Delivery { socket, answer, left: length - there as u64, status, keep }
    }
}

/// What a first look at an answer found.
enum Parsed {
    /// More has to come.
    Incomplete,
    /// An answer whose length is known.
    Sized(Sized),
    /// Something else.
    Unusual,
}

fn parse(buffer: &BytesMut, request_id: &HeaderValue) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Parsed::Incomplete,
        // The other reader has room for more fields, and forgives more: which way a request takes makes no difference.
        Err(_) => return Parsed::Unusual,
    };
    let status = response.code.unwrap_or(0);
    if response.version != Some(1) || !(200..600).contains(&status) || matches!(status, 204 | 304) {
        return Parsed::Unusual;
    }
    let mut answer = Vec::with_capacity(buffer.len() + 128);
    answer.extend_from_slice(b"HTTP/1.1 ");
    answer.extend_from_slice(&[
        b'0' + (status / 100) as u8,
        b'0' + (status / 10 % 10) as u8,
        b'0' + (status % 10) as u8,
    ]);
    answer.push(b' ');
    answer.extend_from_slice(response.reason.unwrap_or_default().as_bytes());
    answer.extend_from_slice(b"\r\n");
    let (mut length, mut keep, mut dated) = (None, true, false);
    for field in response.headers.iter() {
        match role(field.name, field.value) {
            Role::Passes => {}
            Role::Date => dated = true,
            Role::Length if length.is_none() => match digits(field.value) {
                Some(digits) => length = Some(digits),
                None => return Parsed::Unusual,
            },
            Role::Closes => {
                keep = false;
                continue;
            }
            Role::EndsHere => continue,
            Role::Length | Role::Unusual => return Parsed::Unusual,
        }
        put(&mut answer, field.name.as_bytes(), field.value);
    }
    if !dated {
        put(&mut answer, b"Date", pingora_compat::date().as_bytes());
    }
    put(&mut answer, REQUEST_ID.as_str().as_bytes(), request_id.as_bytes());
    answer.extend_from_slice(b"\r\n");
    match length {
        Some(length) => Parsed::Sized(Sized { answer, head, length, status, keep }),
        None => Parsed::Unusual,
    }
}

fn put(answer: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    answer.extend_from_slice(name);
    answer.extend_from_slice(b": ");
    answer.extend_from_slice(value);
    answer.extend_from_slice(b"\r\n");
}

/// What a field of an answer means here.
enum Role {
    Passes,
    Date,
    Length,
    /// Is about the backend's connection only, and ends it.
    Closes,
    /// Is about the backend's connection only, or said by us.
    EndsHere,
    /// Changes how the answer is to be read.
    Unusual,
}

fn role(name: &str, value: &[u8]) -> Role {
    // By length first: most fields are none of these.
    match name.len() {
        4 if name.eq_ignore_ascii_case("date") => Role::Date,
        7 if name.eq_ignore_ascii_case("upgrade") || name.eq_ignore_ascii_case("trailer") => Role::Unusual,
        10 if name.eq_ignore_ascii_case("connection") => {
            if value.eq_ignore_ascii_case(b"keep-alive") {
                Role::EndsHere
            } else if value.eq_ignore_ascii_case(b"close") {
                Role::Closes
            } else {
                Role::Unusual
            }
        }
        10 if name.eq_ignore_ascii_case("keep-alive") => Role::EndsHere,
        12 if name.eq_ignore_ascii_case(REQUEST_ID.as_str()) => Role::EndsHere,
        14 if name.eq_ignore_ascii_case("content-length") => Role::Length,
        16 if name.eq_ignore_ascii_case("proxy-connection") => Role::EndsHere,
        17 if name.eq_ignore_ascii_case("transfer-encoding") => Role::Unusual,
        // httparse lets more bytes into a value than a field may have.
        _ if HeaderValue::from_bytes(value).is_err() || HeaderName::from_bytes(name.as_bytes()).is_err() => {
            Role::Unusual
        }
        _ => Role::Passes,
    }
}

/// A length in plain digits; signs, spaces and lists are for the other reader to judge.
fn digits(value: &[u8]) -> Option<u64> {
    let plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if plain { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(answer: &str) -> Option<(u64, bool, String)> {
        match parse(&BytesMut::from(answer.as_bytes()), &HeaderValue::from_static("7")) {
            Parsed::Sized(sized) => {
                assert!(answer[..sized.head].ends_with("\r\n\r\n"));
                Some((sized.length, sized.keep, String::from_utf8(sized.answer).unwrap()))
            }
            _ => None,
        }
    }

    #[test]
    fn an_answer_of_known_length_is_quick() {
        let (length, keep, answer) = sized(
            "HTTP/1.1 200 Fine\r\nDate: today\r\nConnection: Keep-Alive\r\nKeep-Alive: 5\r\nX-Request-ID: 3\r\n\
             Content-Length: 5\r\nETag: \"a\"\r\n\r\nhello",
        )
        .unwrap();
        assert_eq!((length, keep), (5, true));
        let expected =
            "HTTP/1.1 200 Fine\r\nDate: today\r\nContent-Length: 5\r\nETag: \"a\"\r\nx-request-id: 7\r\n\r\n";
        assert_eq!(answer, expected);
        let (length, keep, answer) =
            sized("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        assert_eq!((length, keep), (0, false));
        assert!(answer.contains("\r\nDate: ") && !answer.contains("connection"), "{answer}");
    }

    #[test]
    fn everything_else_is_unusual() {
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x-private\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX Y: 1\r\n\r\n",
        ] {
            assert_eq!(sized(answer), None, "{answer:?}");
        }
    }
}
