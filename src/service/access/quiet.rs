//! Checks from a throttled source. All usernames are alike to it: each check is refused, at a time that the source alone decides.
//!
//! A client that shares its address with an attacker should get in all the same. So a secret for a username that is known from there is
//! checked in silence meanwhile. If it is right, it is let in. Otherwise nothing tells that it was checked: not the answer, not its time, and
//! no count of failures but the one that makes further silent checks rarer. The same is done where a login finds no place in the queue.

use std::sync::Arc;

use super::decision_clock::DecisionClock;
use super::identify::PendingLogin;
use super::{Access, NotIdentified, RepeatKey, Wanted};
use crate::domain::{Denial, Secret};
use crate::state::cache::{Circumstance, Verified};
use crate::state::hashing::{Check, HIGHEST_COST, HashShare};
use crate::state::throttle::Delayed;

impl Access {
    /// Refuses a check at the time that its delay decides.
    pub(super) async fn throttled(
        &self,
        delayed: Delayed,
        (entry, _): Wanted,
        clock: &DecisionClock,
    ) -> NotIdentified {
        self.metrics.throttled(entry, delayed.by);
        clock.wait_until(delayed.answered_after()).await;
        NotIdentified::Denied(Denial::Throttled(delayed.retry_after), RepeatKey::SourceOnly, None)
    }

    /// Refuses a check as `refusal` does, unless its secret turns out to be right until then.
    pub(super) async fn unless_right(
        &self,
        pending: PendingLogin<'_>,
        refusal: impl Future<Output = NotIdentified>,
    ) -> Result<Arc<Verified>, NotIdentified> {
        let checked = async {
            match self.quiet_check(pending).await {
                Some(verified) => verified,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            verified = checked => Ok(verified),
            refusal = refusal => Err(refusal),
        }
    }

    /// Checks the secret, if the username is known from there. A check that takes longer than its answer may wait is completed all the
    /// same: then the next one finds its result in the cache.
    async fn quiet_check(&self, pending: PendingLogin<'_>) -> Option<Arc<Verified>> {
        let PendingLogin { name, source, network, clock, seen, proof, refused, .. } = pending;
        let is_known = self.is_known_from(pending.row.as_ref().map(|row| row.id()), network).await;
        // A device with an old password presents it again and again, and must not use up the checks of the owner beside it.
        if !is_known || self.was_denied_quietly(&pending) {
            return None;
        }
        let circumstance = pending.circumstance();
        let pass = self.throttle.pass_quietly(network, &name, clock.now())?;
        let (row, stored) = (pending.row?, pending.stored);
        let secret = Secret::new(pending.secret.to_vec());
        let (store, hasher) = (self.store.clone(), Arc::clone(&self.hasher));
        let (cache, epochs) = (Arc::clone(&self.cache), Arc::clone(&self.epochs));
        let throttle = Arc::clone(&self.throttle);
        let check = tokio::spawn(async move {
            let highest = store.highest_cost(HIGHEST_COST).await.ok()?;
            let (share, refuses) = (HashShare::Source(source), refused.is_some());
            let check = Check { stored: &stored, secret: secret.expose(), highest, refused: refuses, share };
            let checked = hasher.verify_apart(check).await.ok()?;
            if !checked.right || refuses {
                throttle.failed_quietly(pass);
                let circumstance = match refused {
                    Some(Denial::Lacks(_)) if checked.right => Circumstance::WithoutEmail,
                    _ => circumstance,
                };
                cache.deny_quietly(&proof, circumstance, clock.now());
                return None;
            }
            let verified = Arc::new(Verified::new(row, proof, seen, &epochs, clock.now()));
            cache.insert(Arc::clone(&verified));
            Some(verified)
        });
        check.await.ok()?
    }

    /// Returns true if the same secret was wrong in a silent check before.
    fn was_denied_quietly(&self, pending: &PendingLogin<'_>) -> bool {
        let now = pending.clock.now();
        let denied = |circumstance| self.cache.was_denied_quietly(&pending.proof, circumstance, now);
        denied(pending.circumstance())
            || matches!(pending.refused, Some(Denial::Lacks(_))) && denied(Circumstance::WithoutEmail)
    }
}
