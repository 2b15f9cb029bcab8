//! Credentials as clients present them: held while a request is handled, and compared where several places carry one.

use std::fmt;

use thiserror::Error;

use crate::domain::{Presented, Secret};

/// The longest value of `api_user` or `api_key` that is read, in decoded bytes.
pub const LONGEST_VALUE: usize = 4096;

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
pub struct PresentedCredential {
    username: Vec<u8>,
    secret: Secret,
}

impl PresentedCredential {
    pub(crate) fn new(username: Vec<u8>, secret: Secret) -> PresentedCredential {
        PresentedCredential { username, secret }
    }

    /// Copies what was presented, to keep it longer than the buffer it came from.
    pub fn copy_of(presented: Presented<'_>) -> PresentedCredential {
        PresentedCredential {
            username: presented.username.to_vec(),
            secret: Secret::new(presented.secret.to_vec()),
        }
    }

    /// As it is checked.
    pub fn presented(&self) -> Presented<'_> {
        Presented { username: &self.username, secret: self.secret.expose() }
    }
}

impl fmt::Debug for PresentedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.presented(), f)
    }
}

/// Gathers the credentials of one request from its header, query and body: the same one in two places is fine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestCredential<'a>(Option<Presented<'a>>);

impl<'a> RequestCredential<'a> {
    /// Nothing yet.
    pub fn new() -> RequestCredential<'a> {
        RequestCredential(None)
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
