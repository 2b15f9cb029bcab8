//! The removal of several credentials of an account at once.

use std::time::Duration;

use super::audit::AuditAction;
use super::credentials::{Credentials, Manager};
use super::mutation::{Effect, ManagementError};
use crate::domain::{AccountError, Canonical};

/// The most credentials that are removed at once.
pub const MOST_AT_ONCE: usize = 200;

/// A removal of several credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkRemoval {
    /// The outcome for each name, in the order of the request.
    pub outcomes: Vec<Result<(), ManagementError>>,
    /// The time until those that are removed were so everywhere; `None` if none is.
    pub effect: Option<Effect>,
}

impl Credentials {
    /// Removes credentials: at most 200, in one transaction, which is in effect everywhere as a whole. Each has its line in the audit trail.
    ///
    /// # Errors
    /// [`AccountError::TooManyAtOnce`]. Nothing has changed then. Whatever else prevents a removal is the outcome of its name.
    pub async fn remove_many(
        &self,
        by: &Manager,
        usernames: &[&str],
    ) -> Result<BulkRemoval, ManagementError> {
        if usernames.len() > MOST_AT_ONCE {
            return Err(AccountError::TooManyAtOnce.into());
        }
        if by.is_at_command_line() {
            // Running gateways are told of each of them, for their audit trails.
            return Ok(self.remove_each(by, usernames).await);
        }
        let asked = |username: &str| by.asked(AuditAction::CredentialRemove, username, String::new());
        let names: Vec<Option<Canonical>> =
            usernames.iter().map(|username| Canonical::of(username.as_bytes())).collect();
        let (mut valid, mut requests) = (Vec::new(), Vec::new());
        for (username, name) in usernames.iter().zip(&names) {
            if let Some(name) = name {
                valid.push(*name);
                requests.push(asked(username));
            }
        }
        let (removed, effect) = match valid.is_empty() {
            true => (Vec::new(), None),
            false => {
                let (mutations, account, authority) = (self.mutations.clone(), by.account(), by.authority());
                let removed = valid.clone();
                let work = async move {
                    let _turn = mutations.turn(account).await?;
                    Ok(mutations.store.remove_credentials(account, authority, &removed).await?)
                };
                self.mutations.run_removals(requests, valid, work).await?
            }
        };
        let mut removed = removed.into_iter();
        let outcome = |(username, name): (&&str, Option<Canonical>)| match name {
            Some(_) => removed.next().unwrap_or(Err(AccountError::NoSuchCredential.into())),
            None => self.mutations.note(&asked(username), Err(AccountError::NoSuchCredential.into())),
        };
        Ok(BulkRemoval { outcomes: usernames.iter().zip(names).map(outcome).collect(), effect })
    }

    async fn remove_each(&self, by: &Manager, usernames: &[&str]) -> BulkRemoval {
        let mut removal = BulkRemoval { outcomes: Vec::with_capacity(usernames.len()), effect: None };
        for username in usernames {
            let removed = self.remove(by, username).await;
            if let Ok(change) = &removed {
                let took = removal.effect.map_or(Duration::ZERO, |effect| effect.took) + change.effect.took;
                removal.effect = Some(Effect { took, ..change.effect });
            }
            removal.outcomes.push(removed.map(drop));
        }
        removal
    }
}
