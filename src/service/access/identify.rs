//! The identification of a presented credential that the cache can't answer: the row, the remembered denials, the throttle, and
//! the password check.
//!
//! An unknown username, a wrong password and a suspended account take the same steps: one row is read, one remembered denial is
//! looked for, the throttle is asked, one password is checked. They differ in the reason in the log, and in nothing that
//! the peer could measure. A username that breaks the rules for usernames is denied at once: that it doesn't exist is
//! no secret.
//!
//! A denial without a password check (remembered, throttled, or for lack of capacity) is given at a set time after the check
//! began. Such answers cost their sender nothing, and a million of them would tell whether a row was found.
//! With the throttle on, that time also keeps a client that guesses as fast as it is answered from occupying a core.
//!
//! Every denial by a password check costs the same: one bcrypt at the highest cost found in the store.
//!
//! A check is decided on the row that it read itself, after it began; nothing here uses what another check has read.
//! Concurrent checks of one secret against one stored hash share only the password check, which depends on
//! nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::DecisionClock;
use super::{Access, NotIdentified, RepeatKey};
use crate::domain::password::LONGEST_BYTES;
use crate::domain::{Canonical, Denial, Entry, Presented, Principal, Secret, StoredHash, Unavailable};
use crate::state::Lane;
use crate::state::cache::{Proof, Verified};
use crate::state::hashing::{Check, Checked, HIGHEST_COST, HashShare};
use crate::state::metrics::Lookup;
use crate::state::throttle::{AdmittedCheck, SourcePrefix};

/// The time of a denial without a password check, with the throttle off; well beyond the reading of a row.
const REFUSED_AFTER: Duration = Duration::from_millis(5);
/// The same with the throttle on: about as long as some password checks.
const PACED_AFTER: Duration = Duration::from_millis(250);
/// The time of the throttle's own denial, if the delay is as long.
const THROTTLED_AFTER: Duration = Duration::from_secs(1);

/// A presented credential while it is checked, with what was read for it.
struct PendingCheck<'a> {
    name: Canonical,
    /// Cut at one byte more than the longest password: a longer secret is as wrong as its beginning, and must not cost more.
    secret: &'a [u8],
    source: SourcePrefix,
    clock: DecisionClock,
    /// The number of [`crate::state::Epochs::now`] from before the row was read.
    seen: u64,
    row: Option<Principal>,
    active: bool,
    /// The hash of the row, or a decoy if there is no row.
    stored: StoredHash,
    proof: Proof,
}

impl Access {
    /// The principal that is presented, by its row and, if that is needed, a password check.
    pub(super) async fn identify(
        &self,
        presented: Presented<'_>,
        entry: Entry,
        source: IpAddr,
        clock: DecisionClock,
    ) -> Result<Arc<Verified>, NotIdentified> {
        let mut now = clock.began();
        let Some(name) = Canonical::of(presented.username) else {
            self.metrics.lookup(Lookup::Miss);
            return Err(NotIdentified::Denied(Denial::Unknown, RepeatKey::SourceOnly));
        };
        let secret = &presented.secret[..presented.secret.len().min(LONGEST_BYTES + 1)];
        // Before the row is read: see `state::epoch`.
        let seen = self.epochs.now();
        let row = self.store.principal(&name).await;
        let row = row.map_err(|_| NotIdentified::Unavailable(Unavailable::Store))?;
        let active = row.as_ref().is_none_or(|row| row.active);
        let stored = row.as_ref().map_or_else(|| self.hasher.decoy(&name), |row| row.hash.clone());
        let proof =
            Proof { digest: self.cache.digest(&name, secret), fingerprint: self.cache.fingerprint(&stored) };
        let source = SourcePrefix::of(source);
        let pending = PendingCheck { name, secret, source, clock, seen, row, active, stored, proof };

        let known = self.cache.get(&name);
        if known.is_some() && pending.row.is_none() {
            self.cache.remove(&name);
        }
        if let Some(verified) = self.proven_before(&pending, known.as_deref(), now) {
            self.metrics.lookup(Lookup::Stale);
            return Ok(verified);
        }
        self.metrics.lookup(if known.is_some() { Lookup::Other } else { Lookup::Miss });
        self.denied_before(&pending, now).await?;

        let turn = match self.throttle.turn(source, &name, now).await {
            Ok(turn) => turn,
            Err(why) => return Err(self.unavailable(&pending, why).await),
        };
        if turn.waited {
            now = clock.now();
            // Others were checked meanwhile, perhaps with the same secret.
            let known = self.cache.get(&name);
            if let Some(verified) = self.proven_before(&pending, known.as_deref(), now) {
                return Ok(verified);
            }
            self.denied_before(&pending, now).await?;
        }
        let admission = match self.throttle.admit(turn, now) {
            Ok(admission) => admission,
            Err(delayed) => {
                self.metrics.throttled(entry, delayed.by);
                let after = delayed.retry_after.clamp(PACED_AFTER, THROTTLED_AFTER);
                clock.wait_until(after).await;
                return Err(NotIdentified::Denied(
                    Denial::Throttled(delayed.retry_after),
                    RepeatKey::SourceOnly,
                ));
            }
        };
        self.compare(pending, admission, now).await
    }

