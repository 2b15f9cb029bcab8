//! The outcome of a decision, and the capability that it grants.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::{
    AccountId, Canonical, Denial, Entry, Permissions, Principal, PrincipalId, PrincipalKind, SessionFacts,
    Unavailable, Username,
};
use crate::state::cache::Verified;

/// A decision about a presented credential.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The credential holds the permission.
    Allowed(Granted),
    /// The credential doesn't hold it, or is not valid. The peer gets one answer for unknown, wrong and suspended.
    Denied(Denial),
    /// No decision is possible now; the peer is told to try again.
    Unavailable(Unavailable),
}

/// A decision about a peer that presents itself as an account holder.
#[derive(Clone, Debug)]
pub enum HolderDecision {
    /// The account holder.
    Holder(Granted),
    /// A valid credential, which manages nothing.
    NotHolder,
    /// An invalid credential.
    Denied(Denial),
    /// No decision is possible now; the peer is told to try again.
    Unavailable(Unavailable),
}

/// Proof that a credential was verified and held what was asked for, at one moment. Only the decision makes it. A clone
/// costs a reference count.
#[derive(Clone)]
pub struct Granted(Arc<Verified>);

impl Granted {
    pub(super) fn new(verified: Arc<Verified>) -> Granted {
        Granted(verified)
    }

    pub(super) fn verified(&self) -> &Arc<Verified> {
        &self.0
    }

    /// Account holder or credential.
    pub fn kind(&self) -> PrincipalKind {
        self.0.identity.principal.kind
    }

    /// The number of the principal: the account holder's, or the credential's.
    pub fn principal(&self) -> PrincipalId {
        self.0.identity.principal.id()
    }

    /// The session that it was granted by, as it is now; `None` for a password.
    pub fn session(&self) -> Option<SessionFacts> {
        self.0.session.as_ref().map(|session| session.facts())
    }

    /// The entry of that session.
    pub fn session_entry(&self) -> Option<Entry> {
        self.0.session.as_ref().map(|session| session.entry)
    }

    /// Has that session know, in this process, that the password was given at that time, in seconds since 1970 UTC.
    pub(in crate::service) fn confirm(&self, at: i64) {
        if let Some(session) = &self.0.session {
            session.clock().confirm(at);
        }
    }

    /// The row of the principal.
    pub(in crate::service) fn row(&self) -> &Principal {
        &self.0.identity.principal
    }

    /// The account it belongs to.
    pub fn account(&self) -> AccountId {
        self.0.identity.principal.account
    }

    /// The account holder's username.
    pub fn account_name(&self) -> &Username {
        &self.0.identity.principal.account_name
    }

    /// Its own username.
    pub fn name(&self) -> &Username {
        &self.0.identity.principal.name
    }

    /// Its own username, as it is found and compared.
    pub fn canonical(&self) -> &Canonical {
        &self.0.identity.name
    }

    /// Its effective permissions at the moment of the decision.
    pub fn permissions(&self) -> Permissions {
        self.0.effective
    }

    /// The value of `X-Gatepost-Account`.
    pub fn account_value(&self) -> &Bytes {
        &self.0.identity.account_value
    }

    /// The value of `X-Gatepost-User`.
    pub fn user_value(&self) -> &Bytes {
        &self.0.identity.user_value
    }

    /// The value of `X-Gatepost-Permissions`.
    pub fn permissions_value(&self) -> Bytes {
        Bytes::from_static(self.0.effective.as_str().as_bytes())
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Granted({}, {})", self.0.identity.principal.name, self.0.effective)
    }
}
