//! The removal of several credentials of an account at once.

use super::audit::AuditAction;
use super::credentials::{Credentials, Manager};
use super::mutation::{Effect, ManagementError};
use crate::domain::{AccountError, Canonical, ChangeCondition, CredentialId};

/// The most credentials that are removed at once.
pub const MOST_AT_ONCE: usize = 200;

impl Credentials {
    /// Removes credentials of these names, and IDs where they are given: at most 200, in one transaction, which is in effect everywhere as a whole. Returns the outcome for each name, in
    /// their order, and how long it took until all were in effect. Each has its line in the audit trail.
    ///
    /// # Errors
    /// [`AccountError::TooManyAtOnce`]. Nothing has changed then. Whatever else prevents a removal is the outcome of its name.
    pub async fn remove_many(
        &self,
        by: &Manager,
        selected: &[(&str, Option<CredentialId>)],
    ) -> Result<(Vec<Result<(), ManagementError>>, Effect), ManagementError> {
        if selected.len() > MOST_AT_ONCE {
            return Err(AccountError::TooManyAtOnce.into());
        }
        if by.is_at_command_line() {
            // Running gateways are told of each of them, for their audit trails.
            let (mut outcomes, mut effect) = (Vec::with_capacity(selected.len()), Effect::default());
            for (username, id) in selected {
                let condition = ChangeCondition { id: *id, version: None };
                let removed = self.remove_if(by, username, condition).await;
                if let Ok(removed) = &removed {
                    effect = Effect { took: effect.took + removed.effect.took, ..removed.effect };
                }
                outcomes.push(removed.map(drop));
            }
            return Ok((outcomes, effect));
        }
        let asked = |username: &str| by.asked(AuditAction::CredentialRemove, username, String::new());
        let names: Vec<Option<Canonical>> =
            selected.iter().map(|(username, _)| Canonical::of(username.as_bytes())).collect();
        let (mut valid, mut requests) = (Vec::new(), Vec::new());
        for ((username, id), name) in selected.iter().zip(&names) {
            if let Some(name) = name {
                valid.push((*name, *id));
                requests.push(asked(username));
            }
        }
        let (removed, effect) = match valid.is_empty() {
            true => (Vec::new(), Effect::default()),
            false => {
                let (mutations, account, authority) = (self.mutations.clone(), by.account(), by.authority());
                let removed = valid.clone();
                let work = async move {
                    let _turn = mutations.turn(account).await?;
                    Ok(mutations.store.remove_credentials(account, authority, &removed).await?)
                };
                let names = valid.into_iter().map(|(name, _)| name).collect();
                self.mutations.run_removals(requests, names, work).await?
            }
        };
        let mut removed = removed.into_iter();
        let outcome = |((username, _), name): (&(&str, _), Option<Canonical>)| match name {
            Some(_) => removed.next().unwrap_or(Err(AccountError::NoSuchCredential.into())),
            None => self.mutations.note(&asked(username), Err(AccountError::NoSuchCredential.into())),
        };
        Ok((selected.iter().zip(names).map(outcome).collect(), effect))
    }
}
