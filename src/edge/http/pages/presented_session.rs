//! The session that a request presents by its cookies.

use crate::domain::SessionCookie;
use crate::wire::{FieldKind, RequestHead, cookies};

/// The session that a request presents.
#[derive(Debug)]
pub enum PresentedSession {
    /// No cookie of that name.
    Absent,
    /// A single cookie, which has the form of one of Gatepost's.
    One(SessionCookie),
    /// A single cookie of another form.
    Malformed,
    /// Different cookies of one name. A script can put a partitioned cookie beside the one that it can't overwrite, so none of them counts.
    Ambiguous,
}

impl PresentedSession {
    /// Reads the cookies of that name.
    pub fn of(request: &RequestHead, name: &str) -> PresentedSession {
        if !request.fields().contains(FieldKind::Cookie) {
            return PresentedSession::Absent;
        }
        let mut values = cookies(request.fields().all(FieldKind::Cookie), name);
        let Some(first) = values.next() else { return PresentedSession::Absent };
        match SessionCookie::parse(first) {
            _ if values.any(|value| value != first) => PresentedSession::Ambiguous,
            Some(cookie) => PresentedSession::One(cookie),
            None => PresentedSession::Malformed,
        }
    }

    /// The session's cookie, if it is the only one.
    pub fn cookie(self) -> Option<SessionCookie> {
        match self {
            PresentedSession::One(cookie) => Some(cookie),
            PresentedSession::Absent | PresentedSession::Malformed | PresentedSession::Ambiguous => None,
        }
    }
}
