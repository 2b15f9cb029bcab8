//! The head of a backend's response: status and fields, as they came.

use std::mem::MaybeUninit;

use http::Version;
use httparse::{ParserConfig, Status};

use super::body_length::{BodyLength, LengthError, may_leave_bytes};
use super::field_kind::FieldKind;
use super::field_lines::{line_end, read_lines};
use super::head_error::HeadError;
use super::header_fields::{FIELD_COUNT, HeaderFields, Span};
use super::request_head::keeps_open;

/// The most bytes of a response's header.
pub const RESPONSE_HEADER_LIMIT: usize = 256 * 1024;

/// The start of the reason phrase in a usual status line, `HTTP/1.1 200 OK`.
const REASON: usize = 13;

/// The head of a response. The memory is used again for the next response of a connection.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    version: Version,
    status: u16,
    reason: Span,
    fields: HeaderFields,
}

impl Default for ResponseHead {
    fn default() -> ResponseHead {
        ResponseHead {
            version: Version::HTTP_11,
            status: 200,
            reason: Span::default(),
            fields: HeaderFields::default(),
        }
    }
}

impl ResponseHead {
    /// Reads a head from the start of `input` in place of this one. Returns the bytes that it takes, or `None` if it is incomplete.
    ///
    /// # Errors
    /// The head is invalid, or too large.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<usize>, HeadError> {
        // A higher minor version is compatible (RFC 9110 section 2.5). The parser knows 1 alone.
        if let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', rest @ ..] = input {
            return self.read(&[b"HTTP/1.1", rest].concat());
        }
        let length = match self.read_usual(input) {
            None => self.read_any(input)?,
            usual => usual,
        };
        if length.unwrap_or(input.len()) > RESPONSE_HEADER_LIMIT {
            return Err(HeadError::TooLarge);
        }
        Ok(length)
    }

    /// Reads a complete head of HTTP/1.1 with usual lines. `None` for any other.
    fn read_usual(&mut self, input: &[u8]) -> Option<usize> {
        let status = input.strip_prefix(b"HTTP/1.1 ")?.first_chunk::<4>()?;
        let [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b' '] = status else {
            return None;
        };
        let end = REASON + line_end(&input[REASON..])?;
        let reason = &input[REASON..end];
        if reason.first() == Some(&b' ') || !reason.is_ascii() {
            return None;
        }
        self.fields.clear();
        let length = read_lines(&mut self.fields, input, end + 2)?;
        self.fields.set_text(&input[..length]);
        self.version = Version::HTTP_11;
        let digit = |byte: &u8| u16::from(byte - b'0');
        self.status = 100 * digit(hundreds) + 10 * digit(tens) + digit(ones);
        self.reason = Span::new(REASON, end);
        Some(length)
    }

    fn read_any(&mut self, input: &[u8]) -> Result<Option<usize>, HeadError> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELD_COUNT];
        let mut response = httparse::Response::new(&mut []);
        let parsed = parser().parse_response_with_uninit_headers(&mut response, input, &mut fields);
        self.take(input, parsed, &response)
    }

    /// Forgets the response and gives back its memory, if that has grown above so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        if self.fields.is_larger_than(bytes) {
            *self = ResponseHead::default();
        }
    }

    fn take(
        &mut self,
        input: &[u8],
        parsed: httparse::Result<usize>,
        response: &httparse::Response<'_, '_>,
    ) -> Result<Option<usize>, HeadError> {
        let length = match parsed {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyFields),
            Err(_) => return Err(HeadError::Malformed("invalid header")),
        };
        let head = &input[..length];
        self.status = response
            .code
            .filter(|code| (100..1000).contains(code))
            .ok_or(HeadError::Malformed("invalid status"))?;
        self.version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        self.fields.restart(head);
        self.reason = HeaderFields::span_of(head, response.reason.unwrap_or_default().as_bytes());
        for field in response.headers.iter() {
            let name = HeaderFields::span_of(head, field.name.as_bytes());
            let value = match field.value.contains(&b'\n') {
                true => self.fields.append_text(&unfolded(field.value)),
                false => HeaderFields::span_of(head, field.value),
            };
            self.fields.add(name, value);
        }
        Ok(Some(length))
    }

    /// The status, from 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase.
    pub fn reason(&self) -> &[u8] {
        self.fields.text_of(self.reason)
    }

    /// The fields.
    pub fn fields(&self) -> &HeaderFields {
        &self.fields
    }

    /// Returns true for a response that another one follows: 1xx except 101.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The length of the body. `to_head`: the request was HEAD.
    ///
    /// # Errors
    /// [`LengthError`]
    pub fn body_length(&self, to_head: bool) -> Result<BodyLength, LengthError> {
        BodyLength::of_response(&self.fields, self.status, to_head)
    }

    /// Returns true if the backend keeps its connection open after a response whose end is found, and nothing may follow that isn't a
    /// response. A response of HTTP/1.0 with a transfer coding is always the last one (RFC 9112 section 6.1).
    pub fn keeps_open(&self) -> bool {
        let old_coding =
            self.version == Version::HTTP_10 && self.fields.contains(FieldKind::TransferEncoding);
        keeps_open(&self.fields, self.version) && !old_coding && !may_leave_bytes(&self.fields, self.status)
    }
}

