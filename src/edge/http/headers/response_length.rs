//! The length of a response's body (RFC 9112 section 6.3), where a backend may have said it twice, or in a way that its client
//! can't read.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use pingora_http::ResponseHeader;
use thiserror::Error;

use crate::edge::http::framing;

/// The way in which the end of a response's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// It has so many bytes.
    Known(u64),
    /// Its last chunk ends it.
    Chunked,
    /// The end of the backend's connection ends it.
    UntilClose,
}

/// The reason that the end of a response's body can't be found.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LengthError {
    /// Gatepost forwards no `TE`, so that no backend may use another coding than chunked (RFC 9112 sections 6.1 and 7.4).
    #[error("the response has a transfer coding other than chunked, or chunked more than once")]
    Coding,
    /// The lengths contradict each other, or are invalid.
    #[error("the response has an invalid Content-Length")]
    Length,
}

impl BodyLength {
    /// The length of the body below `response`. `raw` is the header as it came: pingora removes `Content-Length` where there is a
    /// `Transfer-Encoding`, even if that is `identity`, which means nothing. `to_head`: the request was HEAD.
    ///
    /// # Errors
    /// [`LengthError`]
    pub fn of(response: &ResponseHeader, raw: &[u8], to_head: bool) -> Result<BodyLength, LengthError> {
        let headers = &response.headers;
        if to_head || has_no_body(response.status) {
            return Ok(BodyLength::None);
        }
        if !headers.contains_key(header::TRANSFER_ENCODING) {
            let lengths = headers.get_all(header::CONTENT_LENGTH);
            return one_of(lengths.iter().map(HeaderValue::as_bytes));
        }
        let mut codings = codings(headers);
        match (codings.next(), codings.next()) {
            (None, _) => one_of(lengths_in(raw)),
            // pingora has to find the same end.
            (Some(coding), None) if is_chunked(coding) && framing::is_chunked(headers) => {
                Ok(BodyLength::Chunked)
            }
            _ => Err(LengthError::Coding),
        }
    }
}

/// Returns true if a response of that status never has a body (RFC 9112 section 6.3).
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Returns true if bytes may follow a response that has no body: a backend that announces one may send it. They are not the next
/// response.
pub fn may_leave_bytes(response: &ResponseHeader) -> bool {
    let headers = &response.headers;
    match response.status {
        StatusCode::NO_CONTENT => {
            let lengths = headers.get_all(header::CONTENT_LENGTH);
            headers.contains_key(header::TRANSFER_ENCODING)
                || one_of(lengths.iter().map(HeaderValue::as_bytes)) != Ok(BodyLength::Known(0))
                    && headers.contains_key(header::CONTENT_LENGTH)
        }
        StatusCode::NOT_MODIFIED => headers.contains_key(header::TRANSFER_ENCODING),
        _ => false,
    }
}

/// The single value of a `Content-Length` that repeats it.
pub fn merged(value: &HeaderValue) -> HeaderValue {
    let first = value.as_bytes().split(|b| *b == b',').next().unwrap_or_default().trim_ascii();
    match first.len() == value.len() {
        true => value.clone(),
        false => HeaderValue::from_bytes(first).unwrap_or_else(|_| value.clone()),
    }
}

/// The transfer codings of a response. `identity` is none, and empty elements of a list say nothing (RFC 9110 section 5.6.1.2).
fn codings(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let codings = lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

fn is_chunked(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"chunked")
}

/// The values of `Content-Length` in a header as it came. A line that begins with a blank continues the field before it
/// (RFC 9112 section 5.2).
fn lengths_in(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = raw.split(|b| *b == b'\n').filter(|line| !line.starts_with(b" ") && !line.starts_with(b"\t"));
    lines.filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        name.trim_ascii().eq_ignore_ascii_case(b"content-length").then_some(value)
    })
}

