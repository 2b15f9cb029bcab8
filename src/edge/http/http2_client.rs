//! A request of a client over HTTP/2, on a stream of its own.

use bytes::Bytes;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_http::ResponseHeader;

use super::body::error::BodyReadError;
use crate::wire::RequestHead;

/// A request over HTTP/2, and its stream.
pub struct Http2Client {
    session: HttpSession,
    head: RequestHead,
    /// True once the response has ended.
    ended: bool,
}

impl Http2Client {
    /// Takes over a stream whose request's header was read.
    pub fn new(session: HttpSession) -> Http2Client {
        let request = session.req_header();
        let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
        let mut head = RequestHead::of_http2(request.method.clone(), request.raw_path(), authority);
        for (name, value) in &request.headers {
            head.append(name.as_str().as_bytes(), value.as_bytes());
        }
        Http2Client { session, head, ended: false }
    }

    /// The request.
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Returns true if the request has no body.
    pub fn is_body_empty(&self) -> bool {
        self.session.is_body_empty()
    }

    /// Returns true if the whole body was given out.
    pub fn is_body_done(&self) -> bool {
        self.session.is_body_done()
    }

    /// Returns true if a part of the body was given out.
    pub fn has_read_body(&self) -> bool {
        self.session.body_bytes_read() > 0
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn read_body(&mut self) -> Result<Option<Bytes>, BodyReadError> {
        self.session.read_body_bytes().await.map_err(|_| BodyReadError::Gone)
    }

    /// Resolves once the client has reset the stream or is gone. Cancel safe.
    pub async fn gone(&mut self) {
        let _ = self.session.idle().await;
    }

    /// Writes the header of a response. With `ends` there is no body, and the same frame says so.
    ///
    /// # Errors
    /// The client takes no more.
    pub fn write_head(&mut self, header: ResponseHeader, ends: bool) -> pingora_error::Result<()> {
        self.ended = ends;
        self.session.write_response_header(Box::new(header), ends)
    }

    /// Writes a piece of the response's body. With `ends` it is the last one, and the same frame says so.
    ///
    /// # Errors
    /// The client takes no more.
    pub async fn write_body(&mut self, piece: Bytes, ends: bool) -> pingora_error::Result<()> {
        if self.ended || piece.is_empty() && !ends {
            return Ok(());
        }
        self.ended = ends;
        self.session.write_body(piece, ends).await
    }

    /// Ends the stream, if the response hasn't.
    pub fn finish(&mut self) {
        // Where that fails, the stream is gone.
        let _ = self.session.finish();
    }
}
