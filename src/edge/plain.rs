//! The common case made quick: a request without a body, to a backend in clear. It goes out as bytes, and an answer of
//! a known length comes back with one parse; any other answer is handed to [`Relay`]. docs/performance.md has what it saves.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::{self, HeaderName};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_http::ResponseHeader;
use pingora_timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::body::Body;
use super::headers;
use super::refusal::Refusal;
use super::relay::{Failure, Relay, Relayed, failure};
use super::socket::Socket;
use crate::config::Timeouts;

/// Bytes of an answer's header at most.
const HEADER_LIMIT: usize = 256 * 1024;
const HEADER_FIELDS: usize = 128;
const FIRST_READ: usize = 4096;
const NEXT_READ: usize = 64 * 1024;

/// One attempt over one connection.
pub struct Plain<'a> {
    /// The client's side.
    pub session: &'a mut ServerSession,
    /// How long things may take.
    pub timeouts: &'a Timeouts,
    /// The request's number, for the answer.
    pub request_id: &'a HeaderValue,
    /// Whether the answer is to end the client's connection.
    pub closing: bool,
}

/// What came of an attempt, and the backend's connection where it can be used again.
pub type Attempt = (Result<Relayed, Failure>, Option<Stream>);

/// What a first look at an answer found.
enum Parsed {
    /// More has to come.
    Incomplete,
    /// A header of this many bytes, and a body of so many.
    Sized { header: Box<ResponseHeader>, head: usize, length: u64 },
    /// Something else, for [`Relay`].
    Unusual,
    /// Not HTTP.
    Garbage(String),
}

impl Plain<'_> {
    /// Sends `request`, a whole request without a body, and passes the answer on.
    pub async fn run(mut self, mut socket: Box<Socket>, request: &[u8]) -> Attempt {
        let sent = timeout(self.timeouts.write, async {
            socket.write_all(request).await?;
            socket.flush().await
        });
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return (Err(failure(Refusal::BadGateway, &e)), None),
            Err(e) => return (Err(failure(Refusal::GatewayTimeout, &e)), None),
        }
        let mut buffer = BytesMut::with_capacity(FIRST_READ);
        let (header, head, length) = loop {
            match self.read(&mut socket, &mut buffer).await {
                Read::Some => {}
                Read::End(detail) => return (Err(failure(Refusal::BadGateway, &detail)), None),
                Read::Late => return (Err(failure(Refusal::GatewayTimeout, &"no answer in time")), None),
                Read::Gone => return (Ok(Relayed::Gone), None),
            }
            match parse(&buffer) {
                Parsed::Incomplete if buffer.len() < HEADER_LIMIT => buffer.reserve(FIRST_READ),
                Parsed::Incomplete => return (Err(failure(Refusal::BadGateway, &"endless header")), None),
                Parsed::Garbage(detail) => return (Err(failure(Refusal::BadGateway, &detail)), None),
                Parsed::Sized { header, head, length } => break (header, head, length),
                Parsed::Unusual => return self.hand_over(socket, buffer).await,
            }
        };
        let status = header.status.as_u16();
        let _ = buffer.split_to(head);
        if self.write_header(header).await.is_err() {
            return (Ok(Relayed::Gone), None);
        }
        self.pass_body(socket, buffer, status, length).await
    }

    async fn pass_body(
        mut self,
        mut socket: Box<Socket>,
        first: BytesMut,
        status: u16,
        length: u64,
    ) -> Attempt {
        // What comes after the answer is nobody's: the connection isn't used again.
        let overrun = first.len() as u64 > length;
        let mut piece = first.freeze();
        piece.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        let mut left = length;
        loop {
            left -= piece.len() as u64;
            let written = self.session.write_response_body(piece, left == 0);
            if !matches!(timeout(self.timeouts.write, written).await, Ok(Ok(()))) {
                return (Ok(Relayed::Gone), None);
            }
            if left == 0 {
                let kept: Option<Stream> = if overrun { None } else { Some(socket) };
                return (Ok(Relayed::Answered(status)), kept);
            }
            let wanted = usize::try_from(left).unwrap_or(NEXT_READ).min(NEXT_READ);
            let mut buffer = BytesMut::with_capacity(wanted);
            match self.read(&mut socket, &mut buffer).await {
                Read::Some => piece = take(buffer, left),
                Read::End(_) | Read::Late => return (Ok(Relayed::Broken(status)), None),
                Read::Gone => return (Ok(Relayed::Gone), None),
            }
        }
    }

    /// Lets [`Relay`] begin again with what was read.
    async fn hand_over(self, mut socket: Box<Socket>, read: BytesMut) -> Attempt {
        socket.unread(read);
        let mut upstream = UpstreamSession::new(socket);
        let mut body = Body::empty();
        let relay = Relay {
            session: self.session,
            upstream: &mut upstream,
            body: &mut body,
            timeouts: self.timeouts,
            request_id: self.request_id,
            closing: self.closing,
        };
        let relayed = relay.resume().await;
        if !matches!(relayed, Ok(Relayed::Answered(_))) {
            return (relayed, None);
        }
        upstream.respect_keepalive();
        (relayed, upstream.reuse().await)
    }

    async fn write_header(&mut self, mut header: Box<ResponseHeader>) -> pingora_error::Result<()> {
        let version = self.session.req_header().version;
        headers::incoming(&mut header, version, self.request_id)?;
        if self.closing {
            self.session.set_keepalive(None);
        }
        self.session.write_response_header(header).await
    }

    /// Reads more of the answer, and notices where the client goes away meanwhile.
    async fn read(&mut self, socket: &mut Socket, buffer: &mut BytesMut) -> Read {
        tokio::select! {
            biased;
            read = timeout(self.timeouts.response, socket.read_buf(buffer)) => match read {
                Ok(Ok(0)) => Read::End("closed before the end of its answer".into()),
                Ok(Ok(_)) => Read::Some,
                Ok(Err(e)) => Read::End(e.to_string()),
                Err(_) => Read::Late,
            },
            _ = self.session.read_body_or_idle(true) => Read::Gone,
        }
    }
}

