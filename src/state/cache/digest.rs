//! Keyed digests, which stand for secrets and stored hashes in the cache. Their keys are random and of this process alone.

use std::io;

use subtle::ConstantTimeEq;

use crate::domain::{Canonical, SessionDigest, StoredHash};

/// A name and a secret that are together no longer than this, in bytes, are digested in one go.
const SHORT: usize = 256;

/// A keyed digest of a secret and the name that it was presented under. Digests are compared in constant time.
#[derive(Clone, Copy)]
pub struct Digest(blake3::Hash);

/// A keyed digest of a stored hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// The keys of all digests of one cache.
pub(super) struct DigestKeys {
    secrets: [u8; 32],
    others: [u8; 32],
}

impl Digest {
    /// The digest of a session's token. No secret under a name has the same: its digest is keyed.
    #[inline]
    pub fn of_session(session: &SessionDigest) -> Digest {
        Digest(blake3::Hash::from_bytes(*session.as_bytes()))
    }

    /// Returns true if both are of the same secret under the same name; in constant time.
    #[inline]
    pub fn matches(&self, other: &Digest) -> bool {
        // By words: byte by byte it takes longer than making the digest.
        let words = |digest: &Digest| {
            let (words, _) = digest.0.as_bytes().as_chunks::<8>();
            [0, 1, 2, 3].map(|word| u64::from_ne_bytes(words[word]))
        };
        words(self).ct_eq(&words(other)).into()
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl Fingerprint {
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl DigestKeys {
    /// New keys.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn random() -> io::Result<DigestKeys> {
        let (mut secrets, mut others) = ([0; 32], [0; 32]);
        getrandom::fill(&mut secrets)?;
        getrandom::fill(&mut others)?;
        Ok(DigestKeys { secrets, others })
    }

    /// The digest of a secret presented under that name.
    #[inline]
    pub(super) fn digest(&self, name: &Canonical, secret: &[u8]) -> Digest {
        // The name's length comes first, so that no other name and secret make the same input.
        let name = name.as_bytes();
        let (length, whole) = ([name.len() as u8], 1 + name.len() + secret.len());
        let mut input = [0; SHORT];
        if whole > SHORT {
            let mut hasher = blake3::Hasher::new_keyed(&self.secrets);
            return Digest(hasher.update(&length).update(name).update(secret).finalize());
        }
        input[..1].copy_from_slice(&length);
        input[1..1 + name.len()].copy_from_slice(name);
        input[1 + name.len()..whole].copy_from_slice(secret);
        Digest(blake3::keyed_hash(&self.secrets, &input[..whole]))
    }

    /// The fingerprint of a stored hash.
    pub(super) fn fingerprint(&self, stored: &StoredHash) -> Fingerprint {
        Fingerprint(self.keyed("hash", &[stored.expose().as_bytes()]))
    }

    /// A digest of anything else; `kind` keeps digests of different things apart.
    pub(super) fn keyed(&self, kind: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.others);
        hasher.update(kind.as_bytes());
        for part in parts {
            hasher.update(&part.len().to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_of_one_name_and_one_process() {
        let (one, other) = (DigestKeys::random().unwrap(), DigestKeys::random().unwrap());
        let digest = |keys: &DigestKeys, name: &[u8], secret: &[u8]| {
            keys.digest(&Canonical::of(name).unwrap(), secret)
        };
        let first = digest(&one, b"someone", b"secret");
        assert!(first.matches(&digest(&one, b"SOMEONE", b"secret")));
        assert!(!first.matches(&digest(&one, b"someone", b"secret2")));
        assert!(!first.matches(&digest(&one, b"someone2", b"secret")));
        assert!(!first.matches(&digest(&other, b"someone", b"secret")));
        // Those that are hashed piece by piece.
        let long = digest(&one, b"someone", &[b'x'; SHORT]);
        assert!(long.matches(&digest(&one, b"Someone", &[b'x'; SHORT])));
        assert!(!long.matches(&digest(&one, b"someone", &[b'x'; SHORT + 1])));
    }
}
