//! The credential that a request carries, copied out of it, and compared if several places of the request carry one.

use std::fmt;

use thiserror::Error;

use crate::domain::{Presented, Secret};

/// The longest value of `api_user` or `api_key`, in decoded bytes.
pub const LONGEST_VALUE: usize = 4096;

/// The reason why the credentials of a request can't be used. Each is a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Two places of the request, or two parameters of the same name, carry different credentials.
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
    /// `api_user` or `api_key` after a `;`, which some backends take for a `&` and others for a part of a value.
    #[error("api_user and api_key must be separated by &")]
    Ambiguous,
}

/// The username and the secret that a request presented, owned. The secret is wiped when dropped.
#[derive(Clone)]
pub struct PresentedCredential {
    username: Vec<u8>,
    secret: Secret,
}

impl PresentedCredential {
    pub(crate) fn new(username: Vec<u8>, secret: Secret) -> PresentedCredential {
        PresentedCredential { username, secret }
    }

    /// Copies a credential out of the buffer in which it was received.
    pub fn copy_of(presented: Presented<'_>) -> PresentedCredential {
        PresentedCredential {
            username: presented.username.to_vec(),
            secret: Secret::new(presented.secret.to_vec()),
        }
    }

    /// The credential, borrowed for a check.
    pub fn presented(&self) -> Presented<'_> {
        Presented { username: &self.username, secret: self.secret.expose() }
    }
}

impl fmt::Debug for PresentedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.presented(), f)
    }
}

/// The credential of one request, gathered from its header, query and body. Several places may carry the same one.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestCredential<'a>(Option<Presented<'a>>);

impl<'a> RequestCredential<'a> {
    /// A request without a credential so far.
    pub fn new() -> RequestCredential<'a> {
        RequestCredential(None)
    }

    /// Adds the credential in one more place of the request. Usernames are compared without regard to ASCII case.
    ///
    /// # Errors
    /// [`CredentialError::Conflict`] if another place carries another credential.
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

    /// The credential of the request, if it carries one.
    pub fn credential(self) -> Option<Presented<'a>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_agree_or_conflict() {
        let joe = Presented { username: b"joe", secret: b"1" };
        let mut gathered = RequestCredential::new();
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
