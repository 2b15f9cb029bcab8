//! Strict chunked framing. pingora's reader of bodies takes a size line without a digit for the last chunk. So a stream below it
//! validates each byte of a chunked body first. A deviation is an error of the stream, and pingora never reaches the end of such a
//! body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::HeaderMap;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use parking_lot::Mutex;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use tokio::io::{AsyncRead, ReadBuf};
use tracing::debug;

use crate::edge::net::pingora_compat;
use crate::edge::net::stream_wrapper::{forward_stream_traits, forward_writes};
use crate::wire::{ChunkedDecoder, ChunkedError};

/// The state of a stream's validation, shared with the code that knows where a header ends.
#[derive(Debug)]
pub struct Validation(Mutex<Mode>);

#[derive(Debug)]
enum Mode {
    /// A header is being read. These bytes were received and belong to no header that was read so far.
    Header(Vec<u8>),
    /// There is no chunked body.
    Off,
    /// A chunked body is being read, and perhaps more behind it.
    Chunked(ChunkedDecoder),
}

impl Validation {
    /// The validation of a response that begins with its header.
    pub fn of_answer() -> Validation {
        Validation(Mutex::new(Mode::Header(Vec::new())))
    }

    /// Notes that an informational response of `length` bytes was read. Another header follows.
    pub fn pass_informational(&self, length: usize) {
        if let Mode::Header(seen) = &mut *self.0.lock() {
            seen.drain(..length.min(seen.len()));
        }
    }

    /// Notes that the response's header of `length` bytes was read, and whether a chunked body follows it. Validates the bytes that
    /// came with the header.
    ///
    /// # Errors
    /// These bytes deviate from the chunked coding.
    pub fn begin_body(&self, length: usize, chunked: bool) -> Result<(), ChunkedError> {
        let mut mode = self.0.lock();
        if let Mode::Header(seen) = &*mode {
            let body = seen.get(length..).unwrap_or_default();
            let mut validator = ChunkedDecoder::new();
            let validated = if chunked { validator.validate(body).map(|_| ()) } else { Ok(()) };
            *mode = if chunked { Mode::Chunked(validator) } else { Mode::Off };
            return validated;
        }
        Ok(())
    }

    fn is_invalid(&self) -> bool {
        matches!(&*self.0.lock(), Mode::Chunked(validator) if validator.is_invalid())
    }

    fn read(&self, bytes: &[u8]) -> Result<(), ChunkedError> {
        match &mut *self.0.lock() {
            Mode::Header(seen) => seen.extend_from_slice(bytes),
            Mode::Off => {}
            Mode::Chunked(validator) => {
                validator.validate(bytes)?;
            }
        }
        Ok(())
    }
}

/// Returns true if pingora reads the body below this header as chunked.
pub fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    last.and_then(|codings| codings.as_bytes().rsplit(|b| *b == b',').next())
        .is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The reason that a request can't be continued above a validator.
pub enum Unvalidated {
    /// The connection can't be used any more.
    Lost,
    /// The header can't be read again. The session can still be answered.
    Unreadable(Box<ServerSession>),
}

/// Puts a validator below a session of HTTP/1 whose request's header is read and announces a chunked body.
///
/// pingora has read bytes beyond the header, and gives them out only as the next request of a connection. So it is told that
/// there is no body, gives back the stream and these bytes, and reads the same header again above the validator.
///
/// # Errors
/// [`Unvalidated`], which is logged here. It is not expected of a header that was read once.
pub async fn validate_request(mut session: ServerSession) -> Result<ServerSession, Unvalidated> {
    let header = BytesMut::from(&session.to_h1_raw()[..]);
    session.req_header_mut().remove_header(&TRANSFER_ENCODING);
    // Otherwise a connection that the client wants closed would be closed now. The header that is read again has the field still.
    session.req_header_mut().remove_header(&CONNECTION);
    session.set_keepalive(pingora_compat::KEPT);
    let finished = session.finish().await.inspect_err(|error| {
        debug!(error = error.etype().as_str(), "connection lost before a chunked body");
    });
    let Some(finished) = finished.map_err(|_| Unvalidated::Lost)? else {
        debug!("connection closed before a chunked body");
        return Err(Unvalidated::Lost);
    };
    let (stream, unread) = finished.into_parts();
    let stream = ValidatedStream {
        stream,
        unread: unread.unwrap_or_default(),
        validation: Arc::new(Validation(Mutex::new(Mode::Chunked(ChunkedDecoder::new())))),
    };
    read_again(header, stream).await
}

async fn read_again(header: BytesMut, stream: ValidatedStream) -> Result<ServerSession, Unvalidated> {
    let mut session = ServerSession::new_http1(Box::new(stream));
    session.set_pipelining_enabled(true);
    session.set_read_timeout(None);
    session.set_pipelined_prefix(header);
    let read = session.read_request().await;
    // The rest of an error may quote the header, and with it a password.
    let error = match &read {
        Ok(true) => return Ok(session),
        Ok(false) => "no request",
        Err(error) => error.etype().as_str(),
    };
    debug!(error, "the header of a request can't be read again");
    drop(read);
    Err(Unvalidated::Unreadable(Box::new(session)))
}

/// Returns true if the request's body deviated from the chunked coding.
pub fn is_invalid(session: &ServerSession) -> bool {
    let stream = session.stream().and_then(|stream| (**stream).as_any().downcast_ref::<ValidatedStream>());
    stream.is_some_and(|stream| stream.validation.is_invalid())
}

/// The deviation that caused an error of pingora's.
pub fn deviation(error: &pingora_error::Error) -> Option<ChunkedError> {
    pingora_compat::stream_error(error)?.get_ref()?.downcast_ref().copied()
}

/// A connection whose reads are validated.
#[derive(Debug)]
pub struct ValidatedStream {
    stream: Stream,
    /// Bytes that were read before, and are given out first.
    unread: BytesMut,
    validation: Arc<Validation>,
}

impl ValidatedStream {
    /// Takes over a connection.
    pub fn new(stream: Stream, validation: Arc<Validation>) -> ValidatedStream {
        ValidatedStream { stream, unread: BytesMut::new(), validation }
    }

    /// The connection below.
    pub fn inner(&self) -> &Stream {
        &self.stream
    }

    /// The connection below, and the bytes that were read from it and not given out: `read` first, if any. Any other stream is
    /// returned as it is.
    pub fn unwrap(stream: Stream, read: Option<BytesMut>) -> Option<(Stream, Option<BytesMut>)> {
        if !(*stream).as_any().is::<ValidatedStream>() {
            return Some((stream, read));
        }
        let validated = stream.into_any().downcast::<ValidatedStream>().ok()?;
        let mut unread = read.unwrap_or_default();
        unread.unsplit(validated.unread);
        Some((validated.stream, (!unread.is_empty()).then_some(unread)))
    }
}

impl AsyncRead for ValidatedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An invalid body stays invalid, and nothing more of it is read.
        self.validation.read(&[]).map_err(invalid)?;
        let before = buf.filled().len();
        if self.unread.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let part = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(part));
        }
        Poll::Ready(self.validation.read(&buf.filled()[before..]).map_err(invalid))
    }
}

fn invalid(deviation: ChunkedError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, deviation)
}

forward_writes!(ValidatedStream);
forward_stream_traits!(ValidatedStream);

#[cfg(test)]
mod tests;
