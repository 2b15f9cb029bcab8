//! Principals that were verified lately. Another check of them costs no password check.
//!
//! An entry holds a keyed digest of the secret that was verified and a fingerprint of the stored hash it was verified
//! against, never the secret. Both keys are random and of this process alone. An entry may be believed as long as its epoch
//! ([`super::epoch`]) and its age allow. After that, its digest still proves the secret as long as the row in the store has
//! the same hash, so that a reload costs a read and no password check.
//!
//! A connection keeps what it presents again and again in a [`ConnectionMemory`], under the same conditions.

mod denials;
mod digest;
mod memory;
mod verified;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use moka::policy::EvictionPolicy;

use super::epoch::Epochs;
use crate::domain::{Canonical, Denial, Moment, StoredHash};
use denials::{QuietDenials, RememberedDenials};
use digest::DigestKeys;

pub use denials::Circumstance;
pub use digest::{Digest, Fingerprint};
pub use memory::ConnectionMemory;
pub use verified::{Identity, Proof, Verified};

/// The verified principals, by canonical name, and the secrets that were wrong a moment ago.
pub struct Cache {
    entries: moka::sync::Cache<Canonical, Arc<Verified>, RandomState>,
    denials: RememberedDenials,
    quiet_denials: QuietDenials,
    keys: DigestKeys,
    ttl: Duration,
}

impl Cache {
    /// An empty cache for up to `capacity` principals, at least one; after `ttl` the row of one is read again. Beyond the
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
        let (denials, quiet_denials) = (RememberedDenials::new(), QuietDenials::new());
        Ok(Cache { entries, denials, quiet_denials, keys: DigestKeys::random()?, ttl })
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

    /// As [`Cache::find`]; looks first at what the connection remembers, and has it remember what is found.
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
        let mut remembered = memory.lock();
        if let Some(verified) = remembered.find(&digest) {
            let verified = Arc::clone(verified);
            let is_fresh = self.is_fresh(&verified, epochs, now);
            if !is_fresh || remembered.should_report(now) {
                self.keep_in_use(&verified);
            }
            if is_fresh {
                return Some(verified);
            }
        }
        let found = self.find_digest(name, &digest, epochs, now)?;
        Some(remembered.note(found, now))
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
        if self.entries.get(&verified.identity.name).is_none() {
            self.insert(Arc::new(verified.unshared()));
        }
    }

    /// The principal that was last verified under that name, fresh or not.
    pub fn get(&self, name: &Canonical) -> Option<Arc<Verified>> {
        self.entries.get(name)
    }

    /// Inserts what was verified. It may come late, and replace an entry that was read after it: each is believed only as long as
    /// its own epoch allows.
    pub fn insert(&self, verified: Arc<Verified>) {
        self.entries.insert(verified.identity.name, verified);
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
        epochs.trust().holds(now) && verified.is_of_now(epochs) && verified.age(now) < self.ttl
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
