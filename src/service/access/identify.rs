//! Who is presented, where the cache can't tell: the row, what is remembered of wrong secrets, the throttle, and the
//! password check.
//!
//! An unknown username, a wrong password and a suspended account go the same way: one row is read, one refusal is looked
//! for, the throttle is asked, one password is checked. They differ in the answer's word for the log, and in nothing that
//! the peer could measure. A username that breaks the rules for usernames is refused at once: that nobody has it is
//! no secret.
//!
//! What is refused without a password check, since it is remembered, throttled or too much, is refused at a set time after
//! it began: such answers cost their sender nothing, and a million of them would tell whether reading the row found one.
//! With the throttle on, that time also keeps who guesses as fast as he is answered from taking a core for his answers.
//!
//! Every rejected login costs the same: one bcrypt at the highest cost found in the store.
//!
//! A check is decided on the row that it read itself, after it began; nothing here takes over what another check has read.
//! Concurrent checks of one secret against one stored hash share the password check alone, which depends on
//! nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::DecisionClock;
use super::{Access, NotIdentified, Sameness};
use crate::domain::password::LONGEST_BYTES;
use crate::domain::{Canonical, Denial, Entry, Presented, Principal, Secret, StoredHash, Unavailable};
use crate::state::Lane;
use crate::state::cache::{Proof, Verified};
use crate::state::hashing::{Check, Checked, HIGHEST_COST};
use crate::state::metrics::Lookup;
use crate::state::throttle::{AdmittedCheck, SourcePrefix};

/// When what needs no password check is refused, without the throttle; well beyond the reading of a row.
const REFUSED_AFTER: Duration = Duration::from_millis(5);
/// The same with the throttle on: about as long as some password checks.
const PACED_AFTER: Duration = Duration::from_millis(250);
/// When the throttle's own refusal is given, if the delay is as long.
const THROTTLED_AFTER: Duration = Duration::from_secs(1);

/// What a check has read, and with what it compares.
struct Looked<'a> {
    name: Canonical,
    /// No longer than can be a password and one more: what is longer is as wrong as its beginning, and must not cost more.
    secret: &'a [u8],
    source: SourcePrefix,
    clock: DecisionClock,
    /// The number of [`crate::state::Epochs::now`] from before the row was read.
    seen: u64,
    row: Option<Principal>,
    active: bool,
    /// The row's, or that of nobody.
    stored: StoredHash,
    proof: Proof,
}

