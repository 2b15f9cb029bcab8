//! The `Authorization` header of the scheme Basic (RFC 7617).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;
use zeroize::Zeroize;

use crate::domain::Presented;

/// The bytes of a [`BasicBuffer`], which the longest valid username and password fit in.
pub const BASIC_BUFFER: usize = 768;

/// A buffer for [`basic`]. What was decoded into it is wiped when it is dropped.
pub struct BasicBuffer {
    bytes: [u8; BASIC_BUFFER],
    /// The number of bytes that may have been written.
    used: usize,
}

impl Default for BasicBuffer {
    fn default() -> BasicBuffer {
        BasicBuffer { bytes: [0; BASIC_BUFFER], used: 0 }
    }
}

impl Drop for BasicBuffer {
    fn drop(&mut self) {
        self.bytes[..self.used].zeroize();
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes the value of an `Authorization` header of the scheme Basic (RFC 7617) into `buffer`.
///
/// The scheme is case-insensitive, the first colon ends the username, and base64 padding may be missing. Nothing is allocated.
///
/// # Errors
/// [`BasicError`]. It is [`BasicError::TooLong`] if the decoded text could be longer than [`BASIC_BUFFER`], which no valid credential is.
pub fn basic<'b>(value: &[u8], buffer: &'b mut BasicBuffer) -> Result<Presented<'b>, BasicError> {
    let value = value.trim_ascii();
    let end_of_scheme = value.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end_of_scheme);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(BasicError::OtherScheme);
    }
    let encoded = rest.trim_ascii_start();
    let longest = encoded.len().div_ceil(4) * 3;
    if longest > BASIC_BUFFER {
        return Err(BasicError::TooLong);
    }
    // Of an invalid text, a part may have been decoded.
    buffer.used = buffer.used.max(longest);
    let room = &mut buffer.bytes[..longest];
    let len = BASE64.decode_slice(encoded, room).map_err(|_| BasicError::Malformed)?;
    let decoded = &buffer.bytes[..len];
    let colon = memchr::memchr(b':', decoded).ok_or(BasicError::Malformed)?;
    Ok(Presented { username: &decoded[..colon], secret: &decoded[colon + 1..] })
}

/// The reason why an `Authorization` header contains no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BasicError {
    /// Longer than the buffer.
    #[error("Authorization header is too long")]
    TooLong,
    /// Another scheme than Basic, such as `Bearer`.
    #[error("Authorization must use the scheme Basic")]
    OtherScheme,
    /// Not base64, or without a colon.
    #[error("Authorization header is malformed")]
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<(String, String), BasicError> {
        let mut buffer = BasicBuffer::default();
        let presented = basic(value.as_bytes(), &mut buffer)?;
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Ok((text(presented.username), text(presented.secret)))
    }

    #[test]
    fn basic_headers() {
        let joe = Ok(("joe".to_owned(), "a:b".to_owned()));
        for value in ["Basic am9lOmE6Yg==", "bASIC \t am9lOmE6Yg== ", "Basic am9lOmE6Yg"] {
            assert_eq!(read(value), joe, "{value}");
        }
        assert_eq!(read("Basic Og=="), Ok((String::new(), String::new())));
    }

    #[test]
    fn other_headers() {
        use BasicError::*;
        let cases = [
            ("", OtherScheme),
            ("Bearer am9lOmE6Yg==", OtherScheme),
            ("Basically am9lOmE6Yg==", OtherScheme),
            ("Basic", Malformed),
            ("Basic ", Malformed),
            ("Basic am9l", Malformed),
            ("Basic am9lOmE6Yg== x", Malformed),
            ("Basic am9lOm=6Yg==", Malformed),
            ("Basic a", Malformed),
        ];
        for (value, expected) in cases {
            assert_eq!(read(value), Err(expected), "{value}");
        }
    }

    #[test]
    fn the_buffer_bounds_the_header() {
        let fits = format!("Basic {}", BASE64.encode([b':'; BASIC_BUFFER]));
        assert!(read(&fits).is_ok());
        let over = format!("Basic {}", BASE64.encode([b':'; BASIC_BUFFER + 1]));
        assert_eq!(read(&over), Err(BasicError::TooLong));
        let huge = format!("Basic {}", "A".repeat(100_000));
        assert_eq!(read(&huge), Err(BasicError::TooLong));
    }
}
