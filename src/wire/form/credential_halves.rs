//! The two halves of a credential, `api_user` and `api_key`, as they are read from a query or a form.

use zeroize::Zeroizing;

use super::key::CredentialKey;
use crate::domain::Secret;
use crate::wire::credential::{CredentialError, LONGEST_VALUE, PresentedCredential};

/// The byte that overwrites a credential's value.
pub(crate) const FILLER: u8 = b'x';

/// The room that nearly every value fits into, in bytes.
const USUAL_VALUE: usize = 64;

/// The two halves of a credential, collected from the parameters of a query or a form.
#[derive(Default)]
pub(crate) struct CredentialHalves {
    username: Option<Secret>,
    secret: Option<Secret>,
    accepts_any: bool,
}

impl CredentialHalves {
    /// Makes no value an error from now on, and keeps none.
    pub(crate) fn accept_any(&mut self) {
        self.accepts_any = true;
    }

    /// Returns true if no value is an error.
    pub(crate) fn accepts_any(&self) -> bool {
        self.accepts_any
    }

    /// A buffer for the next value.
    pub(crate) fn buffer(&self) -> CredentialValueBuffer {
        match self.accepts_any {
            true => CredentialValueBuffer { bytes: Zeroizing::default(), keeps: false },
            false => CredentialValueBuffer::with_room_for(USUAL_VALUE),
        }
    }

    /// Adds a decoded value.
    pub(crate) fn put(&mut self, key: CredentialKey, value: CredentialValue) -> Result<(), CredentialError> {
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

    /// Returns true if neither half was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.username.is_none() && self.secret.is_none()
    }

    /// The credential if both halves were added; `None` if neither was.
    pub(crate) fn whole(self) -> Result<Option<PresentedCredential>, CredentialError> {
        match (self.username, self.secret) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(CredentialError::NoSecret),
            (None, Some(_)) => Err(CredentialError::NoUsername),
            (Some(username), Some(secret)) => {
                Ok(Some(PresentedCredential::new(username.expose().to_vec(), secret)))
            }
        }
    }
}

/// The decoded value of a credential parameter, bounded by [`LONGEST_VALUE`].
pub(crate) struct CredentialValue(Secret);

/// A value that is being read. The room that it outgrows is wiped.
pub(crate) struct CredentialValueBuffer {
    bytes: Zeroizing<Vec<u8>>,
    /// False if the value is only masked, however long it is.
    keeps: bool,
}

impl CredentialValueBuffer {
    /// A buffer that needs no more room for `len` bytes.
    pub(crate) fn with_room_for(len: usize) -> CredentialValueBuffer {
        CredentialValueBuffer {
            bytes: Zeroizing::new(Vec::with_capacity(len.min(LONGEST_VALUE))),
            keeps: true,
        }
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<(), CredentialError> {
        if !self.keeps {
            return Ok(());
        }
        if bytes.len() > LONGEST_VALUE - self.bytes.len() {
            return Err(CredentialError::TooLong);
        }
        let len = self.bytes.len() + bytes.len();
        if len > self.bytes.capacity() {
            // A vector that grows by itself leaves a copy behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(len.next_power_of_two()));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn finish(mut self) -> CredentialValue {
        CredentialValue(Secret::new(std::mem::take(&mut self.bytes)))
    }
}
