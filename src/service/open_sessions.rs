//! The sessions that are open: their list and their ends, for their principal and for the operator.
//!
//! The end of a session is a change like the removal of a credential: in effect in every process when it is answered.

use super::audit::{AuditAction, Origin, RequestedChange, operator};
use super::{Effect, ManagementError, Mutations};
use crate::domain::{
    AccountError, AccountId, Canonical, Principal, PrincipalId, Session, SessionId, Username,
};
use crate::state::store::Written;

/// The open sessions of all principals. Cloning is cheap.
#[derive(Clone)]
pub struct OpenSessions {
    mutations: Mutations,
}

/// The sessions that are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChoice {
    /// The session of this number.
    One(SessionId),
    /// All but one.
    Others(SessionId),
    /// All.
    All,
}

/// The principal whose sessions are to end, and who asks for it.
pub(super) struct SessionOwner<'a> {
    /// The principal.
    pub(super) principal: PrincipalId,
    /// The account.
    pub(super) account: AccountId,
    /// The username.
    pub(super) name: &'a Username,
    /// The actor, for the audit trail.
    pub(super) actor: String,
    /// The origin of the request.
    pub(super) origin: Origin,
}

impl OpenSessions {
    /// Creates the service.
    pub fn new(mutations: Mutations) -> OpenSessions {
        OpenSessions { mutations }
    }

    /// Returns the sessions of a principal that have not ended, in the order of their beginning.
    ///
    /// # Errors
    /// [`ManagementError::Store`].
    pub async fn list(&self, principal: PrincipalId) -> Result<Vec<Session>, ManagementError> {
        Ok(self.mutations.store.sessions(principal).await?)
    }

    /// Returns the sessions of the account holder or credential with this name.
    ///
    /// # Errors
    /// [`AccountError::NoSuchCredential`] and [`ManagementError::Store`].
    pub async fn of_name(&self, name: &str) -> Result<Vec<Session>, ManagementError> {
        self.list(self.find(name).await?.id()).await
    }

    /// Ends sessions of the account holder or credential with this name, for the operator. Returns their number.
    ///
    /// # Errors
    /// [`AccountError::NoSuchCredential`], [`AccountError::NoSuchSession`] for one that there isn't, and [`ManagementError`].
    pub async fn end_of_name(
        &self,
        name: &str,
        choice: SessionChoice,
        origin: Origin,
    ) -> Result<(u64, Effect), ManagementError> {
        let principal = self.mutations.find(self.find(name)).await?;
        let owner = SessionOwner {
            principal: principal.id(),
            account: principal.account,
            name: &principal.name,
            actor: operator(),
            origin,
        };
        self.end(owner, choice).await
    }

    /// Ends sessions of a principal. Returns their number, which may be zero unless one is named.
    pub(super) async fn end(
        &self,
        owner: SessionOwner<'_>,
        choice: SessionChoice,
    ) -> Result<(u64, Effect), ManagementError> {
        let SessionOwner { principal, account, name, actor, origin } = owner;
        let change = match choice {
            SessionChoice::One(id) => format!("session={}", id.0),
            SessionChoice::Others(id) => format!("sessions=all-but-{}", id.0),
            SessionChoice::All => "sessions=all".to_owned(),
        };
        let subject = name.as_str().to_owned();
        let asked = RequestedChange {
            action: AuditAction::SessionEnd,
            actor,
            subject,
            change,
            origin,
            account: Some(account),
        };
        let store = self.mutations.store.clone();
        let work = async move {
            let ended = match choice {
                SessionChoice::One(id) => {
                    let Written { change, .. } = store.end_session(principal, id).await?;
                    (1, Some(change))
                }
                SessionChoice::Others(_) | SessionChoice::All => {
                    let but = match choice {
                        SessionChoice::Others(id) => Some(id),
                        SessionChoice::One(_) | SessionChoice::All => None,
                    };
                    let Written { value, change } = store.end_other_sessions(principal, but).await?;
                    (value, Some(change))
                }
            };
            Ok(ended)
        };
        match self.mutations.run_if_changed(asked, name.canonical(), work).await {
            // It is so in every process: otherwise the error would be another one.
            Err(ManagementError::NotAllowed(AccountError::NoSuchSession))
                if !matches!(choice, SessionChoice::One(_)) =>
            {
                Ok((0, Effect::default()))
            }
            ended => ended,
        }
    }

    async fn find(&self, name: &str) -> Result<Principal, ManagementError> {
        let name = Canonical::of(name.as_bytes()).ok_or(AccountError::NoSuchCredential)?;
        self.mutations.store.principal(&name).await?.ok_or(AccountError::NoSuchCredential.into())
    }
}
