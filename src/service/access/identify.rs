//! The identification of a presented credential that the cache can't answer: the row, the remembered denials, the throttle, and
//! the password check.
//!
//! An unknown username, a wrong password and a suspended account take the same steps: one row is read, the delay of the source and
//! one remembered denial are looked for, the throttle is asked, one password is checked. So does, over SMTP, the right password of
//! a principal without the permission. They differ in the reason in the log, and in nothing that the peer could measure. A
//! username that breaks the rules for usernames is denied at once: that it doesn't exist is no secret.
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
use std::time::Duration;

use super::decision_clock::DecisionClock;
use super::{Access, NotIdentified, RepeatKey, Wanted, refusal_of_right};
use crate::domain::password::LONGEST_BYTES;
use crate::domain::{
    Canonical, ClientNetwork, Denial, Moment, Presented, Principal, PrincipalId, Secret, StoredHash,
    Unavailable,
};
use crate::state::cache::{Circumstance, Proof, Verified};
use crate::state::hashing::{Check, Checked, HIGHEST_COST, HashShare};
use crate::state::metrics::{Lookup, ThrottledBy};
use crate::state::throttle::{AdmittedCheck, PACED_AFTER, PendingCheck, SourcePrefix};

/// The time of a denial without a password check, with the throttle off; well beyond the reading of a row.
const REFUSED_AFTER: Duration = Duration::from_millis(5);

/// The number of password checks for which a refusal for lack of capacity waits: a silent one may have to wait for others.
const SILENT_CHECKS: u32 = 4;

/// A presented credential while it is checked, with what was read for it.
pub(super) struct PendingLogin<'a> {
    pub(super) name: Canonical,
    /// Cut at one byte more than the longest password: a longer secret is as wrong as its beginning, and must not cost more.
    pub(super) secret: &'a [u8],
    pub(super) source: SourcePrefix,
    pub(super) network: ClientNetwork,
    pub(super) clock: DecisionClock,
    /// The number of [`crate::state::Epochs::now`] from before the row was read.
    pub(super) seen: u64,
    pub(super) row: Option<Principal>,
    /// The denial of the right secret, if it is to look like that of a wrong one.
    pub(super) refused: Option<Denial>,
    /// The hash of the row, or a decoy if there is no row.
    pub(super) stored: StoredHash,
    pub(super) proof: Proof,
}

impl Access {
    /// The principal that is presented, by its row and, if that is needed, a password check.
    pub(super) async fn identify(
        &self,
        presented: Presented<'_>,
        wanted: Wanted,
        source: IpAddr,
        clock: DecisionClock,
    ) -> Result<Arc<Verified>, NotIdentified> {
        let now = clock.began();
        let delayed = |now| self.throttle.source_delay(SourcePrefix::of(source), now);
        let Some(name) = Canonical::of(presented.username) else {
            self.metrics.lookup(Lookup::Miss);
            return Err(match delayed(now) {
                Some(delayed) => self.throttled(delayed, wanted, &clock).await,
                None => NotIdentified::Denied(Denial::Unknown, RepeatKey::SourceOnly, None),
            });
        };
        let pending = self.read(name, presented.secret, source, wanted, clock).await?;
        let account = pending.row.as_ref().map(|row| row.account);
        let identified = self.judge(pending, wanted, now).await;
        identified.map_err(|refusal| match refusal {
            NotIdentified::Denied(denial, repeat_key, _) => {
                NotIdentified::Denied(denial, repeat_key, account)
            }
            unavailable => unavailable,
        })
    }

    /// Judges a presented credential by its row.
    async fn judge(
        &self,
        pending: PendingLogin<'_>,
        wanted: Wanted,
        mut now: Moment,
    ) -> Result<Arc<Verified>, NotIdentified> {
        let (name, clock, source) = (pending.name, pending.clock, pending.source);
        let delayed = |now| self.throttle.source_delay(source, now);
        let known = self.cache.get(&name);
        if known.is_some() && pending.row.is_none() {
            self.cache.remove(&name);
        }
        if let Some(verified) = self.proven_before(&pending, known.as_deref(), now) {
            self.metrics.lookup(Lookup::Stale);
            return Ok(verified);
        }
        self.metrics.lookup(if known.is_some() { Lookup::Other } else { Lookup::Miss });
        if let Some(delayed) = delayed(now) {
            return self.unless_right(pending, self.throttled(delayed, wanted, &clock)).await;
        }
        self.denied_before(&pending, now).await?;

        let turn = match self.turn(&pending, now).await {
            Ok(turn) => turn,
            Err(why) => return self.unless_right(pending, self.unavailable(&clock, why)).await,
        };
        if turn.waited {
            now = clock.now();
            // Others were checked meanwhile, perhaps with the same secret.
            let known = self.cache.get(&name);
            if let Some(verified) = self.proven_before(&pending, known.as_deref(), now) {
                return Ok(verified);
            }
            if let Some(delayed) = delayed(now) {
                return self.unless_right(pending, self.throttled(delayed, wanted, &clock)).await;
            }
            self.denied_before(&pending, now).await?;
        }
        match self.throttle.admit(turn, now) {
            Ok(admission) => self.compare(pending, admission).await,
            // Another check has taken the slot of the source.
            Err(delayed) if delayed.by == ThrottledBy::Source => {
                self.unless_right(pending, self.throttled(delayed, wanted, &clock)).await
            }
            Err(delayed) => Err(self.throttled(delayed, wanted, &clock).await),
        }
    }

