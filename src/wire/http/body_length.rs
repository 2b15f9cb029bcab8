//! The length of a body by its header (RFC 9112 section 6.3), for requests and responses: the one place where the end of a message is
//! found.

use http::Version;
use thiserror::Error;

use super::field_kind::FieldKind;
use super::header_fields::HeaderFields;

/// The way in which the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// Without a body.
    #[default]
    None,
    /// A body of so many bytes.
    Known(u64),
    /// Ended by its last chunk.
    Chunked,
    /// The end of the stream or connection ends it.
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
    /// The length of the body of a request over HTTP/1. A recipient may repair some requests that are refused here. Two that repair
    /// them differently allow request smuggling.
    ///
    /// # Errors
    /// The reason of a 400: another parser could find the end elsewhere.
    pub fn of_request(fields: &HeaderFields, version: Version) -> Result<BodyLength, &'static str> {
        let mut lengths = fields.all(FieldKind::ContentLength);
        let length = lengths.next();
        let number = length.and_then(|length| if length.len() <= 19 { number(length) } else { None });
        if lengths.next().is_some() || length.is_some() && number.is_none() {
            return Err("Invalid Content-Length: it must be one decimal number");
        }
        let mut codings = fields.all(FieldKind::TransferEncoding);
        let Some(coding) = codings.next() else {
            return Ok(number.map_or(BodyLength::None, BodyLength::Known));
        };
        let chunked = is_chunked(coding) && codings.next().is_none();
        if !chunked || version == Version::HTTP_10 || number.is_some() {
            return Err(
                "Invalid Transfer-Encoding: it must be `chunked`, once, in HTTP/1.1 and without Content-Length",
            );
        }
        Ok(BodyLength::Chunked)
    }

    /// The length of the body of a response. `to_head`: the request was HEAD.
    ///
    /// # Errors
    /// [`LengthError`]
    pub fn of_response(fields: &HeaderFields, status: u16, to_head: bool) -> Result<BodyLength, LengthError> {
        if to_head || status < 200 || matches!(status, 204 | 304) {
            return Ok(BodyLength::None);
        }
        // `identity` is no coding, and empty elements of a list say nothing (RFC 9110 section 5.6.1.2).
        let mut codings = fields
            .elements(FieldKind::TransferEncoding)
            .filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        // Chunked ends the body, so nothing follows it (RFC 9112 section 7).
        let last = fields.elements(FieldKind::TransferEncoding).last();
        match (codings.next(), codings.next()) {
            (None, _) => one_of(fields.all(FieldKind::ContentLength)),
            (Some(_), None) if last.is_some_and(is_chunked) => Ok(BodyLength::Chunked),
            _ => Err(LengthError::Coding),
        }
    }
}

/// Returns true if bytes may follow a response that has no body: a backend that announces one may send it. They are not the next
/// response.
pub fn may_leave_bytes(fields: &HeaderFields, status: u16) -> bool {
    let coded = fields.contains(FieldKind::TransferEncoding);
    match status {
        204 => {
            let sized = fields.contains(FieldKind::ContentLength);
            coded || sized && one_of(fields.all(FieldKind::ContentLength)) != Ok(BodyLength::Known(0))
        }
        304 => coded,
        _ => false,
    }
}

/// The single value of a `Content-Length` that repeats it; `None` if it is no length.
pub fn merged_length(value: &[u8]) -> Option<&[u8]> {
    if number(value).is_some() {
        return Some(value);
    }
    one_of(std::iter::once(value)).ok()?;
    Some(value.split(|b| *b == b',').next().unwrap_or_default().trim_ascii())
}

fn is_chunked(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"chunked")
}

/// The length that all values agree on, each of which may be a list (RFC 9110 section 8.6).
fn one_of<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<BodyLength, LengthError> {
    let mut values = values.peekable();
    let first = values.next_if(|value| number(value).is_some()).and_then(number);
    let mut length = first.map_or(BodyLength::UntilClose, BodyLength::Known);
    for value in values.flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii) {
        let known = BodyLength::Known(number(value).ok_or(LengthError::Length)?);
        if length != BodyLength::UntilClose && length != known {
            return Err(LengthError::Length);
        }
        length = known;
    }
    Ok(length)
}

/// A number of decimal digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let step = |value: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, step) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&str, &str)]) -> HeaderFields {
        let mut all = HeaderFields::default();
        for (name, value) in fields {
            all.append(name.as_bytes(), value.as_bytes());
        }
        all
    }

    const fn length(value: &'static str) -> (&'static str, &'static str) {
        ("Content-Length", value)
    }

    const fn coding(value: &'static str) -> (&'static str, &'static str) {
        ("Transfer-Encoding", value)
    }

    #[test]
    fn a_request_has_one_length_or_one_coding() {
        use BodyLength::{Chunked, Known, None};
        let of = |list: &[(&str, &str)], version| BodyLength::of_request(&fields(list), version);
        for (list, expected) in [
            (&[][..], None),
            (&[length("0")], Known(0)),
            (&[length("0012345")], Known(12345)),
            (&[coding("Chunked")], Chunked),
        ] {
            assert_eq!(of(list, Version::HTTP_11), Ok(expected), "{list:?}");
        }
        for list in [
            &[length("1"), length("1")][..],
            &[length("1, 1")],
            &[length("+1")],
            &[length("")],
            &[length("1 2")],
            &[length("99999999999999999999")],
            &[length("1"), coding("chunked")],
            &[coding("chunked, chunked")],
            &[coding("chunked"), coding("identity")],
            &[coding("identity")],
            &[coding("")],
        ] {
            assert!(of(list, Version::HTTP_11).is_err(), "{list:?}");
        }
        assert!(of(&[coding("chunked")], Version::HTTP_10).is_err());
    }

    // Case C5: a response's lengths are merged, `identity` is ignored, and nonsense is an error.
    #[test]
    fn one_end_of_a_response_is_found_or_none() {
        use BodyLength::{Chunked, Known, UntilClose};
        for (list, expected) in [
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
            assert_eq!(BodyLength::of_response(&fields(list), 200, false), expected, "{list:?}");
            assert_eq!(BodyLength::of_response(&fields(list), 200, true), Ok(BodyLength::None));
        }
    }

    // Case C13: 204 and 304 have no body, whatever they announce.
    #[test]
    fn bytes_behind_a_response_without_a_body_are_expected_where_it_announces_them() {
        for (status, list, may) in [
            (204, &[][..], false),
            (204, &[length("0")], false),
            (204, &[length("5")], true),
            (204, &[coding("chunked")], true),
            (304, &[length("5")], false),
            (304, &[coding("chunked")], true),
            (200, &[coding("chunked")], false),
        ] {
            let list = fields(list);
            assert_eq!(may_leave_bytes(&list, status), may, "{status} {list:?}");
            let none = BodyLength::of_response(&list, status, false) == Ok(BodyLength::None);
            assert_eq!(none, status != 200, "{status} {list:?}");
        }
    }
}