    /// The principal, if the same secret was verified against the same hash before.
    fn proven_before(
        &self,
        pending: &PendingCheck<'_>,
        known: Option<&Verified>,
        now: Instant,
    ) -> Option<Arc<Verified>> {
        let row = pending.row.as_ref().filter(|row| row.active)?;
        let known = known?;
        let same = known.is(row)
            && known.proof.fingerprint == pending.proof.fingerprint
            && known.proof.digest.matches(&pending.proof.digest);
        same.then(|| {
            self.throttle.know(pending.source, &pending.name, now);
            self.remember(Verified::new(row.clone(), pending.proof, pending.seen, &self.epochs, now))
        })
    }

    /// Denies a secret that was denied against the same hash a moment ago.
    async fn denied_before(&self, pending: &PendingCheck<'_>, now: Instant) -> Result<(), NotIdentified> {
        let Some(denial) = self.cache.denial(&pending.proof, pending.active, now) else { return Ok(()) };
        self.until_settled(&pending.clock).await;
        Err(NotIdentified::Denied(denial, RepeatKey::UsernameAndSource))
    }

    /// Checks the password.
    async fn compare(
        &self,
        pending: PendingCheck<'_>,
        admission: AdmittedCheck,
        now: Instant,
    ) -> Result<Arc<Verified>, NotIdentified> {
        let PendingCheck { name, secret, source, clock, seen, active, proof, .. } = pending;
        let highest = match self.store.highest_cost(HIGHEST_COST).await {
            Ok(highest) => highest,
            Err(_) => return Err(self.unavailable(&pending, Unavailable::Store).await),
        };
        // Not by what the cache holds: the time would tell an attacker which usernames are in use.
        let lane = if self.throttle.is_known(source, &name, now) { Lane::Known } else { Lane::Rest };
        let share = HashShare::Source(source);
        let check = Check { stored: &pending.stored, secret, highest, refused: !active, share };
        let Checked { right, joined } = match self.hasher.verify(check, lane).await {
            Ok(checked) => checked,
            Err(why) => return Err(self.unavailable(&pending, why).await),
        };
        let now = clock.now();
        let denial = match pending.row {
            Some(row) if right && active => {
                self.throttle.succeeded(admission, now);
                let verified = self.remember(Verified::new(row, proof, seen, &self.epochs, now));
                if self.hasher.is_outdated(&pending.stored, secret) {
                    self.renew(&verified, secret);
                }
                return Ok(verified);
            }
            Some(_) if right => Denial::Suspended,
            Some(_) => Denial::Wrong,
            None => Denial::Unknown,
        };
        self.throttle.failed(admission, now);
        self.cache.deny(&proof, active, denial, now);
        // A check that joins another one costs nothing, and there is no bound on their number.
        let repeat_key = if joined { RepeatKey::UsernameAndSource } else { RepeatKey::Unique };
        Err(NotIdentified::Denied(denial, repeat_key))
    }

    async fn unavailable(&self, pending: &PendingCheck<'_>, why: Unavailable) -> NotIdentified {
        self.until_settled(&pending.clock).await;
        NotIdentified::Unavailable(why)
    }

    /// Puts a verified principal into the cache.
    pub(super) fn remember(&self, verified: Verified) -> Arc<Verified> {
        let verified = Arc::new(verified);
        self.cache.insert(Arc::clone(&verified));
        verified
    }

    /// Replaces the hash that was just matched by one of the configured cost and scheme, in the background. If that fails, the
    /// next password check tries again.
    fn renew(&self, verified: &Arc<Verified>, secret: &[u8]) {
        let (store, hasher) = (self.store.clone(), Arc::clone(&self.hasher));
        let (cache, epochs) = (Arc::clone(&self.cache), Arc::clone(&self.epochs));
        let (verified, secret) = (Arc::clone(verified), Secret::new(secret.to_vec()));
        tokio::spawn(async move {
            let old: &StoredHash = &verified.identity.principal.hash;
            let share = HashShare::Account(verified.identity.principal.account);
            let Ok(new) = hasher.renew(old, secret.expose(), share).await else { return };
            match store.renew_hash(&verified.identity.name, old, &new).await {
                Ok(true) => {
                    // The secret matches the new hash, which was made from it. With this said first, the raise costs the
                    // principal a read of its row and not another password check, and its tunnels stay open.
                    let fingerprint = cache.fingerprint(&new);
                    cache.insert(Arc::new(verified.with_renewed(new, fingerprint)));
                    epochs.raise(&verified.identity.name);
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "an outdated password hash could not be renewed"),
            }
        });
    }

    /// Waits for the set time of a denial without a password check.
    pub(super) async fn until_settled(&self, clock: &DecisionClock) {
        clock.wait_until(if self.throttle.is_on() { PACED_AFTER } else { REFUSED_AFTER }).await;
    }
}