impl Access {
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
            return Err(NotIdentified::Denied(Denial::Unknown, Sameness::SourceOnly));
        };
        let secret = &presented.secret[..presented.secret.len().min(LONGEST_BYTES + 1)];
        // Before the row is read: see `state::epoch`.
        let seen = self.epochs.now();
        let row = self.store.principal(&name).await;
        let row = row.map_err(|error| NotIdentified::Unavailable(self.without_store(&error, now)))?;
        let active = row.as_ref().is_none_or(|row| row.active);
        let stored = row.as_ref().map_or_else(|| self.hasher.decoy(&name), |row| row.hash.clone());
        let proof =
            Proof { digest: self.cache.digest(&name, secret), fingerprint: self.cache.fingerprint(&stored) };
        let source = SourcePrefix::of(source);
        let looked = Looked { name, secret, source, clock, seen, row, active, stored, proof };

        let known = self.cache.get(&name);
        if known.is_some() && looked.row.is_none() {
            self.cache.remove(&name);
        }
        if let Some(verified) = self.proven_before(&looked, known.as_deref(), now) {
            self.metrics.lookup(Lookup::Stale);
            return Ok(verified);
        }
        self.metrics.lookup(if known.is_some() { Lookup::Other } else { Lookup::Miss });
        self.refused_before(&looked, now).await?;

        let turn = match self.throttle.turn(source, &name, now).await {
            Ok(turn) => turn,
            Err(why) => return Err(self.unavailable(&looked, why).await),
        };
        if turn.waited {
            now = clock.now();
            // Others were checked meanwhile, perhaps with the same secret.
            let known = self.cache.get(&name);
            if let Some(verified) = self.proven_before(&looked, known.as_deref(), now) {
                return Ok(verified);
            }
            self.refused_before(&looked, now).await?;
        }
        let admission = match self.throttle.admit(turn, now) {
            Ok(admission) => admission,
            Err(delayed) => {
                self.metrics.throttled(entry, delayed.by);
                let after = delayed.retry_after.clamp(PACED_AFTER, THROTTLED_AFTER);
                clock.wait_until(after).await;
                return Err(NotIdentified::Denied(
                    Denial::Throttled(delayed.retry_after),
                    Sameness::SourceOnly,
                ));
            }
        };
        self.compare(looked, admission, now).await
    }

    /// The same secret was verified against the same hash before: it still matches.
    fn proven_before(
        &self,
        looked: &Looked<'_>,
        known: Option<&Verified>,
        now: Instant,
    ) -> Option<Arc<Verified>> {
        let row = looked.row.as_ref().filter(|row| row.active)?;
        let known = known?;
        let same = known.is(row)
            && known.proof.fingerprint == looked.proof.fingerprint
            && known.proof.digest.matches(&looked.proof.digest);
        same.then(|| {
            self.throttle.know(looked.source, &looked.name, now);
            self.remember(Verified::new(row.clone(), looked.proof, looked.seen, &self.epochs, now))
        })
    }

    /// The same secret was refused against the same hash before: it still is.
    async fn refused_before(&self, looked: &Looked<'_>, now: Instant) -> Result<(), NotIdentified> {
        let Some(denial) = self.cache.denial(&looked.proof, looked.active, now) else { return Ok(()) };
        self.until_settled(&looked.clock).await;
        Err(NotIdentified::Denied(denial, Sameness::UsernameAndSource))
    }

    /// The password check.
    async fn compare(
        &self,
        looked: Looked<'_>,
        admission: AdmittedCheck,
        now: Instant,
    ) -> Result<Arc<Verified>, NotIdentified> {
        let Looked { name, secret, source, clock, seen, active, proof, .. } = looked;
        let highest = match self.store.highest_cost(HIGHEST_COST).await {
            Ok(highest) => highest,
            Err(error) => {
                let why = self.without_store(&error, now);
                return Err(self.unavailable(&looked, why).await);
            }
        };
        // Not by what the cache holds: then who guesses could tell from the time which usernames are in use.
        let lane = if self.throttle.is_known(source, &name, now) { Lane::Known } else { Lane::Rest };
        let check = Check { stored: &looked.stored, secret, highest, refused: !active };
        let Checked { right, joined } = match self.hasher.verify(check, lane).await {
            Ok(checked) => checked,
            Err(why) => return Err(self.unavailable(&looked, why).await),
        };
        let now = clock.now();
        let denial = match looked.row {
            Some(row) if right && active => {
                self.throttle.succeeded(admission, now);
                let verified = self.remember(Verified::new(row, proof, seen, &self.epochs, now));
                if self.hasher.is_outdated(&looked.stored, secret) {
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
        // Who joins costs nothing, and there is no bound on how many do.
        let sameness = if joined { Sameness::UsernameAndSource } else { Sameness::Unique };
        Err(NotIdentified::Denied(denial, sameness))
    }

    async fn unavailable(&self, looked: &Looked<'_>, why: Unavailable) -> NotIdentified {
        self.until_settled(&looked.clock).await;
        NotIdentified::Unavailable(why)
    }

    pub(super) fn remember(&self, verified: Verified) -> Arc<Verified> {
        let verified = Arc::new(verified);
        self.cache.insert(Arc::clone(&verified));
        verified
    }

    /// Puts a hash of the configured cost and scheme in place of the one that was just matched, in the background. Where
    /// it doesn't come to that, the next check that has to look at the password tries again.
    fn renew(&self, verified: &Arc<Verified>, secret: &[u8]) {
        let (store, hasher) = (self.store.clone(), Arc::clone(&self.hasher));
        let (cache, epochs) = (Arc::clone(&self.cache), Arc::clone(&self.epochs));
        let (verified, secret) = (Arc::clone(verified), Secret::new(secret.to_vec()));
        tokio::spawn(async move {
            let old: &StoredHash = &verified.who.principal.hash;
            let Ok(new) = hasher.renew(old, secret.expose()).await else { return };
            match store.renew_hash(&verified.who.name, old, &new).await {
                Ok(true) => {
                    // The secret matches the new hash, which was made from it. With this said first, the raise costs the
                    // principal a read of its row and not another password check, and its tunnels stay open.
                    let fingerprint = cache.fingerprint(&new);
                    cache.insert(Arc::new(verified.with_renewed(new, fingerprint)));
                    epochs.raise(&verified.who.name);
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "an outdated password hash could not be renewed"),
            }
        });
    }

    pub(super) async fn until_settled(&self, clock: &DecisionClock) {
        clock.wait_until(if self.throttle.is_on() { PACED_AFTER } else { REFUSED_AFTER }).await;
    }
}
