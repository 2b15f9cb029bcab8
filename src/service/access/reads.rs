//! The rows of principals that open sessions and tunnels ask for. A change wakes all of them at once, and thousands of one principal
//! share one read of its row. So do those that ask for a row that doesn't exist, which the cache doesn't keep.

use std::time::Duration;

use super::shared_reads::{SharedReads, SharedRow};
use crate::domain::{Canonical, Moment, Principal, Unavailable};
use crate::state::Epochs;
use crate::state::cache::Verified;
use crate::state::store::{Store, StoreError};

/// Reads that are under way or were done lately, by name.
pub(super) struct RowReads(SharedReads<Canonical, Principal>);

impl RowReads {
    /// No reads yet. They are shared for at most `ttl`.
    pub(super) fn new(ttl: Duration) -> RowReads {
        RowReads(SharedReads::new(ttl))
    }

    /// The present row of a principal that was granted something. `complain` is called with the store's error once for all
    /// that wait for the same read.
    ///
    /// # Errors
    /// [`Unavailable`] if the store can't be asked.
    pub(super) async fn row(
        &self,
        store: &Store,
        epochs: &Epochs,
        granted: &Verified,
        now: Moment,
        complain: impl Fn(&StoreError) -> Unavailable,
    ) -> Result<SharedRow<Principal>, Unavailable> {
        let name = granted.identity.name;
        let account = granted.identity.principal.account_name.canonical();
        let is_of_now = |seen, _: Option<&Principal>| epochs.is_fresh(seen, &name, &account);
        let (name, complain) = (&name, &complain);
        let read = || async move { store.principal(name).await.map_err(|error| complain(&error)) };
        self.0.shared(*name, now, || epochs.now(), is_of_now, read).await
    }
}