/// How a read ended.
enum Read {
    Some,
    End(String),
    Late,
    Gone,
}

fn take(buffer: BytesMut, at_most: u64) -> Bytes {
    let mut piece = buffer.freeze();
    piece.truncate(usize::try_from(at_most).unwrap_or(usize::MAX));
    piece
}

fn parse(buffer: &BytesMut) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let head = match response.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Parsed::Incomplete,
        // More fields than there is room for here; the other reader has more.
        Err(httparse::Error::TooManyHeaders) => return Parsed::Unusual,
        Err(e) => return Parsed::Garbage(e.to_string()),
    };
    let status = response.code.unwrap_or(0);
    if response.version != Some(1) || !(200..600).contains(&status) || matches!(status, 204 | 304) {
        return Parsed::Unusual;
    }
    let Ok(mut header) = ResponseHeader::build(status, Some(response.headers.len() + 4)) else {
        return Parsed::Unusual;
    };
    if response.reason != header.status.canonical_reason()
        && header.set_reason_phrase(response.reason).is_err()
    {
        return Parsed::Unusual;
    }
    // The one copy: names and values of the answer share it.
    let bytes = Bytes::copy_from_slice(&buffer[..head]);
    let base = buffer.as_ptr() as usize;
    let share = |part: &[u8]| {
        let start = part.as_ptr() as usize - base;
        bytes.slice(start..start + part.len())
    };
    let mut length = None;
    for field in response.headers.iter() {
        let (name, value) = (share(field.name.as_bytes()), share(field.value));
        let Ok(value) = HeaderValue::from_maybe_shared(value) else { return Parsed::Unusual };
        match HeaderName::from_bytes(&name) {
            Ok(header::CONTENT_LENGTH) if length.is_none() => length = digits(field.value),
            Ok(header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::UPGRADE)
            | Err(_) => {
                return Parsed::Unusual;
            }
            Ok(_) => {}
        }
        if header.append_header(name, value).is_err() {
            return Parsed::Unusual;
        }
    }
    match length {
        Some(length) => Parsed::Sized { header: Box::new(header), head, length },
        None => Parsed::Unusual,
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

    fn sized(answer: &str) -> Option<(u16, u64)> {
        match parse(&BytesMut::from(answer.as_bytes())) {
            Parsed::Sized { header, head, length } => {
                assert!(answer[..head].ends_with("\r\n\r\n"));
                Some((header.status.as_u16(), length))
            }
            _ => None,
        }
    }

    #[test]
    fn an_answer_of_known_length_is_quick() {
        assert_eq!(sized("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), Some((200, 5)));
        assert_eq!(sized("HTTP/1.1 404 Nope\r\nx: y\r\ncontent-length: 0\r\n\r\n"), Some((404, 0)));
    }

    #[test]
    fn everything_else_is_unusual() {
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        ] {
            assert_eq!(sized(answer), None, "{answer:?}");
        }
    }
}