/// A parser that accepts what RFC 9112 sections 5.1 and 5.2 want a proxy to repair: blanks before a colon, and folded lines.
fn parser() -> ParserConfig {
    let mut parser = ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    parser
}

/// A value on one line: one space in place of each line end and the blanks around it (RFC 9112 section 5.2).
fn unfolded(value: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = value.split(|b| matches!(b, b'\r' | b'\n')).map(<[u8]>::trim_ascii).collect();
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Option<(ResponseHead, usize)>, HeadError> {
        let mut head = ResponseHead::default();
        Ok(head.read(text.as_bytes())?.map(|length| (head, length)))
    }

    fn complete(text: &str) -> ResponseHead {
        read(text).unwrap().unwrap().0
    }

    #[test]
    fn a_head_is_what_was_sent() {
        let text = "HTTP/1.1 404 Not  Here\r\nContent-Length: 5\r\nETag : \"a\"\r\n\r\n";
        let (head, length) = read(&format!("{text}hello")).unwrap().unwrap();
        assert_eq!((head.status(), head.reason(), length), (404, &b"Not  Here"[..], text.len()));
        let fields: Vec<_> = head.fields().iter().map(|field| (field.name, field.value)).collect();
        let expected: [(&[u8], &[u8]); 2] = [(b"Content-Length", b"5"), (b"ETag", b"\"a\"")];
        assert_eq!(fields, expected);
        assert_eq!(head.body_length(false), Ok(BodyLength::Known(5)));
        assert_eq!(head.body_length(true), Ok(BodyLength::None));
        assert!(head.keeps_open());
        for end in 0..text.len() {
            assert!(read(&text[..end]).unwrap().is_none());
        }
    }

    proptest! {
        // What is read in one pass is read as the complete parser reads it.
        #[test]
        fn usual_heads_are_read_as_others_are(
            start in prop::sample::select(vec![
                "HTTP/1.1 200 OK\r\n", "HTTP/1.1 404 Not  Here\r\n", "HTTP/1.1 204 \r\n", "HTTP/1.1 204\r\n", "HTTP/1.1 099 A\r\n",
                "HTTP/1.1 200  OK\r\n", "HTTP/1.1 200 \u{e9}\r\n", "HTTP/1.1 200 a\tb\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1  200 OK\r\n",
            ]),
            lines in prop::collection::vec(
                ("[A-Za-z-]{0,17}|Content-Length|Server", ":|: |:  | : |:\t", "[ -~]{0,20}|[\t ]{0,2}[!-~\u{e9}]{0,12}[\t ]{0,2}|5", "\r\n|\r\n|\r\n|\n|\r|\r\n "),
                0..6,
            ),
            end in prop::sample::select(vec!["\r\n", "\r\nbody\u{1}", "\n", ""]),
        ) {
            let lines: String = lines.into_iter().map(|(a, b, c, d)| format!("{a}{b}{c}{d}")).collect();
            let text = format!("{start}{lines}{end}");
            let (mut usual, mut any) = (ResponseHead::default(), ResponseHead::default());
            let length = any.read_any(text.as_bytes());
            if let Some(read) = usual.read_usual(text.as_bytes()) {
                prop_assert_eq!(length, Ok(Some(read)));
                prop_assert_eq!((usual.version, usual.status, usual.reason()), (any.version, any.status, any.reason()));
                let fields = |head: &ResponseHead| format!("{:?}", head.fields.iter().collect::<Vec<_>>());
                prop_assert_eq!(fields(&usual), fields(&any));
                prop_assert_eq!(usual.fields.text_len(), any.fields.text_len());
            }
        }
    }

    #[test]
    fn a_higher_minor_version_is_1_1() {
        for version in ["1.2", "1.9"] {
            let text = format!("HTTP/{version} 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let (head, length) = read(&text).unwrap().unwrap();
            assert_eq!((head.version, length), (Version::HTTP_11, text.len()));
            assert!(head.keeps_open());
        }
    }

    #[test]
    fn a_folded_line_becomes_one_and_is_no_field() {
        let head = complete("HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 2\r\n\t b\r\nY: c\r\n\r\n");
        let fields: Vec<_> = head.fields().iter().map(|field| field.value).collect();
        assert_eq!(fields, [&b"a Content-Length: 2 b"[..], b"c"]);
        assert_eq!(head.body_length(false), Ok(BodyLength::UntilClose));
    }

    #[test]
    fn a_connection_stays_open_where_both_sides_find_the_end() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true),
        ] {
            assert_eq!(complete(text).keeps_open(), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(complete(&fields(FIELD_COUNT)).fields().len(), FIELD_COUNT);
        assert_eq!(read(&fields(FIELD_COUNT + 1)).unwrap_err(), HeadError::TooManyFields);
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(RESPONSE_HEADER_LIMIT));
        assert_eq!(read(&long).unwrap_err(), HeadError::TooLarge);
    }
}
