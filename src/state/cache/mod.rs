//! Principals that were verified lately. Another check of them costs no password check.
//!
//! An entry holds a keyed digest of the secret that was verified and a fingerprint of the stored hash it was verified
//! against, never the secret. Both keys are random and of this process alone. An entry may be believed as long as its epoch
//! ([`super::epoch`]) and its age allow. After that, its digest still proves the secret as long as the row in the store has
//! the same hash, so that a reload costs a read and no password check.
//!
//! A principal by one of its sessions is an entry of its own, by the digest of the session's token. It is believed under the same
//! conditions: a session ends by a change of its principal, which raises the epoch of its name, and its row is read together with the
//! principal's, after the epoch was noted. Besides, the session must not have run out.
//!
//! A connection keeps what it presents again and again in a [`ConnectionMemory`], under the same conditions.

mod denials;
mod digest;
mod live_session;
mod memory;
mod verified;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use moka::policy::EvictionPolicy;

use super::epoch::Epochs;
use crate::domain::{Canonical, Denial, Entry, Moment, SessionCookie, SessionDigest, StoredHash};
use denials::{QuietDenials, RememberedDenials};
use digest::DigestKeys;

pub use denials::Circumstance;
pub use digest::{Digest, Fingerprint};
pub use live_session::{IdleClock, LiveSession};
pub use memory::ConnectionMemory;
pub use verified::{Identity, Proof, Verified};

/// The verified principals, by canonical name and by session, and the secrets that were wrong a moment ago.
pub struct Cache {
    entries: moka::sync::Cache<Canonical, Arc<Verified>, RandomState>,
    sessions: moka::sync::Cache<SessionDigest, Arc<Verified>, RandomState>,
    denials: RememberedDenials,
    quiet_denials: QuietDenials,
    keys: DigestKeys,
    ttl: Duration,
}