    /// Reads the row of a presented credential.
    async fn read<'a>(
        &self,
        name: Canonical,
        secret: &'a [u8],
        source: IpAddr,
        wanted: Wanted,
        clock: DecisionClock,
    ) -> Result<PendingLogin<'a>, NotIdentified> {
        let secret = &secret[..secret.len().min(LONGEST_BYTES + 1)];
        // Before the row is read: see `state::epoch`.
        let seen = self.epochs.now();
        let row = self.store.principal(&name).await;
        let row = row.map_err(|_| NotIdentified::Unavailable(self.without_store()))?;
        let refused = row.as_ref().and_then(|row| refusal_of_right(row.active, row.effective(), wanted));
        let stored = row.as_ref().map_or_else(|| self.hasher.decoy(&name), |row| row.hash.clone());
        let proof =
            Proof { digest: self.cache.digest(&name, secret), fingerprint: self.cache.fingerprint(&stored) };
        let (source, network) = (SourcePrefix::of(source), ClientNetwork::of(source));
        Ok(PendingLogin { name, secret, source, network, clock, seen, row, refused, stored, proof })
    }

    /// Takes a free failure for a check.
    async fn turn(&self, pending: &PendingLogin<'_>, now: Moment) -> Result<PendingCheck, Unavailable> {
        let PendingLogin { source, network, name, .. } = pending;
        let known = self.is_known_from(pending.principal(), *network);
        self.throttle.turn(*source, *network, name, now, known).await
    }

    /// The principal, if the same secret was verified against the same hash before.
    fn proven_before(
        &self,
        pending: &PendingLogin<'_>,
        known: Option<&Verified>,
        now: Moment,
    ) -> Option<Arc<Verified>> {
        let row = pending.row.as_ref().filter(|_| pending.refused.is_none())?;
        let known = known?;
        let same = known.is(row)
            && known.proof.fingerprint == pending.proof.fingerprint
            && known.proof.digest.matches(&pending.proof.digest);
        same.then(|| {
            self.remember(Verified::new(row.clone(), pending.proof, pending.seen, &self.epochs, now))
        })
    }

    /// Denies a secret that was denied against the same hash a moment ago.
    async fn denied_before(&self, pending: &PendingLogin<'_>, now: Moment) -> Result<(), NotIdentified> {
        let denial = |circumstance| self.cache.denial(&pending.proof, circumstance, now);
        let remembered = denial(pending.circumstance()).or_else(|| match pending.refused {
            Some(Denial::Lacks(_)) => denial(Circumstance::WithoutEmail),
            _ => None,
        });
        let Some(denial) = remembered else { return Ok(()) };
        self.until_settled(&pending.clock).await;
        Err(NotIdentified::Denied(denial, RepeatKey::UsernameAndSource, None))
    }

    /// Checks the password.
    async fn compare(
        &self,
        pending: PendingLogin<'_>,
        admission: AdmittedCheck,
    ) -> Result<Arc<Verified>, NotIdentified> {
        let PendingLogin { secret, source, network, clock, seen, proof, refused, .. } = pending;
        let circumstance = pending.circumstance();
        let highest = match self.store.highest_cost(HIGHEST_COST).await {
            Ok(highest) => highest,
            Err(_) => return Err(self.unavailable(&clock, self.without_store()).await),
        };
        let (share, refuses) = (HashShare::Source(source), refused.is_some());
        let check = Check { stored: &pending.stored, secret, highest, refused: refuses, share };
        // Not by what the cache holds: the time would tell an attacker which usernames are in use.
        let known = self.is_known_from(pending.principal(), network);
        let Checked { right, joined } = match self.hasher.verify_or_pass(check, known).await {
            Ok(checked) => checked,
            Err(why) => {
                drop(admission);
                return self.unless_right(pending, self.unavailable(&clock, why)).await;
            }
        };
        let now = clock.now();
        let (circumstance, denial) = match (pending.row, refused) {
            (Some(row), None) if right => {
                self.throttle.succeeded(admission);
                let verified = self.remember(Verified::new(row, proof, seen, &self.epochs, now));
                if self.hasher.is_outdated(&pending.stored, secret) {
                    self.renew(&verified, secret);
                }
                return Ok(verified);
            }
            (Some(_), Some(denial @ Denial::Lacks(_))) if right => (Circumstance::WithoutEmail, denial),
            (Some(_), Some(denial)) if right => (circumstance, denial),
            (Some(_), _) => (circumstance, Denial::Wrong),
            (None, _) => (circumstance, Denial::Unknown),
        };
        self.throttle.failed(admission, now);
        self.cache.deny(&proof, circumstance, denial, now);
        // A check that joins another one costs nothing, and there is no bound on their number.
        let repeat_key = if joined { RepeatKey::UsernameAndSource } else { RepeatKey::Unique };
        Err(NotIdentified::Denied(denial, repeat_key, None))
    }

    pub(super) async fn unavailable(&self, clock: &DecisionClock, why: Unavailable) -> NotIdentified {
        match why {
            // Long enough for a check of a username that is known, in silence.
            Unavailable::Busy => {
                clock.wait_until(PACED_AFTER.max(SILENT_CHECKS * self.hasher.usual_time())).await
            }
            Unavailable::Store | Unavailable::CutOff => self.until_settled(clock).await,
        }
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

impl PendingLogin<'_> {
    fn principal(&self) -> Option<PrincipalId> {
        self.row.as_ref().map(Principal::id)
    }

    /// The circumstance under which a wrong secret is remembered. It does not depend on permissions.
    pub(super) fn circumstance(&self) -> Circumstance {
        match self.row.as_ref().is_none_or(|row| row.active) {
            true => Circumstance::Active,
            false => Circumstance::Suspended,
        }
    }
}
