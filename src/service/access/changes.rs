//! Events that others wait for: a change, and a store that can be asked.

use tokio::sync::watch;

use super::Access;
use crate::domain::Unavailable;

impl Access {
    /// A number that changes with every mutation. Open sessions and tunnels then call [`Access::still_holds`].
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.epochs.subscribe()
    }

    /// Checks that the store can be asked, which decisions need that the cache can't answer.
    ///
    /// # Errors
    /// [`Unavailable::Store`].
    pub async fn ready(&self) -> Result<(), Unavailable> {
        // The store logs its faults itself.
        self.store.ping().await.map_err(|_| Unavailable::Store)
    }
}
