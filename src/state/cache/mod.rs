//! Principals that were verified lately, so that asking for them again costs no password check.
//!
//! An entry holds a keyed digest of the secret that was verified and a fingerprint of the stored hash it was verified
//! against, never the secret. Both keys are random and of this process alone. Whether an entry may still be believed
//! is told by its epoch ([`super::epoch`]) and its age; where it may not, its digest still stands as long as the row
//! in the store holds the same hash, so that a reload costs a read and no password check.

mod table;
mod verified;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use subtle::ConstantTimeEq;

use super::epoch::Epochs;
use crate::domain::{Canonical, Denial, StoredHash};
use table::Table;

pub use verified::{Proof, Verified, Who};

/// Wrong secrets that are remembered at most.
const REFUSALS: u64 = 50_000;
/// How long a wrong secret is remembered.
const REFUSAL_LASTS: Duration = Duration::from_secs(60);
/// A name and a secret that are together no longer than this, in bytes, are digested in one go.
const SHORT: usize = 256;

/// The verified principals, by canonical name, and what was lately refused.
pub struct Cache {
    entries: Table,
    refusals: moka::sync::Cache<[u8; 32], RememberedDenial, RandomState>,
    key: [u8; 32],
    digest_key: [u8; 32],
    ttl: Duration,
}

/// A keyed digest of a secret and the name that it was presented under. Digests are compared in constant time.
#[derive(Clone, Copy)]
pub struct Digest(blake3::Hash);

/// A keyed digest of a stored hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

#[derive(Clone, Copy)]
struct RememberedDenial {
    denial: Denial,
    until: Instant,
}

impl Cache {
    /// An empty cache for up to `capacity` principals; after `ttl` the row of one is read again.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(capacity: u64, ttl: Duration) -> io::Result<Cache> {
        let (mut key, mut digest_key) = ([0; 32], [0; 32]);
        getrandom::fill(&mut key)?;
        getrandom::fill(&mut digest_key)?;
        Ok(Cache {
            entries: Table::new(capacity),
            refusals: moka::sync::Cache::builder()
                .max_capacity(REFUSALS)
                .build_with_hasher(RandomState::default()),
            key,
            digest_key,
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

    /// Whether what was verified may be believed without asking the store.
    #[inline]
    pub fn is_fresh(&self, verified: &Verified, epochs: &Epochs, now: Instant) -> bool {
        verified.is_of_now(epochs) && verified.age(now) < self.ttl
    }

    /// The digest of a secret presented under that name; the same as long as this process lives.
    #[inline]
    pub fn digest(&self, name: &Canonical, secret: &[u8]) -> Digest {
        // The name's length comes first, so that no other name and secret make the same input.
        let name = name.as_bytes();
        let (length, whole) = ([name.len() as u8], 1 + name.len() + secret.len());
        let mut input = [0; SHORT];
        if whole > SHORT {
            let mut hasher = blake3::Hasher::new_keyed(&self.digest_key);
            return Digest(hasher.update(&length).update(name).update(secret).finalize());
        }
        input[..1].copy_from_slice(&length);
        input[1..1 + name.len()].copy_from_slice(name);
        input[1 + name.len()..whole].copy_from_slice(secret);
        Digest(blake3::keyed_hash(&self.digest_key, &input[..whole]))
    }

    /// The fingerprint of a stored hash.
    pub fn fingerprint(&self, stored: &StoredHash) -> Fingerprint {
        Fingerprint(self.keyed("hash", &[stored.expose().as_bytes()]))
    }

    /// Why this secret was refused against this stored hash a moment ago, if it was.
    pub fn refusal(&self, proof: &Proof, active: bool, now: Instant) -> Option<Denial> {
        let refusal = self.refusals.get(&self.refusal_key(proof, active))?;
        (now < refusal.until).then_some(refusal.denial)
    }

    /// Remembers for a minute that this secret was refused against this stored hash.
    pub fn refuse(&self, proof: &Proof, active: bool, denial: Denial, now: Instant) {
        let refusal = RememberedDenial { denial, until: now + REFUSAL_LASTS };
        self.refusals.insert(self.refusal_key(proof, active), refusal);
    }

    /// How many principals are in it.
    pub fn principals(&self) -> u64 {
        self.entries.len()
    }

    fn refusal_key(&self, proof: &Proof, active: bool) -> [u8; 32] {
        // The name is in the digest.
        self.keyed("refusal", &[proof.digest.0.as_bytes(), &proof.fingerprint.0, &[u8::from(active)]])
    }

    fn keyed(&self, kind: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(kind.as_bytes());
        for part in parts {
            hasher.update(&part.len().to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

impl Digest {
    /// Whether both are of the same secret; in constant time.
    #[inline]
    pub fn matches(&self, other: &Digest) -> bool {
        // By words: byte by byte it takes longer than making the digest.
        let words = |digest: &Digest| {
            let (words, _) = digest.0.as_bytes().as_chunks::<8>();
            [0, 1, 2, 3].map(|word| u64::from_ne_bytes(words[word]))
        };
        words(self).ct_eq(&words(other)).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::domain::{AccountId, CredentialId, Permissions, Principal, PrincipalKind, Username};

    fn principal(name: &str) -> Principal {
        Principal {
            kind: PrincipalKind::Credential(CredentialId(2)),
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
    fn digests_are_of_one_name_and_one_process() {
        let (one, other) = (Cache::new(10, Duration::MAX).unwrap(), Cache::new(10, Duration::MAX).unwrap());
        let digest =
            |cache: &Cache, name: &[u8], secret: &[u8]| cache.digest(&Canonical::of(name).unwrap(), secret);
        let first = digest(&one, b"someone", b"secret");
        assert!(first.matches(&digest(&one, b"SOMEONE", b"secret")));
        assert!(!first.matches(&digest(&one, b"someone", b"secret2")));
        assert!(!first.matches(&digest(&one, b"someone2", b"secret")));
        assert!(!first.matches(&digest(&other, b"someone", b"secret")));
    }

    #[test]
    fn a_refusal_is_of_one_secret_one_hash_one_state_and_one_minute() {
        let (cache, now) = (Cache::new(10, Duration::MAX).unwrap(), Instant::now());
        let mut row = principal("someone");
        let wrong = proof(&cache, &row, b"wrong");
        cache.refuse(&wrong, true, Denial::Wrong, now);
        assert_eq!(cache.refusal(&wrong, true, now + Duration::from_secs(59)), Some(Denial::Wrong));
        assert_eq!(cache.refusal(&wrong, true, now + Duration::from_secs(60)), None);
        assert_eq!(cache.refusal(&wrong, false, now), None);
        assert_eq!(cache.refusal(&proof(&cache, &row, b"other"), true, now), None);
        row.hash = StoredHash::new("$2b$another".to_owned());
        assert_eq!(cache.refusal(&proof(&cache, &row, b"wrong"), true, now), None);
    }
}
