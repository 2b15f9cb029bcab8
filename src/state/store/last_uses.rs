//! The last use of each principal. Account holders look at it, and no decision depends on it: writing it is no change.

use super::statement::Statement;
use super::{Mutation, MutationError, PrincipalUse, Store, StoreError, sql};

impl Store {
    /// Writes last uses in one transaction. One that is earlier than what is stored is skipped, and so is a principal that was removed
    /// meanwhile. Does not count as a change, see [`Store::changes`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Replaced`].
    pub async fn write_last_uses(&self, uses: &[PrincipalUse]) -> Result<(), StoreError> {
        let written = async {
            let mut mutation = Mutation::begin(self).await?;
            // Processes that write the same rows at once do so in the same order, and so none waits for another in a circle.
            let mut uses: Vec<&PrincipalUse> = uses.iter().collect();
            uses.sort_unstable_by_key(|used| used.principal.0);
            for used in uses {
                let statement = Statement::new(sql::WRITE_LAST_USE)
                    .number(used.principal.0)
                    .number(used.used_at)
                    .text(used.entry.as_str())
                    .text(&used.address.to_string());
                mutation.execute(statement).await?;
            }
            mutation.finish().await?;
            Ok(())
        };
        written.await.map_err(|error: MutationError| error.into_store_error())
    }
}