/// The length that all values agree on, each of which may be a list (RFC 9110 section 8.6).
fn one_of<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<BodyLength, LengthError> {
    let mut length = BodyLength::UntilClose;
    for value in values.flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii) {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok().filter(|_| is_number).and_then(|v| v.parse().ok());
        let known = BodyLength::Known(number.ok_or(LengthError::Length)?);
        if length != BodyLength::UntilClose && length != known {
            return Err(LengthError::Length);
        }
        length = known;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, fields: &[(&'static str, &str)]) -> (ResponseHeader, Vec<u8>) {
        let mut response = ResponseHeader::build(status, None).unwrap();
        let mut raw = format!("HTTP/1.1 {status}\r\n");
        let is_coded = fields.iter().any(|(name, _)| *name == "Transfer-Encoding");
        for (name, value) in fields {
            // As pingora does it.
            if !is_coded || *name != "Content-Length" {
                response.append_header(*name, *value).unwrap();
            }
            raw += &format!("{name}: {value}\r\n");
        }
        (response, (raw + "\r\n").into_bytes())
    }

    #[test]
    fn one_end_is_found_or_none() {
        use BodyLength::{Chunked, Known, UntilClose};
        let (length, coding) = (|value| ("Content-Length", value), |value| ("Transfer-Encoding", value));
        for (fields, expected) in [
            (&[][..], Ok(UntilClose)),
            (&[length("5")], Ok(Known(5))),
            (&[length("2, 2")], Ok(Known(2))),
            (&[length("2"), length("2")], Ok(Known(2))),
            (&[length("2"), length("3")], Err(LengthError::Length)),
            (&[length("+2")], Err(LengthError::Length)),
            (&[length("2,")], Err(LengthError::Length)),
            (&[length("99999999999999999999")], Err(LengthError::Length)),
            (&[coding("chunked")], Ok(Chunked)),
            (&[coding("chunked"), length("5")], Ok(Chunked)),
            (&[coding("identity, Chunked")], Ok(Chunked)),
            (&[coding("identity"), coding(", chunked")], Ok(Chunked)),
            (&[coding("identity"), length("5")], Ok(Known(5))),
            (&[coding("Identity"), length("5, 5")], Ok(Known(5))),
            (&[coding("identity"), length("5"), length("6")], Err(LengthError::Length)),
            (&[coding("identity")], Ok(UntilClose)),
            (&[coding("")], Ok(UntilClose)),
            (&[coding("chunked"), coding("chunked")], Err(LengthError::Coding)),
            (&[coding("chunked, chunked")], Err(LengthError::Coding)),
            (&[coding("gzip, chunked")], Err(LengthError::Coding)),
            (&[coding("gzip")], Err(LengthError::Coding)),
            (&[coding("chunked, identity")], Err(LengthError::Coding)),
            (&[coding("chunked;q=1")], Err(LengthError::Coding)),
            (&[coding("xchunked"), length("5")], Err(LengthError::Coding)),
        ] {
            let (header, raw) = response(200, fields);
            assert_eq!(BodyLength::of(&header, &raw, false), expected, "{fields:?}");
            assert_eq!(BodyLength::of(&header, &raw, true), Ok(BodyLength::None));
        }
    }

    #[test]
    fn a_folded_line_is_not_a_field() {
        let (header, _) = response(200, &[("Transfer-Encoding", "identity")]);
        for (folded, expected) in [
            ("X: a\r\n Content-Length: 2\r\n", Ok(BodyLength::UntilClose)),
            ("X: a\r\n\tContent-Length: 2\r\nContent-Length: 5\r\n", Ok(BodyLength::Known(5))),
        ] {
            let raw = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n{folded}\r\n");
            assert_eq!(BodyLength::of(&header, raw.as_bytes(), false), expected, "{folded:?}");
        }
    }

    #[test]
    fn bytes_behind_a_response_without_a_body_are_expected_where_it_announces_them() {
        let (length, coding) = (|value| ("Content-Length", value), |value| ("Transfer-Encoding", value));
        for (status, fields, may) in [
            (204, &[][..], false),
            (204, &[length("0")], false),
            (204, &[length("5")], true),
            (204, &[coding("chunked")], true),
            (304, &[length("5")], false),
            (304, &[coding("chunked")], true),
            (200, &[coding("chunked")], false),
        ] {
            let (header, raw) = response(status, fields);
            assert_eq!(may_leave_bytes(&header), may, "{status} {fields:?}");
            let none = BodyLength::of(&header, &raw, false) == Ok(BodyLength::None);
            assert_eq!(none, status != 200, "{status} {fields:?}");
        }
    }
}
