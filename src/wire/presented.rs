//! Credentials as HTTP clients present them, and what is said when they contradict themselves.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;
use zeroize::Zeroizing;

use super::form::CredentialKey;
use crate::domain::{Presented, Secret};

/// The longest value of `api_user` or `api_key` that is read, in decoded bytes.
pub const LONGEST_VALUE: usize = 4096;

/// A buffer for [`basic`] of this size holds the longest username and password that can be anybody's.
pub const BASIC_BUFFER: usize = 768;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes the value of an `Authorization` header of the scheme Basic (RFC 7617) into `buffer`.
///
/// The scheme is read in any case, the first colon ends the username, and base64 padding may be missing. Nothing is
/// allocated; the caller wipes the buffer.
///
/// # Errors
/// [`BasicError`]; [`BasicError::TooLong`] where the decoded text could be longer than `N`, which no valid credential
/// is with [`BASIC_BUFFER`].
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

/// Why an `Authorization` header gives no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BasicError {
    /// Longer than the buffer.
    #[error("Authorization header is too long")]
    TooLong,
    /// `Bearer`, or whatever else isn't Basic.
    #[error("Authorization must use the scheme Basic")]
    OtherScheme,
    /// Not base64, or no colon in it.
    #[error("Authorization header is malformed")]
    Malformed,
}

/// Why the credentials of a request can't be used; all of them are 400 to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Two places of the request, or two parameters of the same name, differ.
    #[error("the request carries different credentials")]
    Conflict,
    /// `api_user` without `api_key`.
    #[error("api_user is given without api_key")]
    NoSecret,
    /// `api_key` without `api_user`.
    #[error("api_key is given without api_user")]
    NoUsername,
    /// A value longer than [`LONGEST_VALUE`].
    #[error("api_user or api_key is too long")]
    TooLong,
    /// `api_user` or `api_key` after a `;`, which some backends take for a `&` and others for part of a value.
    #[error("api_user and api_key must be separated by &")]
    Ambiguous,
}

/// A credential that is held while a request is handled. The secret is wiped when dropped.
#[derive(Clone)]
pub struct Held {
    username: Vec<u8>,
    secret: Secret,
}

impl Held {
    /// Copies what was presented, to keep it longer than the buffer it came from.
    pub fn copy_of(presented: Presented<'_>) -> Held {
        Held { username: presented.username.to_vec(), secret: Secret::new(presented.secret.to_vec()) }
    }

    /// As it is checked.
    pub fn presented(&self) -> Presented<'_> {
        Presented { username: &self.username, secret: self.secret.expose() }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.presented(), f)
    }
}

/// Gathers the credentials of one request from its header, query and body: the same one in two places is fine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gathered<'a>(Option<Presented<'a>>);

impl<'a> Gathered<'a> {
    /// Nothing yet.
    pub fn new() -> Gathered<'a> {
        Gathered(None)
    }

    /// Adds what one more place of the request carries. Usernames are the same without regard to ASCII case.
    ///
    /// # Errors
    /// [`CredentialError::Conflict`] where another place carried another credential.
    pub fn add(&mut self, presented: Presented<'a>) -> Result<(), CredentialError> {
        match self.0 {
            None => self.0 = Some(presented),
            Some(first) => {
                let same_name = first.username.eq_ignore_ascii_case(presented.username);
                if !same_name || first.secret != presented.secret {
                    return Err(CredentialError::Conflict);
                }
            }
        }
        Ok(())
    }

    /// The one credential of the request, where it carries any.
    pub fn credential(self) -> Option<Presented<'a>> {
        self.0
    }
}

/// The two halves of a credential as they turn up among the parameters of a query or a form.
#[derive(Default)]
pub(crate) struct Halves {
    username: Option<Secret>,
    secret: Option<Secret>,
    accepts_any: bool,
}

impl Halves {
    /// Nothing about the values is an error from now on, and none is kept.
    pub(crate) fn accept_any(&mut self) {
        self.accepts_any = true;
    }

    /// Whether no value is judged.
    pub(crate) fn accepts_any(&self) -> bool {
        self.accepts_any
    }

    /// For the next value.
    pub(crate) fn buffer(&self) -> ValueBuffer {
        match self.accepts_any {
            true => ValueBuffer { bytes: Zeroizing::default(), keeps: false },
            false => ValueBuffer::with_room_for(LONGEST_VALUE),
        }
    }

    /// Takes a decoded value.
    pub(crate) fn put(&mut self, key: CredentialKey, value: Value) -> Result<(), CredentialError> {
        let half = match key {
            CredentialKey::Username => &mut self.username,
            CredentialKey::Secret => &mut self.secret,
        };
        match half {
            None => *half = Some(value.0),
            Some(first) if self.accepts_any || *first == value.0 => {}
            Some(_) => return Err(CredentialError::Conflict),
        }
        Ok(())
    }

    /// Whether neither half turned up yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.username.is_none() && self.secret.is_none()
    }

    /// The credential, where both halves turned up; `None` where neither did.
    pub(crate) fn whole(self) -> Result<Option<Held>, CredentialError> {
        match (self.username, self.secret) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(CredentialError::NoSecret),
            (None, Some(_)) => Err(CredentialError::NoUsername),
            (Some(username), Some(secret)) => Ok(Some(Held { username: username.expose().to_vec(), secret })),
        }
    }
}

/// The decoded value of a credential parameter, bounded by [`LONGEST_VALUE`].
pub(crate) struct Value(Secret);

/// A value while it is read. Its buffer has all its room from the start, since a growing one leaves copies behind.
pub(crate) struct ValueBuffer {
    bytes: Zeroizing<Vec<u8>>,
    /// False where it is masked, however long it is, and not read.
    keeps: bool,
}

impl ValueBuffer {
    /// Room for `len` bytes, or for the longest value that is read.
    pub(crate) fn with_room_for(len: usize) -> ValueBuffer {
        ValueBuffer { bytes: Zeroizing::new(Vec::with_capacity(len.min(LONGEST_VALUE))), keeps: true }
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<(), CredentialError> {
        if !self.keeps {
            return Ok(());
        }
        if bytes.len() > LONGEST_VALUE - self.bytes.len() {
            return Err(CredentialError::TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn finish(self) -> Value {
        Value(Secret::new(self.bytes.to_vec()))
    }
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

    #[test]
    fn places_agree_or_conflict() {
        let joe = Presented { username: b"joe", secret: b"1" };
        let mut gathered = Gathered::new();
        assert!(gathered.credential().is_none());
        gathered.add(joe).unwrap();
        gathered.add(Presented { username: b"JOE", secret: b"1" }).unwrap();
        assert_eq!(gathered.credential().unwrap().username, b"joe");
        for other in
            [Presented { username: b"jim", secret: b"1" }, Presented { username: b"joe", secret: b"2" }]
        {
            assert_eq!(gathered.add(other), Err(CredentialError::Conflict));
        }
    }
}
