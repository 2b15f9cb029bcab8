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
//! A check is decided on the row that it read itself, after it began; nothing here takes over what another check has read.
//! Concurrent checks of one secret against one stored hash share the password check alone, which depends on
//! nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Access, Refusal, Sameness};
use crate::domain::password::LONGEST_BYTES;
use crate::domain::{Canonical, Denial, Entry, Presented, Secret, StoredHash};
use crate::state::Lane;
use crate::state::cache::{Proof, Verified};
use crate::state::metrics::Lookup;
use crate::state::throttle::Source;

/// When what needs no password check is refused, without the throttle; well beyond the reading of a row.
const REFUSED_AFTER: Duration = Duration::from_millis(5);
/// The same with the throttle on: about as long as some password checks.
const PACED_AFTER: Duration = Duration::from_millis(250);
/// When the throttle's own refusal is given, if the delay is as long.
const THROTTLED_AFTER: Duration = Duration::from_secs(1);

impl Access {
    pub(super) async fn identify(
        &self,
        presented: Presented<'_>,
        entry: Entry,
        source: IpAddr,
        now: Instant,
    ) -> Result<Arc<Verified>, Refusal> {
        let began = Instant::now();
        let Some(name) = Canonical::of(presented.username) else {
            self.metrics.lookup(Lookup::Miss);
            return Err(Refusal::Denied(Denial::Unknown, Sameness::SourceOnly));
        };
        let source = Source::of(source);
        // No password is longer; what is longer is as wrong as its beginning, and must not cost more.
        let secret = &presented.secret[..presented.secret.len().min(LONGEST_BYTES + 1)];

        // Before the row is read: see `state::epoch`.
        let seen = self.epochs.now();
        let row = self
            .store
            .principal(&name)
            .await
            .map_err(|error| Refusal::Unavailable(self.without_store(&error, now)))?;
        let active = row.as_ref().is_none_or(|row| row.active);
        let stored = match &row {
            Some(row) => row.hash.clone(),
            None => self.hasher.decoy(&name),
        };
        let proof =
            Proof { digest: self.cache.digest(&name, secret), fingerprint: self.cache.fingerprint(&stored) };

        let entry_found = self.cache.get(&name);
        if let Some(row) = row.as_ref().filter(|_| active)
            && let Some(old) = &entry_found
            && old.is(row)
            && old.proof.fingerprint == proof.fingerprint
            && old.proof.digest.matches(&proof.digest)
        {
            // The same secret was verified against the same hash before: it still matches.
            self.metrics.lookup(Lookup::Stale);
            self.throttle.know(source, &name, now);
            return Ok(self.remember(Verified::new(row.clone(), proof, seen, &self.epochs, now)));
        }
        self.metrics.lookup(if entry_found.is_some() { Lookup::Other } else { Lookup::Miss });

        if let Some(denial) = self.cache.refusal(&proof, active, now) {
            self.until_settled(began).await;
            return Err(Refusal::Denied(denial, Sameness::UsernameAndSource));
        }
        let admission = match self.throttle.admit(source, &name, now) {
            Ok(admission) => admission,
            Err(delayed) => {
                self.metrics.throttled(entry, delayed.by);
                let after = delayed.retry_after.clamp(PACED_AFTER, THROTTLED_AFTER);
                tokio::time::sleep_until((began + after).into()).await;
                return Err(Refusal::Denied(Denial::Throttled(delayed.retry_after), Sameness::SourceOnly));
            }
        };
        // Not by what the cache holds: then who guesses could tell from the time which usernames are in use.
        let lane = if self.throttle.is_known(source, &name, now) { Lane::Known } else { Lane::Rest };
        let verified = self.hasher.verify(&stored, secret, lane).await;
        let now = now + began.elapsed();
        let right = match verified {
            Ok(right) => right,
            Err(why) => {
                self.throttle.withdrawn(admission);
                self.until_settled(began).await;
                return Err(Refusal::Unavailable(why));
            }
        };
        let denial = match row {
            Some(row) if right && active => {
                self.throttle.succeeded(admission, now);
                let verified = self.remember(Verified::new(row, proof, seen, &self.epochs, now));
                if self.hasher.is_outdated(&stored, secret) {
                    self.renew(&verified, secret);
                }
                return Ok(verified);
            }
            Some(_) if right => Denial::Suspended,
            Some(_) => Denial::Wrong,
            None => Denial::Unknown,
        };
        self.throttle.failed(admission, now);
        self.cache.refuse(&proof, active, denial, now);
        Err(Refusal::Denied(denial, Sameness::Unique))
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

    async fn until_settled(&self, began: Instant) {
        let after = if self.throttle.is_on() { PACED_AFTER } else { REFUSED_AFTER };
        tokio::time::sleep_until((began + after).into()).await;
    }
}
