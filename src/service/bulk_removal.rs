//! The removal of several credentials of an account at once.

use super::audit::AuditAction;
use super::credentials::{Credentials, Manager};
use super::mutation::{Effect, ManagementError};
use crate::domain::{AccountError, Canonical, ChangeCondition, CredentialId};

/// The most credentials that are removed at once.
pub const MOST_AT_ONCE: usize = 200;

impl Credentials {
    /// Removes credentials: at most 200, in one transaction, which is in effect everywhere as a whole. Returns the outcome for each, in
    /// their order, and how long it took until all were in effect. Each has its line in the audit trail.
    ///
    /// # Errors
    /// [`AccountError::TooManyAtOnce`]. Nothing has changed then. Whatever else prevents a removal is the outcome of its credential. It is
    /// [`AccountError::NoSuchCredential`] also if another one has the name by now.
    pub async fn remove_many(
        &self,
        by: &Manager,
        named: &[(CredentialId, &str)],
    ) -> Result<(Vec<Result<(), ManagementError>>, Effect), ManagementError> {
        if named.len() > MOST_AT_ONCE {
            return Err(AccountError::TooManyAtOnce.into());
        }
        if by.is_at_command_line() {
            // Running gateways are told of each of them, for their audit trails.
            let (mut outcomes, mut effect) = (Vec::with_capacity(named.len()), Effect::default());
            for (id, username) in named {
                let condition = ChangeCondition { id: Some(*id), version: None };
                let removed = match self.remove_if(by, username, condition).await {
                    Err(ManagementError::NotAllowed(AccountError::ConditionFailed)) => {
                        Err(AccountError::NoSuchCredential.into())
                    }
                    removed => removed,
                };
                if let Ok(removed) = &removed {
                    effect = Effect { took: effect.took + removed.effect.took, ..removed.effect };
                }
                outcomes.push(removed.map(drop));
            }
            return Ok((outcomes, effect));
        }
        let asked = |username: &str| by.asked(AuditAction::CredentialRemove, username, String::new());
        let names: Vec<Option<Canonical>> =
            named.iter().map(|(_, username)| Canonical::of(username.as_bytes())).collect();
        let (mut valid, mut chosen, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        for ((id, username), name) in named.iter().zip(&names) {
            if let Some(name) = name {
                valid.push(*name);
                chosen.push((*id, *name));
                requests.push(asked(username));
            }
        }
        let (removed, effect) = match valid.is_empty() {
            true => (Vec::new(), Effect::default()),
            false => {
                let (mutations, account, authority) = (self.mutations.clone(), by.account(), by.authority());
                let work = async move {
                    let _turn = mutations.turn(account).await?;
                    Ok(mutations.store.remove_credentials(account, authority, &chosen).await?)
                };
                self.mutations.run_removals(requests, valid, work).await?
            }
        };
        let mut removed = removed.into_iter();
        let outcome = |((_, username), name): (&(CredentialId, &str), Option<Canonical>)| match name {
            Some(_) => removed.next().unwrap_or(Err(AccountError::NoSuchCredential.into())),
            None => self.mutations.note(&asked(username), Err(AccountError::NoSuchCredential.into())),
        };
        Ok((named.iter().zip(names).map(outcome).collect(), effect))
    }
}