impl Cache {
    /// An empty cache for up to `capacity` principals, at least one, and as many sessions; after `ttl` the row of one is read again. Beyond the
    /// capacity, the principals go that were not asked for the longest.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(capacity: u64, ttl: Duration) -> io::Result<Cache> {
        // By moka's default policy, a full cache may reject what was just verified, and would cost its next request a password
        // check. No time-outs of moka's: the age is compared here, with the caller's clock.
        let entries = moka::sync::Cache::builder()
            .max_capacity(capacity.max(1))
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(RandomState::default());
        let sessions = moka::sync::Cache::builder()
            .max_capacity(capacity.max(1))
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(RandomState::default());
        let (denials, quiet_denials) = (RememberedDenials::new(), QuietDenials::new());
        Ok(Cache { entries, sessions, denials, quiet_denials, keys: DigestKeys::random()?, ttl })
    }

    /// The principal of that name, if `secret` was verified for it and it may be believed without asking the store.
    #[inline]
    pub fn find(
        &self,
        name: &Canonical,
        secret: &[u8],
        epochs: &Epochs,
        now: Moment,
    ) -> Option<Arc<Verified>> {
        self.find_digest(name, &self.digest(name, secret), epochs, now)
    }

    /// Finds as [`Cache::find`] does; looks first at what the connection remembers, and has it remember what is found.
    #[inline]
    pub fn find_remembered(
        &self,
        memory: &ConnectionMemory,
        name: &Canonical,
        secret: &[u8],
        epochs: &Epochs,
        now: Moment,
    ) -> Option<Arc<Verified>> {
        let digest = self.digest(name, secret);
        self.remembered(memory, &digest, epochs, now, || self.find_digest(name, &digest, epochs, now))
    }

    /// The principal of that session of an entry, if it may be believed without asking the store.
    #[inline]
    pub fn find_session(
        &self,
        cookie: &SessionCookie,
        entry: Entry,
        epochs: &Epochs,
        now: Moment,
    ) -> Option<Arc<Verified>> {
        let found = self.find_token(&cookie.digest(), epochs, now)?;
        found.is_by_session(cookie.principal(), entry).then_some(found)
    }

    /// As [`Cache::find_session`]; looks first at what the connection remembers, and has it remember what is found.
    #[inline]
    pub fn find_remembered_session(
        &self,
        memory: &ConnectionMemory,
        cookie: &SessionCookie,
        entry: Entry,
        epochs: &Epochs,
        now: Moment,
    ) -> Option<Arc<Verified>> {
        let token = cookie.digest();
        let digest = Digest::of_session(&token);
        let found = self.remembered(memory, &digest, epochs, now, || self.find_token(&token, epochs, now))?;
        found.is_by_session(cookie.principal(), entry).then_some(found)
    }

    /// The principal that the connection remembers by that digest, if it is fresh, or else the one that `look_up` finds.
    #[inline]
    fn remembered(
        &self,
        memory: &ConnectionMemory,
        digest: &Digest,
        epochs: &Epochs,
        now: Moment,
        look_up: impl FnOnce() -> Option<Arc<Verified>>,
    ) -> Option<Arc<Verified>> {
        let mut remembered = memory.lock();
        if let Some(verified) = remembered.find(digest) {
            let verified = Arc::clone(verified);
            let is_fresh = self.is_fresh(&verified, epochs, now);
            let is_due = is_fresh && remembered.should_report(now);
            if is_due {
                memory.set_use_due();
            }
            if !is_fresh || is_due {
                self.keep_in_use(&verified);
            }
            if is_fresh {
                return Some(verified);
            }
        }
        let found = look_up()?;
        Some(remembered.note(found, now))
    }

    #[inline]
    fn find_token(&self, token: &SessionDigest, epochs: &Epochs, now: Moment) -> Option<Arc<Verified>> {
        // Who presents a token that has this digest has the token: no secret is compared, and so no time tells anything.
        let found = self.sessions.get(token)?;
        self.is_fresh(&found, epochs, now).then_some(found)
    }

    #[inline]
    fn find_digest(
        &self,
        name: &Canonical,
        digest: &Digest,
        epochs: &Epochs,
        now: Moment,
    ) -> Option<Arc<Verified>> {
        let found = self.entries.get(name)?;
        (found.proof.digest.matches(digest) && self.is_fresh(&found, epochs, now)).then_some(found)
    }

    /// Counts as a use of what a connection remembers, and puts it back where it was evicted meanwhile: when it is stale, only the
    /// entry spares its next check the password check.
    #[cold]
    fn keep_in_use(&self, verified: &Verified) {
        let is_known = match &verified.session {
            Some(session) => self.sessions.get(&session.digest).is_some(),
            None => self.entries.get(&verified.identity.name).is_some(),
        };
        if !is_known {
            self.insert(Arc::new(verified.unshared()));
        }
    }

    /// The principal that was last verified under that name, fresh or not.
    pub fn get(&self, name: &Canonical) -> Option<Arc<Verified>> {
        self.entries.get(name)
    }

    /// The principal that was last found by that session, fresh or not.
    pub fn get_session(&self, token: &SessionDigest) -> Option<Arc<Verified>> {
        self.sessions.get(token)
    }

    /// Inserts what was verified. It may come late, and replace an entry that was read after it: each is believed only as long as
    /// its own epoch allows.
    pub fn insert(&self, verified: Arc<Verified>) {
        match &verified.session {
            Some(session) => self.sessions.insert(session.digest, verified),
            None => self.entries.insert(verified.identity.name, verified),
        }
    }

    /// Drops a session that has ended, to free its memory. As with [`Cache::remove`], only the epoch tells if it may be believed.
    pub fn remove_session(&self, token: &SessionDigest) {
        self.sessions.invalidate(token);
    }

    /// Drops what was verified under that name, to free its memory. A slow loader may put it back: only the epoch tells if it may be
    /// believed.
    pub fn remove(&self, name: &Canonical) {
        self.entries.invalidate(name);
    }

    /// Returns true if what was verified may be believed without asking the store.
    #[inline]
    pub fn is_fresh(&self, verified: &Verified, epochs: &Epochs, now: Moment) -> bool {
        // Trust first: a node that catches up raises the epochs and then extends its trust. A check that sees the extension sees the raises.
        // In the other order, it could look at the epochs before that and at the trust after it.
        epochs.trust().holds(now)
            && verified.is_of_now(epochs)
            && verified.age(now) < self.ttl
            && verified.session.as_ref().is_none_or(|session| session.is_alive(now))
    }

    /// The digest of a secret presented under that name; the same as long as this process lives.
    #[inline]
    pub fn digest(&self, name: &Canonical, secret: &[u8]) -> Digest {
        self.keys.digest(name, secret)
    }

    /// The fingerprint of a stored hash.
    pub fn fingerprint(&self, stored: &StoredHash) -> Fingerprint {
        self.keys.fingerprint(stored)
    }

    /// The denial of this secret against this stored hash a moment ago, if there was one.
    pub fn denial(&self, proof: &Proof, circumstance: Circumstance, now: Moment) -> Option<Denial> {
        self.denials.get(&self.keys, proof, circumstance, now)
    }

    /// Remembers for a minute that this secret was wrong against this stored hash.
    pub fn deny(&self, proof: &Proof, circumstance: Circumstance, denial: Denial, now: Moment) {
        self.denials.insert(&self.keys, proof, circumstance, denial, now);
    }

    /// Returns true if this secret was wrong against this stored hash in a silent check of the last hour, and remembers it for another one.
    pub fn was_denied_quietly(&self, proof: &Proof, circumstance: Circumstance, now: Moment) -> bool {
        self.quiet_denials.renew(&self.keys, proof, circumstance, now)
    }

    /// Remembers for an hour that this secret was wrong against this stored hash, for silent checks alone.
    pub fn deny_quietly(&self, proof: &Proof, circumstance: Circumstance, now: Moment) {
        self.quiet_denials.insert(&self.keys, proof, circumstance, now);
    }

    /// The number of principals in it, after the evictions that are due: not for the way of a request.
    pub fn principals(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }
}

#[cfg(test)]
mod tests;
