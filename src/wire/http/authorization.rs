//! The `Authorization` header of the scheme Basic (RFC 7617).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

use crate::domain::Presented;

/// The size of a buffer for [`basic`] that holds the longest valid username and password, in bytes.
pub const BASIC_BUFFER: usize = 768;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes the value of an `Authorization` header of the scheme Basic (RFC 7617) into `buffer`.
///
/// The scheme is case-insensitive, the first colon ends the username, and base64 padding may be missing. Nothing is allocated;
/// the caller wipes the buffer.
///
/// # Errors
/// [`BasicError`]. It is [`BasicError::TooLong`] if the decoded text could be longer than `N`, which no valid credential is
/// with [`BASIC_BUFFER`].
pub fn basic<'b, const N: usize>(value: &[u8], buffer: &'b mut [u8; N]) -> Result<Presented<'b>, BasicError> {
    let value = value.trim_ascii();
    let end_of_scheme = value.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end_of_scheme);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(BasicError::OtherScheme);
    }
    let encoded = rest.trim_ascii_start();
    if encoded.len().div_ceil(4) * 3 > N {
        return Err(BasicError::TooLong);
    }
    let len = BASE64.decode_slice(encoded, &mut buffer[..]).map_err(|_| BasicError::Malformed)?;
    let decoded = &buffer[..len];
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
        let mut buffer = [0; BASIC_BUFFER];
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
        assert_eq!(basic(b"Basic Og==", &mut [0; 0]).unwrap_err(), BasicError::TooLong);
        let huge = format!("Basic {}", "A".repeat(100_000));
        assert_eq!(read(&huge), Err(BasicError::TooLong));
    }
}
