//! What open sessions and tunnels ask again and again: does it still hold what was granted?

use std::time::Instant;

use super::{Access, Granted};
use crate::domain::{Permission, Unavailable};
use crate::state::cache::{Proof, Verified};

impl Access {
    /// Whether who was granted something still holds `permission`: the same principal, with the same password, not
    /// suspended. Costs no password check; to be asked at each change of [`crate::state::Epochs::subscribe`], and before
    /// each thing that an open session does.
    ///
    /// # Errors
    /// [`Unavailable::Store`] where the store has to be asked and can't be.
    pub async fn still_holds(&self, granted: &Granted, permission: Permission) -> Result<bool, Unavailable> {
        self.still_holds_at(granted, permission, Instant::now()).await
    }

    pub(super) async fn still_holds_at(
        &self,
        granted: &Granted,
        permission: Permission,
        now: Instant,
    ) -> Result<bool, Unavailable> {
        let granted = granted.verified();
        if self.cache.is_fresh(granted, &self.epochs, now) {
            return Ok(granted.effective.contains(permission));
        }
        let entry = self.cache.get(&granted.name).filter(|entry| entry.is(&granted.principal));
        if let Some(entry) = &entry
            && self.cache.is_fresh(entry, &self.epochs, now)
            && stands(granted, entry, &entry.proof)
        {
            return Ok(entry.effective.contains(permission));
        }

        let seen = self.epochs.now();
        let row =
            self.store.principal(&granted.name).await.map_err(|error| self.without_store(&error, now))?;
        let Some(row) = row.filter(|row| row.active && granted.is(row)) else { return Ok(false) };
        let fingerprint = self.cache.fingerprint(&row.hash);
        let proof = Proof { fingerprint, ..granted.proof };
        let known = entry.as_ref().is_some_and(|entry| stands(granted, entry, &proof));
        if granted.proof.fingerprint != fingerprint && !known {
            return Ok(false);
        }
        let verified = self.remember(Verified::new(row, proof, seen, &self.epochs, now));
        Ok(verified.effective.contains(permission))
    }
}

/// Whether the secret that was granted something is the password behind the hash of `proof`: it was verified against that
/// hash, or `entry` says so of the same secret, as after a renewal of the hash.
fn stands(granted: &Verified, entry: &Verified, proof: &Proof) -> bool {
    granted.proof.fingerprint == proof.fingerprint
        || (entry.proof.fingerprint == proof.fingerprint && entry.proof.digest.matches(&granted.proof.digest))
}
