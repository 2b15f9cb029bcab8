//! The question of open sessions and tunnels: does the credential still hold what was granted?

use std::sync::Arc;

use super::decision_clock::DecisionClock;
use super::{Access, Granted};
use crate::domain::{Permission, Permissions, Unavailable};
use crate::state::cache::{Proof, Verified};
use crate::state::store::StoreError;

impl Access {
    /// Returns true if a principal that was granted something still holds `permission`: the same principal, with the same
    /// password, and not suspended; if it was granted by a session, only while that has not ended. It costs no password check. To be called at each change of
    /// [`crate::state::Epochs::subscribe`], and before each step of an open session.
    ///
    /// # Errors
    /// [`Unavailable::Store`] if the store has to be asked and can't be, [`Unavailable::CutOff`] without trust.
    pub async fn still_holds(&self, granted: &Granted, permission: Permission) -> Result<bool, Unavailable> {
        self.still_holds_by(granted, permission, DecisionClock::start()).await
    }

    /// The effective permissions of a principal that was granted something; `None` if it was removed, has another password,
    /// or is suspended. Otherwise as [`Access::still_holds`].
    ///
    /// # Errors
    /// As [`Access::still_holds`].
    pub async fn permissions_now(&self, granted: &Granted) -> Result<Option<Permissions>, Unavailable> {
        self.permissions_by(granted, DecisionClock::start()).await
    }

    pub(super) async fn still_holds_by(
        &self,
        granted: &Granted,
        permission: Permission,
        clock: DecisionClock,
    ) -> Result<bool, Unavailable> {
        let permissions = self.permissions_by(granted, clock).await?;
        Ok(permissions.is_some_and(|permissions| permissions.contains(permission)))
    }

    async fn permissions_by(
        &self,
        granted: &Granted,
        clock: DecisionClock,
    ) -> Result<Option<Permissions>, Unavailable> {
        let (granted, now) = (granted.verified(), clock.began());
        if self.cache.is_fresh(granted, &self.epochs, now) {
            return Ok(Some(granted.effective));
        }
        if let Some(session) = &granted.session {
            return self.permissions_by_session(session, clock).await;
        }
        let entry =
            || self.cache.get(&granted.identity.name).filter(|entry| entry.is(&granted.identity.principal));
        if let Some(entry) = entry()
            && self.cache.is_fresh(&entry, &self.epochs, now)
            && stands(granted, &entry, &entry.proof)
        {
            return Ok(Some(entry.effective));
        }

        // Before and after the row is read, as where a login is checked.
        self.check_trust(now)?;
        // The store logs its faults itself.
        let complain = |_: &StoreError| self.without_store();
        let found = self.reads.row(&self.store, &self.epochs, granted, now, complain).await;
        self.check_trust(clock.now())?;
        let found = found?;
        let Some(row) = found.row.filter(|row| row.active && granted.is(row)) else { return Ok(None) };
        let fingerprint = self.cache.fingerprint(&row.hash);
        let proof = Proof { fingerprint, ..granted.proof };
        // Looked for again: a renewal of the hash may have put it there meanwhile.
        let known = entry().is_some_and(|entry| stands(granted, &entry, &proof));
        if granted.proof.fingerprint != fingerprint && !known {
            return Ok(None);
        }
        let effective = row.effective();
        if found.own {
            let row = Arc::unwrap_or_clone(row);
            self.remember(Verified::new(row, proof, found.seen, &self.epochs, now));
        }
        Ok(Some(effective))
    }
}

/// Returns true if the secret that was granted something is the password behind the hash of `proof`: it was verified against
/// that hash, or `entry` says so of the same secret, as after a renewal of the hash.
fn stands(granted: &Verified, entry: &Verified, proof: &Proof) -> bool {
    granted.proof.fingerprint == proof.fingerprint
        || (entry.proof.fingerprint == proof.fingerprint && entry.proof.digest.matches(&granted.proof.digest))
}
