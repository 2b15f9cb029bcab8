//! Events that others wait for: a change, trust, and a store that can be asked.

use tokio::sync::watch;

use super::Access;
use crate::domain::Unavailable;

impl Access {
    /// A number that changes with every mutation, and when trust ends or returns. Open sessions and tunnels then call [`Access::still_holds`].
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.epochs.subscribe()
    }

    /// Returns true if decisions can be made. It is the last look after a wait between a decision and what it permits.
    #[inline]
    pub fn has_trust(&self) -> bool {
        self.epochs.trust().holds_now()
    }

    /// Waits until decisions can be made.
    pub async fn until_trust(&self) {
        let mut changes = self.subscribe();
        while !self.has_trust() && changes.changed().await.is_ok() {}
    }

    /// Checks that this process may decide, and that the store can be asked, which decisions need that the cache can't answer.
    ///
    /// # Errors
    /// [`Unavailable::CutOff`] or [`Unavailable::Store`].
    pub async fn ready(&self) -> Result<(), Unavailable> {
        if !self.has_trust() {
            return Err(Unavailable::CutOff);
        }
        // The store logs its faults itself.
        self.store.ping().await.map_err(|_| Unavailable::Store)
    }
}
