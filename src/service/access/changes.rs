//! What others wait for: that something changed, that the store can be asked.

use tokio::sync::watch;

use super::Access;
use crate::domain::Unavailable;

impl Access {
    /// Changes with every mutation; whoever keeps something open then asks [`Access::still_holds`].
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.epochs.subscribe()
    }

    /// Whether decisions can be made that the cache has no answer to.
    ///
    /// # Errors
    /// [`Unavailable::Store`].
    pub async fn ready(&self) -> Result<(), Unavailable> {
        self.store.ping().await.map_err(|error| {
            tracing::warn!(%error, "not ready");
            Unavailable::Store
        })
    }
}
