//! The head of a request: method, target and fields, as they came over HTTP/1 or were taken from HTTP/2.

use http::{Method, Version};

use super::body_length::BodyLength;
use super::characters::{HOST, is_token};
use super::field_kind::FieldKind;
use super::field_lines::{line_end, read_lines};
use super::head_error::HeadError;
use super::header_fields::{FIELD_COUNT, HeaderFields, Span};

/// The most bytes of a request's header over HTTP/1, request line included.
pub const REQUEST_HEADER_LIMIT: usize = 64 * 1024;

/// The most empty lines before a request line, which RFC 9112 section 2.2 wants ignored.
const EMPTY_LINES: usize = 8;

/// The most fields of a usual header.
const USUAL_FIELDS: usize = 24;

/// The head of a request. The memory is used again for the next request of a connection.
#[derive(Clone, Debug)]
pub struct RequestHead {
    method: Method,
    version: Version,
    target: Span,
    /// The host that HTTP/2 has in a field of its own.
    authority: Option<Span>,
    length: BodyLength,
    fields: HeaderFields,
}

impl Default for RequestHead {
    fn default() -> RequestHead {
        RequestHead {
            method: Method::GET,
            version: Version::HTTP_11,
            target: Span::default(),
            authority: None,
            length: BodyLength::None,
            fields: HeaderFields::default(),
        }
    }
}

impl RequestHead {
    /// Takes over a request of HTTP/2, whose fields follow by [`RequestHead::append`]: so many of them, with so many bytes.
    pub fn of_http2(
        method: Method,
        target: &[u8],
        authority: Option<&[u8]>,
        fields: usize,
        bytes: usize,
    ) -> RequestHead {
        let mut head = RequestHead { method, version: Version::HTTP_2, ..RequestHead::default() };
        head.fields.reserve(fields, bytes + target.len() + authority.map_or(0, <[u8]>::len));
        head.target = head.fields.append_text(target);
        head.authority = authority.map(|authority| head.fields.append_text(authority));
        head
    }

