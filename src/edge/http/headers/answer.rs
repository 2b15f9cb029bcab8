//! The head of an answer that Gatepost gives itself.

use std::borrow::Cow;

use http::header::{DATE, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};

use super::response::{connection_for, put, put_status, set_indexed};
use crate::domain::RequestId;
use crate::edge::net::pingora_compat;

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    status: u16,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    is_chunked: bool,
}

impl AnswerHead {
    /// The head of an answer with a body of `length` bytes, or else one that ends with its last chunk, or with the connection.
    pub fn new(
        status: u16,
        content_type: &'static str,
        length: Option<usize>,
        request_id: &RequestId,
    ) -> AnswerHead {
        let mut answer = AnswerHead { status, fields: Vec::with_capacity(6), is_chunked: false };
        answer.insert("Content-Type", content_type);
        if let Some(length) = length {
            answer.insert("Content-Length", length.to_string());
        }
        answer.insert("Cache-Control", "no-store");
        answer.insert("x-request-id", request_id.as_str().to_owned());
        answer
    }

    /// The head of an answer whose status allows no body.
    pub fn without_body(status: u16, request_id: &RequestId) -> AnswerHead {
        let mut answer = AnswerHead { status, fields: Vec::with_capacity(6), is_chunked: false };
        answer.insert("x-request-id", request_id.as_str().to_owned());
        answer
    }

    /// Adds a field.
    pub fn insert(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        self.fields.push((name, value.into()));
    }

    /// Replaces the directive that no cache stores the answer.
    pub fn set_caching(&mut self, directives: &'static str) {
        for field in self.fields.iter_mut().filter(|(name, _)| *name == "Cache-Control") {
            field.1 = directives.into();
        }
    }

    /// Has the body written in chunks over HTTP/1.
    pub fn set_chunked(&mut self) {
        self.is_chunked = true;
        self.insert("Transfer-Encoding", "chunked");
    }

    /// Returns true if the body is written in chunks over HTTP/1.
    pub fn is_chunked(&self) -> bool {
        self.is_chunked
    }

    /// Appends the head as it goes over HTTP/1.
    pub fn write(&self, version: Version, stays_open: bool, out: &mut Vec<u8>) {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        put_status(out, self.status, reason.unwrap_or_default().as_bytes());
        for (name, value) in &self.fields {
            put(out, name.as_bytes(), value.as_bytes());
        }
        put(out, b"Date", pingora_compat::date().as_bytes());
        if let Some(connection) = connection_for(version, stays_open) {
            put(out, b"Connection", connection.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The head for HTTP/2.
    ///
    /// # Errors
    /// A value can't be written.
    pub fn for_http2(&self) -> http::Result<Response<()>> {
        let mut header = Response::builder().status(self.status).body(())?;
        let map = header.headers_mut();
        map.reserve(self.fields.len() + 1);
        for (name, value) in self.fields.iter().filter(|(name, _)| *name != "Transfer-Encoding") {
            let (name, mut value) = (HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
            set_indexed(&name, &mut value);
            map.append(name, value);
        }
        map.insert(DATE, pingora_compat::date());
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_the_connection_stays_open_where_the_version_does_not() {
        let mut answer = AnswerHead::new(503, "text/plain", Some(2), &RequestId::default());
        answer.insert("Retry-After", "1");
        for (version, stays_open, connection) in [
            (Version::HTTP_11, true, None),
            (Version::HTTP_11, false, Some("close")),
            (Version::HTTP_10, true, Some("keep-alive")),
            (Version::HTTP_10, false, Some("close")),
        ] {
            let mut out = Vec::new();
            answer.write(version, stays_open, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
            ));
            assert!(text.contains("\r\nRetry-After: 1\r\nDate: ") && text.ends_with("\r\n\r\n"), "{text}");
            let said = text.lines().find_map(|line| line.strip_prefix("Connection: "));
            assert_eq!(said, connection, "{version:?} {stays_open}");
        }
        assert_eq!(answer.for_http2().unwrap().headers().len(), 6);
    }
}
