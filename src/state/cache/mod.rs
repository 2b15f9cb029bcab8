//! Principals that were verified lately, so that asking for them again costs no password check.
//!
//! An entry holds a keyed digest of the secret that was verified and a fingerprint of the stored hash it was verified
//! against, never the secret. Both keys are random and of this process alone. Whether an entry may still be believed
//! is told by its epoch ([`super::epoch`]) and its age; where it may not, its digest still stands as long as the row
//! in the store holds the same hash, so that a reload costs a read and no password check.

mod denials;
mod digest;
mod table;
mod verified;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::epoch::Epochs;
use crate::domain::{Canonical, Denial, StoredHash};
use denials::RememberedDenials;
use digest::DigestKeys;
use table::Table;

pub use digest::{Digest, Fingerprint};
pub use verified::{Proof, Verified, Who};

/// The verified principals, by canonical name, and the secrets that were wrong a moment ago.
pub struct Cache {
    entries: Table,
    denials: RememberedDenials,
    keys: DigestKeys,
    ttl: Duration,
}

impl Cache {
    /// An empty cache for up to `capacity` principals; after `ttl` the row of one is read again.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(capacity: u64, ttl: Duration) -> io::Result<Cache> {
        Ok(Cache {
            entries: Table::new(capacity),
            denials: RememberedDenials::new(),
            keys: DigestKeys::random()?,
            ttl,
        })
    }

    /// What was verified under that name, if it is that secret; fresh or not.
    #[inline]
    pub fn proven(&self, name: &Canonical, secret: &[u8]) -> Option<Arc<Verified>> {
        let digest = self.digest(name, secret);
        // The digest is of the name, too.
        self.entries.find(name, |verified| verified.proof.digest.matches(&digest))
    }

    /// What was verified under that name, fresh or not.
    pub fn get(&self, name: &Canonical) -> Option<Arc<Verified>> {
        self.entries.get(name)
    }

    /// Keeps what was verified. It may come late, and over an entry that was read after it: what it says is believed only
    /// as long as its own epoch allows.
    pub fn insert(&self, verified: Arc<Verified>) {
        self.entries.insert(verified);
    }

    /// Returns true if what was verified may be believed without asking the store.
    #[inline]
    pub fn is_fresh(&self, verified: &Verified, epochs: &Epochs, now: Instant) -> bool {
        verified.is_of_now(epochs) && verified.age(now) < self.ttl
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
    pub fn denial(&self, proof: &Proof, active: bool, now: Instant) -> Option<Denial> {
        self.denials.get(&self.keys, proof, active, now)
    }

    /// Remembers for a minute that this secret was wrong against this stored hash.
    pub fn deny(&self, proof: &Proof, active: bool, denial: Denial, now: Instant) {
        self.denials.insert(&self.keys, proof, active, denial, now);
    }

    /// The number of principals in it.
    pub fn principals(&self) -> u64 {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::domain::{AccountId, CredentialId, Kind, Permissions, Principal, Username};

    fn principal(name: &str) -> Principal {
        Principal {
            kind: Kind::Credential(CredentialId(2)),
            account: AccountId(1),
            account_name: Username::parse("holder").unwrap(),
            name: Username::parse(name).unwrap(),
            hash: StoredHash::new("$2b$...".to_owned()),
            bits: Permissions::ALL,
            rights: Permissions::ALL,
            active: true,
        }
    }

    fn proof(cache: &Cache, row: &Principal, secret: &[u8]) -> Proof {
        Proof {
            digest: cache.digest(&row.name.canonical(), secret),
            fingerprint: cache.fingerprint(&row.hash),
        }
    }

    /// An entry of that name, for the tests of what holds it.
    pub fn verified(name: &str) -> Arc<Verified> {
        static MADE_FROM: LazyLock<(Cache, Epochs)> =
            LazyLock::new(|| (Cache::new(1, Duration::MAX).unwrap(), Epochs::new()));
        let (cache, epochs) = &*MADE_FROM;
        let row = principal(name);
        let proof = proof(cache, &row, b"secret");
        Arc::new(Verified::new(row, proof, epochs.now(), epochs, Instant::now()))
    }

    #[test]
    fn an_entry_ends_by_epoch_and_by_age() {
        let (cache, epochs, now) =
            (Cache::new(10, Duration::from_secs(60)).unwrap(), Epochs::new(), Instant::now());
        let row = principal("someone");
        let verified = Verified::new(row.clone(), proof(&cache, &row, b"secret"), epochs.now(), &epochs, now);
        cache.insert(Arc::new(verified));
        let verified = cache.get(&Canonical::of(b"SomeOne").unwrap()).unwrap();
        assert!(cache.is_fresh(&verified, &epochs, now + Duration::from_secs(59)));
        assert!(!cache.is_fresh(&verified, &epochs, now + Duration::from_secs(60)));
        epochs.raise(&row.account_name.canonical());
        assert!(!cache.is_fresh(&verified, &epochs, now));
    }

    #[test]
    fn a_denial_is_of_one_secret_one_hash_one_state_and_one_minute() {
        let (cache, now) = (Cache::new(10, Duration::MAX).unwrap(), Instant::now());
        let mut row = principal("someone");
        let wrong = proof(&cache, &row, b"wrong");
        cache.deny(&wrong, true, Denial::Wrong, now);
        assert_eq!(cache.denial(&wrong, true, now + Duration::from_secs(59)), Some(Denial::Wrong));
        assert_eq!(cache.denial(&wrong, true, now + Duration::from_secs(60)), None);
        assert_eq!(cache.denial(&wrong, false, now), None);
        assert_eq!(cache.denial(&proof(&cache, &row, b"other"), true, now), None);
        row.hash = StoredHash::new("$2b$another".to_owned());
        assert_eq!(cache.denial(&proof(&cache, &row, b"wrong"), true, now), None);
    }
}
