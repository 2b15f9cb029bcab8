//! Errors that Gatepost answers itself: one table from error to status, text and `Retry-After`.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::{Denial, Entry, Permission, Unavailable};

/// Why a request isn't forwarded, or its answer isn't passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It can't be understood, or is ambiguous; the text is for the client.
    Malformed(Cow<'static, str>),
    /// It presents no credential.
    NoCredential,
    /// It presents one that isn't good; which of the reasons is for the log only.
    BadCredential,
    /// The credential lacks the permission.
    Forbidden(Permission),
    /// A credential tried to manage credentials.
    NotHolder,
    /// Another site had a browser send it, with a login that the browser adds by itself. Told before the login is checked.
    CrossSite(Entry),
    /// There is nothing under this path.
    NotFound(Cow<'static, str>),
    /// The method isn't for this path; these are.
    Method(&'static str),
    /// The client took too long over its request.
    Timeout,
    /// The username is taken.
    Conflict(Cow<'static, str>),
    /// The body is larger than is allowed.
    TooLarge,
    /// Too many failures; try again after that time.
    Throttled(Duration),
    /// The header is larger than is allowed.
    HeaderTooLarge,
    /// The check couldn't be made.
    Unavailable(Unavailable),
    /// The gateway itself has no room, or its store can't be written.
    Overloaded(&'static str),
    /// No backend took the request, or its answer can't be understood.
    BadGateway,
    /// The backend took too long over its answer.
    GatewayTimeout,
}

impl Refusal {
    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::NoCredential | Refusal::BadCredential => 401,
            Refusal::Forbidden(_) | Refusal::NotHolder | Refusal::CrossSite(_) => 403,
            Refusal::NotFound(_) => 404,
            Refusal::Method(_) => 405,
            Refusal::Timeout => 408,
            Refusal::Conflict(_) => 409,
            Refusal::TooLarge => 413,
            Refusal::Throttled(_) => 429,
            Refusal::HeaderTooLarge => 431,
            Refusal::BadGateway => 502,
            Refusal::Unavailable(_) | Refusal::Overloaded(_) => 503,
            Refusal::GatewayTimeout => 504,
        }
    }

    /// What the client may know.
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Refusal::Malformed(reason) | Refusal::NotFound(reason) | Refusal::Conflict(reason) => {
                reason.clone()
            }
            Refusal::NoCredential => "Authentication required".into(),
            Refusal::BadCredential => "Bad username / password".into(),
            Refusal::Forbidden(permission) => format!("Permission denied: {permission} is needed").into(),
            Refusal::NotHolder => "Permission denied: only the account holder manages credentials".into(),
            Refusal::CrossSite(Entry::Api) => {
                "Cross-site request refused: a Basic login counts only for requests of this origin \
                 (Origin, Sec-Fetch-Site). Send api_user and api_key instead of Basic: in a form, or in the query"
                    .into()
            }
            Refusal::CrossSite(Entry::Web | Entry::Smtp) => {
                "Cross-site request refused: a Basic login counts only for requests of this origin \
                 (Origin, Sec-Fetch-Site). Send it from a page of this origin"
                    .into()
            }
            Refusal::Method(allowed) => format!("Method not allowed: use {allowed}").into(),
            Refusal::Timeout => "The request took too long".into(),
            Refusal::TooLarge => "The request body is too large".into(),
            Refusal::Throttled(_) => "Too many failed attempts, try again later".into(),
            Refusal::HeaderTooLarge => "The request header is too large".into(),
            Refusal::Unavailable(_) => "Temporarily unavailable, try again".into(),
            Refusal::Overloaded(reason) => (*reason).into(),
            Refusal::BadGateway => "The backend can't be reached".into(),
            Refusal::GatewayTimeout => "The backend took too long".into(),
        }
    }

    /// `Retry-After` in whole seconds, where the answer has one.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Refusal::Throttled(delay) => Some(delay.as_millis().div_ceil(1000).max(1) as u64),
            Refusal::Unavailable(_) | Refusal::Overloaded(_) => Some(1),
            _ => None,
        }
    }

    /// Whether the answer asks for Basic authorization.
    pub const fn challenges(&self) -> bool {
        matches!(self, Refusal::NoCredential | Refusal::BadCredential)
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
        assert!(!refusal.challenges());
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        assert_eq!(Refusal::Throttled(Duration::from_millis(100)).retry_after(), Some(1));
        assert_eq!(Refusal::Throttled(Duration::from_millis(1001)).retry_after(), Some(2));
    }
}
