//! Credentials as clients present them.
//!
//! Two types stand for one: [`Presented`] borrows it from the buffer that it was read from, and [`PresentedCredential`] owns it where
//! that buffer doesn't live long enough (a form, an AUTH exchange). Two more are about reading it: `wire::form` gathers the username
//! and the secret separately (`CredentialHalves`), since they are parameters of their own, and
//! [`QueryCredential`](crate::wire::QueryCredential) is a query split into credential and rest.

use std::fmt;

use thiserror::Error;

use crate::domain::{Presented, Secret};

/// The longest value of `api_user` or `api_key`, in decoded bytes.
pub const LONGEST_VALUE: usize = 4096;

/// The reason why the credentials of a request can't be used. Each is a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    /// Different credentials in two places of the request, or in two parameters of the same name.
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

/// The credential of a request, from two places that may carry one. Both may carry the same one. Usernames are compared without
/// regard to ASCII case.
///
/// # Errors
/// [`CredentialError::Conflict`] if the places carry different credentials.
pub fn one_credential<'a>(
    one: Option<Presented<'a>>,
    other: Option<Presented<'a>>,
) -> Result<Option<Presented<'a>>, CredentialError> {
    match (one, other) {
        (Some(one), Some(other))
            if !one.username.eq_ignore_ascii_case(other.username) || one.secret != other.secret =>
        {
            Err(CredentialError::Conflict)
        }
        _ => Ok(one.or(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_agree_or_conflict() {
        let joe = Presented { username: b"joe", secret: b"1" };
        assert!(one_credential(None, None).unwrap().is_none());
        let same = Presented { username: b"JOE", secret: b"1" };
        for (one, other) in [(Some(joe), None), (None, Some(joe)), (Some(joe), Some(same))] {
            assert_eq!(one_credential(one, other).unwrap().unwrap().username, b"joe");
        }
        for other in
            [Presented { username: b"jim", secret: b"1" }, Presented { username: b"joe", secret: b"2" }]
        {
            let conflict = one_credential(Some(joe), Some(other)).err();
            assert_eq!(conflict, Some(CredentialError::Conflict));
        }
    }
}
