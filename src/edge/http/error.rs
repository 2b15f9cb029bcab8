//! Errors that Gatepost answers itself: one table from error to status, text and `Retry-After`.

use std::borrow::Cow;
use std::time::Duration;

use crate::config::CredentialPlaces;
use crate::domain::{Denial, Permission, Unavailable};
use crate::wire::HeadError;

/// The status in metrics and log for a client that went away before its answer.
pub const CLIENT_GONE: u16 = 499;

/// An answer that Gatepost gives itself, in place of a backend's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request is invalid or ambiguous. The text is for the client.
    Malformed(Cow<'static, str>),
    /// The request presents no credential.
    NoCredential,
    /// Its credential was denied. The reason is for the log only.
    BadCredential,
    /// Either of these two, where no Basic login is accepted. The text is for the client.
    Unauthenticated(Cow<'static, str>),
    /// The credential lacks the permission.
    Forbidden(Permission),
    /// The credential is not the account holder's, and only that one manages credentials.
    NotHolder,
    /// A page of another site had a browser send it, with a login that the browser adds by itself. Answered before the login is
    /// checked. With the places where the request could have a credential.
    CrossSite(CredentialPlaces),
    /// A page of another origin had a browser send it, with the cookie of a session.
    OtherOrigin,
    /// The session ended while the request was in progress, before its response.
    SessionEnded,
    /// A script that would become a service worker, and could replace the login page.
    ServiceWorker,
    /// Nothing has this name. The text is for the client.
    NotFound(Cow<'static, str>),
    /// The path doesn't support the method. It supports these.
    Method(&'static str),
    /// The client took too long to send its request.
    Timeout,
    /// The client disconnected within its request. Nobody reads an answer.
    ClientGone,
    /// The username is taken.
    Conflict(Cow<'static, str>),
    /// The request names another host than the one that this entry answers to.
    Misdirected,
    /// The body is larger than allowed.
    TooLarge,
    /// Too many failed logins. The client may try again after that time.
    Throttled(Duration),
    /// The header is larger than allowed.
    HeaderTooLarge,
    /// The credential couldn't be checked.
    Unavailable(Unavailable),
    /// Gatepost has no room for the request, or its store can't be written. The text is for the client.
    Overloaded(Cow<'static, str>),
    /// No backend accepted the request, or its response is invalid.
    BadGateway,
    /// The backend took too long to respond.
    GatewayTimeout,
}

impl Refusal {
    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::NoCredential
            | Refusal::BadCredential
            | Refusal::Unauthenticated(_)
            | Refusal::SessionEnded => 401,
            Refusal::Forbidden(_)
            | Refusal::NotHolder
            | Refusal::CrossSite(_)
            | Refusal::OtherOrigin
            | Refusal::ServiceWorker => 403,
            Refusal::NotFound(_) => 404,
            Refusal::Method(_) => 405,
            Refusal::Timeout => 408,
            Refusal::Conflict(_) => 409,
            Refusal::TooLarge => 413,
            Refusal::Misdirected => 421,
            Refusal::Throttled(_) => 429,
            Refusal::HeaderTooLarge => 431,
            Refusal::ClientGone => CLIENT_GONE,
            Refusal::BadGateway => 502,
            Refusal::Unavailable(_) | Refusal::Overloaded(_) => 503,
            Refusal::GatewayTimeout => 504,
        }
    }

    /// Returns true if the request is in the audit trail, which has denials of credentials.
    pub const fn is_audited(&self) -> bool {
        match self {
            Refusal::NoCredential
            | Refusal::BadCredential
            | Refusal::Unauthenticated(_)
            | Refusal::Forbidden(_)
            | Refusal::NotHolder
            | Refusal::CrossSite(_)
            | Refusal::OtherOrigin
            | Refusal::Throttled(_) => true,
            Refusal::Malformed(_)
            | Refusal::NotFound(_)
            | Refusal::Method(_)
            | Refusal::Timeout
            | Refusal::ClientGone
            | Refusal::Conflict(_)
            | Refusal::Misdirected
            | Refusal::ServiceWorker
            | Refusal::SessionEnded
            | Refusal::TooLarge
            | Refusal::HeaderTooLarge
            | Refusal::Unavailable(_)
            | Refusal::Overloaded(_)
            | Refusal::BadGateway
            | Refusal::GatewayTimeout => false,
        }
    }

    /// The text for the client.
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Refusal::Malformed(reason)
            | Refusal::NotFound(reason)
            | Refusal::Conflict(reason)
            | Refusal::Unauthenticated(reason) => reason.clone(),
            Refusal::NoCredential => "Authentication required".into(),
            Refusal::BadCredential => "Bad username / password".into(),
            Refusal::Forbidden(permission) => format!("Permission denied: {permission} is needed").into(),
            Refusal::NotHolder => "Permission denied: only the account holder manages credentials".into(),
            Refusal::CrossSite(places) => {
                let instead = match (places.form, places.query) {
                    (true, true) => "Send api_user and api_key instead of Basic: in a form, or in the query",
                    (true, false) => "Send api_user and api_key instead of Basic, in a form",
                    (false, true) => "Send api_user and api_key instead of Basic, in the query",
                    (false, false) => "Send it from a page of this origin",
                };
                format!(
                    "Cross-site request refused: a Basic login counts only for requests of this origin \
                     (Origin, Sec-Fetch-Site). {instead}"
                )
                .into()
            }
            Refusal::OtherOrigin => {
                "Cross-site request refused: a session counts only for requests of this origin (Origin, Sec-Fetch-Site)"
                    .into()
            }
            Refusal::SessionEnded => {
                "The session ended while the request was in progress, which may or may not have been carried out"
                    .into()
            }
            Refusal::ServiceWorker => "Service workers are turned off here (web.service_workers)".into(),
            Refusal::Method(allowed) => format!("Method not allowed: use {allowed}").into(),
            Refusal::Timeout => "The request took too long to arrive".into(),
            Refusal::ClientGone => "The client disconnected".into(),
            Refusal::Misdirected => "This host name is not served here".into(),
            Refusal::TooLarge => "The request body is too large".into(),
            Refusal::Throttled(_) => "Too many failed attempts, try again later".into(),
            Refusal::HeaderTooLarge => "The request header is too large".into(),
            Refusal::Unavailable(_) => "Temporarily unavailable, try again".into(),
            Refusal::Overloaded(reason) => reason.clone(),
            Refusal::BadGateway => "No backend accepted the request, or its response is invalid".into(),
            Refusal::GatewayTimeout => "The backend took too long to respond".into(),
        }
    }

    /// `Retry-After` in whole seconds, if the answer has one.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::Throttled(delay) => Some(delay.as_millis().div_ceil(1000).max(1) as u64),
            Refusal::Unavailable(_) | Refusal::Overloaded(_) => Some(1),
            _ => None,
        }
    }

    /// The value of `WWW-Authenticate`, which every 401 has (RFC 9110 section 11.6.1). No browser knows the second scheme.
    pub const fn challenge(&self) -> Option<&'static str> {
        match self {
            Refusal::NoCredential | Refusal::BadCredential => {
                Some("Basic realm=\"Gatepost\", charset=\"UTF-8\"")
            }
            Refusal::Unauthenticated(_) | Refusal::SessionEnded => Some("Parameters realm=\"Gatepost\""),
            _ => None,
        }
    }

    /// The same refusal where these are the places of a credential: without Basic, none asks for a Basic login.
    pub fn of_places(self, places: CredentialPlaces) -> Refusal {
        match self {
            Refusal::NoCredential | Refusal::BadCredential if !places.basic => {
                Refusal::Unauthenticated(self.reason())
            }
            other => other,
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Refusal {
        match denial {
            Denial::Unknown | Denial::Wrong | Denial::Suspended => Refusal::BadCredential,
            Denial::Lacks(permission) => Refusal::Forbidden(permission),
            Denial::Throttled(delay) => Refusal::Throttled(delay),
        }
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Refusal {
        match error {
            HeadError::Malformed(reason) => Refusal::Malformed(reason.into()),
            HeadError::TooLarge | HeadError::TooManyFields => Refusal::HeaderTooLarge,
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(unavailable: Unavailable) -> Refusal {
        Refusal::Unavailable(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_wrong_and_suspended_are_one_answer() {
        let answers = [Denial::Unknown, Denial::Wrong, Denial::Suspended].map(Refusal::from);
        assert!(answers.iter().all(|a| *a == Refusal::BadCredential));
    }

    #[test]
    fn unavailable_is_never_denied() {
        let refusal = Refusal::from(Unavailable::Store);
        assert_eq!((refusal.status(), refusal.retry_after()), (503, Some(1)));
        assert_eq!(refusal.challenge(), None);
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        assert_eq!(Refusal::Throttled(Duration::from_millis(100)).retry_after(), Some(1));
        assert_eq!(Refusal::Throttled(Duration::from_millis(1001)).retry_after(), Some(2));
    }
}
