//! Secrets that were wrong a moment ago: presented again, they cost no password check.

use std::time::Duration;

use foldhash::fast::RandomState;

use super::digest::DigestKeys;
use super::verified::Proof;
use crate::domain::{Denial, Moment};

/// Wrong secrets that are remembered at most.
const CAPACITY: u64 = 50_000;
/// The time for which a wrong secret is remembered.
const LASTS: Duration = Duration::from_secs(60);
/// The same for one that was checked in silence, since it was last presented. A device with an old password may present it every few
/// minutes for days.
const LASTS_QUIETLY: Duration = Duration::from_secs(60 * 60);

/// The circumstance under which a secret was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circumstance {
    /// The account was suspended.
    Suspended,
    /// The account was active, and the secret was wrong.
    Active,
    /// The secret was right, and the principal lacked the permission `email`, which is no more than a wrong one over SMTP.
    WithoutEmail,
}

/// Denials by what was compared: the secret, the stored hash, and the circumstance.
pub(super) struct RememberedDenials(moka::sync::Cache<[u8; 32], RememberedDenial, RandomState>);

#[derive(Clone, Copy)]
struct RememberedDenial {
    denial: Denial,
    until: Moment,
}

impl RememberedDenials {
    /// None yet.
    pub(super) fn new() -> RememberedDenials {
        let denials = moka::sync::Cache::builder().max_capacity(CAPACITY);
        RememberedDenials(denials.build_with_hasher(RandomState::default()))
    }

    /// The denial of this secret against this stored hash, unless it was too long ago.
    pub(super) fn get(
        &self,
        keys: &DigestKeys,
        proof: &Proof,
        circumstance: Circumstance,
        now: Moment,
    ) -> Option<Denial> {
        let remembered = self.0.get(&key(keys, proof, circumstance))?;
        (now < remembered.until).then_some(remembered.denial)
    }

    /// Remembers a denial for a minute.
    pub(super) fn insert(
        &self,
        keys: &DigestKeys,
        proof: &Proof,
        circumstance: Circumstance,
        denial: Denial,
        now: Moment,
    ) {
        let remembered = RememberedDenial { denial, until: now.after(LASTS) };
        self.0.insert(key(keys, proof, circumstance), remembered);
    }
}

/// Secrets that were wrong in a silent check, apart from all others: nothing that a client can see depends on them.
pub(super) struct QuietDenials(moka::sync::Cache<[u8; 32], Moment, RandomState>);

impl QuietDenials {
    /// None yet.
    pub(super) fn new() -> QuietDenials {
        let denials = moka::sync::Cache::builder().max_capacity(CAPACITY);
        QuietDenials(denials.build_with_hasher(RandomState::default()))
    }

    /// Returns true if this secret was wrong against this stored hash, and goes on remembering it.
    pub(super) fn renew(
        &self,
        keys: &DigestKeys,
        proof: &Proof,
        circumstance: Circumstance,
        now: Moment,
    ) -> bool {
        let key = key(keys, proof, circumstance);
        let is_remembered = self.0.get(&key).is_some_and(|until| now < until);
        if is_remembered {
            self.0.insert(key, now.after(LASTS_QUIETLY));
        }
        is_remembered
    }

    /// Remembers it for an hour.
    pub(super) fn insert(&self, keys: &DigestKeys, proof: &Proof, circumstance: Circumstance, now: Moment) {
        self.0.insert(key(keys, proof, circumstance), now + LASTS_QUIETLY);
    }
}

fn key(keys: &DigestKeys, proof: &Proof, circumstance: Circumstance) -> [u8; 32] {
    // The name is in the digest.
    keys.keyed("refusal", &[proof.digest.as_bytes(), proof.fingerprint.as_bytes(), &[circumstance as u8]])
}
