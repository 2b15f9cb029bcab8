//! A verified principal, as the cache and the connections hold it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::digest::{Digest, Fingerprint};
use super::live_session::LiveSession;
use crate::domain::{Canonical, Entry, Moment, Permissions, Principal, PrincipalId, StoredHash};
use crate::state::epoch::{Epochs, Shard};
use crate::state::uses::UseMarks;

/// A principal whose secret was verified, as it was in the store at one epoch.
// Each check reads only what is in here, which is small, so that thousands of them stay in the processor's cache.
#[repr(C)]
pub struct Verified {
    seen: u64,
    loaded_at: Moment,
    user_shard: Shard,
    account_shard: Shard,
    /// Its effective permissions: its own, within the rights of its account.
    pub effective: Permissions,
    /// The secret that was verified, and the hash that it was verified against.
    pub proof: Proof,
    /// The session that the secret is the token of, if it is one and not a password. It ends with the session.
    pub session: Option<Box<LiveSession>>,
    /// The row and the names.
    pub identity: Arc<Identity>,
}

/// A principal and its names in the forms that are asked for.
pub struct Identity {
    /// Its name in canonical form.
    pub name: Canonical,
    /// Its row in the store.
    pub principal: Principal,
    /// The username as a header value.
    pub user_value: Bytes,
    /// The account holder's username as a header value.
    pub account_value: Bytes,
    /// The networks for which its use was noted.
    pub uses: UseMarks,
}

/// A secret and a stored hash that were found to match.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Proof {
    /// The digest of the secret, presented under the principal's name.
    pub digest: Digest,
    /// The fingerprint of the stored hash.
    pub fingerprint: Fingerprint,
}

impl Verified {
    /// A principal as read after `seen` was taken from `epochs`, for whom `proof` holds.
    pub fn new(principal: Principal, proof: Proof, seen: u64, epochs: &Epochs, now: Moment) -> Verified {
        let name = principal.name.canonical();
        Verified {
            seen,
            loaded_at: now,
            user_shard: epochs.shard(&name),
            account_shard: epochs.shard(&principal.account_name.canonical()),
            effective: principal.effective(),
            proof,
            session: None,
            identity: Arc::new(Identity {
                name,
                user_value: Bytes::copy_from_slice(principal.name.as_str().as_bytes()),
                account_value: Bytes::copy_from_slice(principal.account_name.as_str().as_bytes()),
                principal,
                uses: UseMarks::default(),
            }),
        }
    }

    /// The same principal, read at the same epoch, by a session. Its proof is the token's.
    pub fn with_session(&self, session: LiveSession) -> Verified {
        let proof = Proof { digest: Digest::of_session(&session.digest), ..self.proof };
        Verified { proof, session: Some(Box::new(session)), ..self.unshared() }
    }

    /// A copy that shares no memory with this one, except for the last use of its session.
    pub(super) fn unshared(&self) -> Verified {
        let Identity { name, principal, user_value, account_value, uses: _ } = &*self.identity;
        Verified {
            session: self.session.clone(),
            identity: Arc::new(Identity {
                name: *name,
                principal: principal.clone(),
                user_value: Bytes::copy_from_slice(user_value),
                account_value: Bytes::copy_from_slice(account_value),
                uses: UseMarks::default(),
            }),
            ..*self
        }
    }

    /// The same principal, read at the same epoch, with a proof for the hash that took the place of its own.
    pub fn with_renewed(&self, hash: StoredHash, fingerprint: Fingerprint) -> Verified {
        let Identity { name, principal, user_value, account_value, uses: _ } = &*self.identity;
        Verified {
            proof: Proof { fingerprint, ..self.proof },
            session: None,
            identity: Arc::new(Identity {
                name: *name,
                principal: Principal { hash, ..principal.clone() },
                user_value: user_value.clone(),
                account_value: account_value.clone(),
                uses: UseMarks::default(),
            }),
            ..*self
        }
    }

    /// Returns true if `row` is still the same principal, and not another one that was given the name later.
    pub fn is(&self, row: &Principal) -> bool {
        let known = &self.identity.principal;
        known.kind == row.kind && known.account == row.account
    }

    /// Returns true if it was verified by a session of that principal and entry.
    #[inline]
    pub fn is_by_session(&self, principal: PrincipalId, entry: Entry) -> bool {
        let of_entry = self.session.as_ref().is_some_and(|session| session.entry == entry);
        of_entry && self.identity.principal.id() == principal
    }

    /// Returns true if nothing that it depends on has changed since it was read.
    #[inline]
    pub fn is_of_now(&self, epochs: &Epochs) -> bool {
        epochs.is_fresh_at(self.seen, self.user_shard, self.account_shard)
    }

    /// The time since it was read.
    #[inline]
    pub fn age(&self, now: Moment) -> Duration {
        now.since(self.loaded_at)
    }
}
