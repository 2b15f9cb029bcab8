//! The credentials of a selection.

use super::bulk_removal::MOST_AT_ONCE;
use super::credentials::{Credentials, Manager};
use super::mutation::ManagementError;
use crate::domain::{AccountError, CredentialDetails, CredentialId, PrincipalId};

impl Credentials {
    /// Returns the credentials of these numbers, at most 200. Those that the account doesn't have are left out.
    ///
    /// # Errors
    /// [`ManagementError::Store`].
    pub async fn by_ids(
        &self,
        by: &Manager,
        ids: &[CredentialId],
    ) -> Result<Vec<CredentialDetails>, ManagementError> {
        let mut found = Vec::with_capacity(ids.len().min(MOST_AT_ONCE));
        for id in ids.iter().take(MOST_AT_ONCE) {
            let details = self.mutations.store.credential_by_id(by.account(), *id).await?;
            found.extend(details.map(|mut details| {
                details.last_use = self.mutations.last_uses.latest(PrincipalId(id.0), details.last_use);
                details
            }));
        }
        Ok(found)
    }

    /// Does the same before a change. That some are left out is then true in every running gateway, too.
    ///
    /// # Errors
    /// As [`Credentials::by_ids`], and [`ManagementError::Unconfirmed`].
    pub async fn by_ids_for_change(
        &self,
        by: &Manager,
        ids: &[CredentialId],
    ) -> Result<Vec<CredentialDetails>, ManagementError> {
        let mut found = Vec::new();
        let looking = async {
            found = self.by_ids(by, ids).await?;
            match found.len() < ids.len() {
                true => Err(AccountError::NoSuchCredential.into()),
                false => Ok(()),
            }
        };
        match self.mutations.find(looking).await {
            Ok(()) | Err(ManagementError::NotAllowed(AccountError::NoSuchCredential)) => Ok(found),
            Err(error) => Err(error),
        }
    }
}