    /// Appends a field.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        self.fields.append(name, value);
    }

    /// Reads a head from the start of `input` in place of this one. Returns the bytes that it takes, or `None` if it is incomplete.
    ///
    /// # Errors
    /// No reader may take `input` for a request, or another reader could find its end or its host elsewhere.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<usize>, HeadError> {
        self.read_more(input, &mut 0)
    }

    /// The same for an input that grows from call to call. `scanned` is 0 for the first call, and counts the bytes that needn't be looked
    /// at again.
    ///
    /// # Errors
    /// As [`RequestHead::read`].
    pub fn read_more(&mut self, input: &[u8], scanned: &mut usize) -> Result<Option<usize>, HeadError> {
        let usual = if *scanned == 0 { self.read_usual(input) } else { None };
        let length = match usual {
            None => self.read_any(input, scanned)?,
            usual => usual,
        };
        if length.is_some() {
            if let Some(reason) = self.unclear_host() {
                return Err(HeadError::Malformed(reason));
            }
            self.length = BodyLength::of_request(&self.fields, self.version).map_err(HeadError::Malformed)?;
        }
        Ok(length)
    }

    fn read_any(&mut self, input: &[u8], scanned: &mut usize) -> Result<Option<usize>, HeadError> {
        let empty = empty_lines(input)?;
        let rest = &input[empty..];
        let Some(end) = end_of_head(rest, scanned.saturating_sub(empty))? else {
            check_beginning(rest)?;
            // The last line end may be the one before the empty line.
            *scanned = input.len().saturating_sub(3);
            return match rest.len() >= REQUEST_HEADER_LIMIT {
                true => Err(HeadError::TooLarge),
                false => Ok(None),
            };
        };
        if end > REQUEST_HEADER_LIMIT {
            return Err(HeadError::TooLarge);
        }
        self.parse(&rest[..end])?;
        Ok(Some(empty + end))
    }

    /// Reads a complete head of HTTP/1.1 with usual lines. `None` for any other.
    fn read_usual(&mut self, input: &[u8]) -> Option<usize> {
        let line = line_end(input)?;
        let mut parts = input[..line].splitn(3, |byte| *byte == b' ');
        let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
        if target.is_empty() || target.contains(&b'#') || version != b"HTTP/1.1" {
            return None;
        }
        self.method = Method::from_bytes(method).ok()?;
        self.fields.clear();
        let end = read_lines(&mut self.fields, input, line + 2)?;
        if end > REQUEST_HEADER_LIMIT {
            return None;
        }
        self.fields.set_text(&input[..end]);
        self.version = Version::HTTP_11;
        self.authority = None;
        self.target = Span::new(method.len() + 1, method.len() + 1 + target.len());
        Some(end)
    }

    /// Forgets the request, so that nothing of it counts for the next one.
    pub fn forget(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.restart(b"");
        *self = RequestHead { fields, ..RequestHead::default() };
    }

    /// Forgets the request and gives back its memory, if that has grown above so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        if self.fields.is_larger_than(bytes) {
            *self = RequestHead::default();
        }
    }

    fn parse(&mut self, head: &[u8]) -> Result<(), HeadError> {
        self.fields.restart(head);
        self.authority = None;
        let line = memchr::memchr(b'\r', head).unwrap_or(head.len());
        if !head[line..].starts_with(b"\r\n") {
            return Err(HeadError::Malformed("Bare CR in the request line: it must end in CR LF"));
        }
        let target = self.request_line(&head[..line])?;
        self.target = HeaderFields::span_of(head, target);
        let fields = head.get(line + 2..).unwrap_or_default();
        // Most headers have few fields, and the array is initialized.
        let mut few = [httparse::EMPTY_HEADER; USUAL_FIELDS];
        match httparse::parse_headers(fields, &mut few) {
            Err(httparse::Error::TooManyHeaders) => {
                let mut many = [httparse::EMPTY_HEADER; FIELD_COUNT];
                self.take_fields(head, httparse::parse_headers(fields, &mut many))
            }
            parsed => self.take_fields(head, parsed),
        }
    }

    fn take_fields(
        &mut self,
        head: &[u8],
        parsed: httparse::Result<(usize, &[httparse::Header<'_>])>,
    ) -> Result<(), HeadError> {
        match parsed {
            Ok(httparse::Status::Complete((_, fields))) => {
                for field in fields {
                    let name = HeaderFields::span_of(head, field.name.as_bytes());
                    self.fields.add(name, HeaderFields::span_of(head, field.value));
                }
                Ok(())
            }
            Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooManyFields),
            _ => Err(HeadError::Malformed("Invalid header field")),
        }
    }

    /// Parses `method SP request-target SP HTTP-version` (RFC 9112 section 3). Returns the target.
    fn request_line<'l>(&mut self, line: &'l [u8]) -> Result<&'l [u8], HeadError> {
        let malformed = HeadError::Malformed;
        let end = memchr::memchr(b' ', line).ok_or(malformed(NO_REQUEST))?;
        let (method, rest) = (&line[..end], &line[end + 1..]);
        let end = memchr::memrchr(b' ', rest).ok_or(malformed(NO_REQUEST))?;
        let (target, version) = (&rest[..end], &rest[end + 1..]);
        self.method = Method::from_bytes(method).map_err(|_| malformed("Invalid method"))?;
        self.version = match version {
            b"HTTP/1.0" => Version::HTTP_10,
            // A higher minor version is compatible (RFC 9110 section 2.5).
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => Version::HTTP_11,
            _ => {
                return Err(malformed(
                    "Invalid HTTP version: the request line must end in HTTP/1.1 or HTTP/1.0",
                ));
            }
        };
        if target.is_empty() {
            return Err(malformed(NO_REQUEST));
        }
        if let Some(byte) = target.iter().find(|byte| **byte <= b' ' || **byte == 0x7f) {
            return Err(malformed(match byte {
                b' ' => "Invalid target: it contains a space, which must be encoded as %20",
                _ => "Invalid target: it contains a control character",
            }));
        }
        // A fragment is no part of a target (RFC 9112 section 3.2).
        Ok(&target[..memchr::memchr(b'#', target).unwrap_or(target.len())])
    }

    /// The reason of a 400 for a request that isn't for exactly one valid host (RFC 9112 section 3.2). Over HTTP/2 the host may be a
    /// field, too, which the backend gets as it came (RFC 9113 section 8.3.1).
    pub fn unclear_host(&self) -> Option<&'static str> {
        let mut hosts = self.fields.all(FieldKind::Host);
        let host = hosts.next();
        if host.is_none() && self.version == Version::HTTP_11 {
            return Some("Missing Host: HTTP/1.1 requires exactly one");
        }
        if hosts.next().is_some() {
            return Some("More than one Host");
        }
        // A target that names the host may hold a password, too.
        let authority = self.authority();
        if host.into_iter().chain(authority).any(|host| !HOST.has_all(host)) {
            return Some("Invalid Host");
        }
        let contradicts = |host: &[u8]| authority.is_some_and(|named| !named.eq_ignore_ascii_case(host));
        host.is_some_and(contradicts).then_some("Invalid Host: it is not the host that the target names")
    }

    /// Checks what the reader of HTTP/2 leaves to the server: the size of the header, the number of fields, their names, the target,
    /// the host (RFC 9113 section 8.3.1) and the length.
    ///
    /// # Errors
    /// The request is malformed, or could be read in another way as HTTP/1.1.
    pub fn check_http2(&self) -> Result<(), HeadError> {
        self.check_http2_size()?;
        let target = self.target();
        let reason = if target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            Some("Invalid :path: it contains a space or a control character")
        } else if target.first() != Some(&b'/') && target != b"*" {
            Some("Invalid :path: it must begin with /")
        } else if self.fields.iter().any(|field| !is_token(field.name)) {
            Some("Invalid header field: its name contains a character that no name may have")
        } else {
            self.unclear_authority().or_else(|| BodyLength::of_request(&self.fields, self.version).err())
        };
        reason.map_or(Ok(()), |reason| Err(HeadError::Malformed(reason)))
    }

    /// Checks the size of the header of a request over HTTP/2 alone, by the same limits as over HTTP/1.
    ///
    /// # Errors
    /// The header is too large.
    pub fn check_http2_size(&self) -> Result<(), HeadError> {
        if self.method.as_str().len() + self.fields.text_len() > REQUEST_HEADER_LIMIT {
            return Err(HeadError::TooLarge);
        }
        // One `Cookie` may be several fields (RFC 9113 section 8.2.3).
        let crumbs = self.fields.all(FieldKind::Cookie).count();
        if self.fields.len() - crumbs.saturating_sub(1) > FIELD_COUNT {
            return Err(HeadError::TooManyFields);
        }
        Ok(())
    }

    /// The reason of a 400 for a request over HTTP/2 that isn't for exactly one host.
    fn unclear_authority(&self) -> Option<&'static str> {
        match (self.authority(), self.fields.get(FieldKind::Host)) {
            (None, None) => Some("Missing :authority"),
            (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
                Some("Host differs from :authority")
            }
            _ => self.unclear_host(),
        }
    }

    /// Returns true if it is a gRPC request, which can't be forwarded over HTTP/1.1. gRPC-Web can.
    pub fn asks_for_grpc(&self) -> bool {
        self.version == Version::HTTP_2
            && self.fields.get(FieldKind::ContentType).is_some_and(|kind| {
                let grpc = b"application/grpc";
                kind.len() >= grpc.len()
                    && kind[..grpc.len()].eq_ignore_ascii_case(grpc)
                    && matches!(kind.get(grpc.len()), None | Some(b'+' | b';' | b' '))
            })
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The version of HTTP: 1.0, 1.1 or 2.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target as it came.
    pub fn target(&self) -> &[u8] {
        self.fields.text_of(self.target)
    }

    /// The fields.
    pub fn fields(&self) -> &HeaderFields {
        &self.fields
    }

    /// The length of the body over HTTP/1.
    pub fn body_length(&self) -> BodyLength {
        self.length
    }

    /// The host that the target names: in `:authority` over HTTP/2, or in a target of the absolute form.
    pub fn authority(&self) -> Option<&[u8]> {
        if let Some(authority) = self.authority {
            return Some(self.fields.text_of(authority));
        }
        let target = self.target();
        if target.first().is_none_or(|first| *first == b'/') {
            return None;
        }
        let rest = &target[memchr::memmem::find(target, b"://")? + 3..];
        rest.split(|b| matches!(b, b'/' | b'?' | b'#')).next()
    }

    /// Returns true if the client's connection can stay open after the response (RFC 9112 section 9.3).
    pub fn keeps_open(&self) -> bool {
        keeps_open(&self.fields, self.version)
    }

    /// Returns true if the client waits for a 100 before it sends its body (RFC 9110 section 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.version != Version::HTTP_10
            && self
                .fields
                .get(FieldKind::Expect)
                .is_some_and(|expected| expected.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Returns true if the request asks for a WebSocket (RFC 6455 section 4.1). A request for another protocol, or without the
    /// `Connection` that belongs to it (RFC 9110 section 7.8), is an ordinary request. A backend that speaks h2c, for example, would
    /// read further requests from the tunnel, which nothing authorizes.
    pub fn asks_for_websocket(&self) -> bool {
        let mut protocols = self.fields.all(FieldKind::Upgrade);
        self.fields.contains(FieldKind::Upgrade)
            && self.version == Version::HTTP_11
            && self.method == Method::GET
            && matches!(self.length, BodyLength::None | BodyLength::Known(0))
            && protocols.next().is_some_and(|one| one.eq_ignore_ascii_case(b"websocket"))
            && protocols.next().is_none()
            && self.fields.has_element(FieldKind::Connection, "upgrade")
    }
}

/// The reason of a 400 for a line that isn't a request line.
const NO_REQUEST: &str = "Invalid request line: it must be METHOD TARGET HTTP/1.1";

/// Returns true if a connection stays open after a message with these fields (RFC 9112 section 9.3).
pub(super) fn keeps_open(fields: &HeaderFields, version: Version) -> bool {
    let mut lines = fields.all(FieldKind::Connection);
    match (lines.next(), lines.next()) {
        (None, _) => return version != Version::HTTP_10,
        // As most write it.
        (Some(b"keep-alive"), None) => return true,
        _ => {}
    }
    !fields.has_element(FieldKind::Connection, "close")
        && (version != Version::HTTP_10 || fields.has_element(FieldKind::Connection, "keep-alive"))
}

/// The bytes of the empty lines at the start.
fn empty_lines(input: &[u8]) -> Result<usize, HeadError> {
    let mut at = 0;
    while input[at..].starts_with(b"\r\n") {
        at += 2;
        if at > 2 * EMPTY_LINES {
            return Err(HeadError::Malformed("Too many empty lines before a request"));
        }
    }
    Ok(at)
}

/// The end of the head that `input` begins with, behind its empty line. It is not in the first `scanned` bytes.
fn end_of_head(input: &[u8], scanned: usize) -> Result<Option<usize>, HeadError> {
    for at in memchr::memchr_iter(b'\n', &input[scanned..]).map(|at| scanned + at) {
        if at == 0 || input[at - 1] != b'\r' {
            return Err(HeadError::Malformed("Bare LF in the header: each line must end in CR LF"));
        }
        if input[at + 1..].starts_with(b"\r\n") {
            return Ok(Some(at + 3));
        }
    }
    Ok(None)
}

/// Checks the first bytes of a head that is incomplete, so that what is no request at all is refused without waiting for its end.
fn check_beginning(input: &[u8]) -> Result<(), HeadError> {
    let start = &input[..input.len().min(32)];
    let method = start.split(|b| *b == b' ').next().unwrap_or_default();
    // The first CR of an empty line may be all that is there.
    if method != b"\r" && !method.is_empty() && Method::from_bytes(method).is_err() {
        return Err(HeadError::Malformed(NO_REQUEST));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
