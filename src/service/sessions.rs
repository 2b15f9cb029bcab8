//! Sessions of browsers: login, logout, and a password that is given again.
//!
//! A login is decided by [`Access`], as any other. The session that it begins is stored only if the principal still has the password that
//! was verified, in a transaction before which a new one is committed or after which it ends the session.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::access::Peer;
use super::audit::{AuditAction, Origin, RequestedChange};
use super::open_sessions::{OpenSessions, SessionChoice, SessionOwner};
use super::{Access, Decision, Effect, Granted, ManagementError, Mutations};
use crate::domain::session::TOKEN_BYTES;
use crate::domain::{
    AccountError, Denial, Entry, Permission, Presented, PrincipalId, Session, SessionCookie, SessionId,
    SessionToken, Unavailable, shown,
};
use crate::state::store::{NewSession, StoreError};

/// The most bytes of a browser's name that are kept.
const LONGEST_BROWSER: usize = 256;
/// The number of times that a login is decided if its password changes meanwhile, or its hash is renewed.
const ATTEMPTS: usize = 3;

/// The management of the sessions of their principals. Cloning is cheap.
#[derive(Clone)]
pub struct Sessions {
    mutations: Mutations,
    access: Arc<Access>,
    open: OpenSessions,
}

/// The terms of new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// The time without use after which a session ends, in whole seconds.
    pub idle: Duration,
    /// The time after which it ends in any case, in whole seconds.
    pub lifetime: Duration,
}

/// The outcome of a login that is to begin a session.
#[derive(Debug)]
pub enum BeginOutcome {
    /// The session has begun.
    Begun {
        /// The content of its cookie.
        cookie: SessionCookie,
        /// The principal.
        granted: Granted,
    },
    /// The password is right, and the principal lacks the permission.
    Lacks(Permission),
    /// The login is denied. The client gets one answer for unknown, wrong and suspended.
    Denied(Denial),
    /// No decision is possible now, or the session cannot be stored; the client is told to try again.
    Unavailable(Unavailable),
}

/// The outcome of a password that is given again in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmOutcome {
    /// The password is right, and the session has noted it.
    Confirmed,
    /// The password is wrong, or was not checked after too many failures.
    Denied(Denial),
    /// The session has ended.
    NoSession,
    /// No decision is possible now; the client is told to try again.
    Unavailable(Unavailable),
}

impl Sessions {
    /// Creates the service.
    pub fn new(mutations: Mutations, access: Arc<Access>) -> Sessions {
        let open = OpenSessions::new(mutations.clone());
        Sessions { mutations, access, open }
    }

    /// Decides on a login, and begins a session if its principal holds the permission. Without one, it begins for any principal.
    pub async fn begin(
        &self,
        presented: Presented<'_>,
        permission: Option<Permission>,
        entry: Entry,
        peer: Peer<'_>,
        browser: &str,
        terms: &SessionTerms,
    ) -> BeginOutcome {
        for _ in 0..ATTEMPTS {
            let decision = match permission {
                Some(permission) => self.access.authorize(presented, permission, entry, peer).await,
                None => self.access.authenticate(presented, entry, peer).await,
            };
            let granted = match decision {
                Decision::Allowed(granted) => granted,
                Decision::Denied(Denial::Lacks(permission)) => return BeginOutcome::Lacks(permission),
                Decision::Denied(denial) => return BeginOutcome::Denied(denial),
                Decision::Unavailable(why) => return BeginOutcome::Unavailable(why),
            };
            match self.begin_for(&granted, entry, peer, browser, terms).await {
                Ok((cookie, granted)) => return BeginOutcome::Begun { cookie, granted },
                // Decided anew: it has another password, or another hash of the same one.
                Err(ManagementError::NotAllowed(_)) => {}
                Err(ManagementError::Busy) => return BeginOutcome::Unavailable(Unavailable::Busy),
                Err(_) => return BeginOutcome::Unavailable(Unavailable::Store),
            }
        }
        BeginOutcome::Unavailable(Unavailable::Busy)
    }

    /// Begins a session of a principal whose password was verified.
    ///
    /// # Errors
    /// [`AccountError`] if that is no longer its password, and [`ManagementError`].
    pub(super) async fn begin_for(
        &self,
        granted: &Granted,
        entry: Entry,
        peer: Peer<'_>,
        browser: &str,
        terms: &SessionTerms,
    ) -> Result<(SessionCookie, Granted), ManagementError> {
        let mut token = Zeroizing::new([0; TOKEN_BYTES]);
        let no_random = |error: getrandom::Error| StoreError::Unavailable(error.to_string());
        getrandom::fill(&mut *token).map_err(no_random)?;
        let cookie = SessionCookie::new(granted.principal(), SessionToken::new(token));
        let new = NewSession {
            principal: granted.row().clone(),
            entry,
            digest: cookie.digest(),
            source: peer.source,
            browser: shown(browser.as_bytes(), LONGEST_BROWSER),
            created_at: now(),
            idle: terms.idle,
            lifetime: terms.lifetime,
        };
        let asked = self.asked(AuditAction::SessionBegin, granted, String::new(), origin(peer, entry));
        let (mutations, account) = (self.mutations.clone(), granted.account());
        let work = async move {
            let _turn = mutations.turn(account).await?;
            let begun = mutations.store.begin_session(new).await?;
            Ok((begun.session, begun.ended))
        };
        let (session, _) = self.mutations.run_if_changed(asked, *granted.canonical(), work).await?;
        let granted = self.access.begin_session(granted, &session, cookie.digest());
        Ok((cookie, granted))
    }

    /// Ends the session by which something was granted: a logout. It is in effect everywhere when this returns, also if the session had
    /// ended before.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn end(&self, granted: &Granted, origin: Origin) -> Result<Effect, ManagementError> {
        let Some(session) = granted.session() else { return Ok(Effect::default()) };
        match self.end_one(granted, session.id, origin).await {
            // It is so in every process: otherwise the error would be another one.
            Err(ManagementError::NotAllowed(AccountError::NoSuchSession)) => Ok(Effect::default()),
            ended => ended,
        }
    }

    /// Ends a session of the same principal.
    ///
    /// # Errors
    /// [`AccountError::NoSuchSession`], also if it belongs to another principal, and [`ManagementError`].
    pub async fn end_one(
        &self,
        granted: &Granted,
        id: SessionId,
        origin: Origin,
    ) -> Result<Effect, ManagementError> {
        let ended = self.open.end(owner(granted, origin), SessionChoice::One(id)).await;
        ended.map(|(_, effect)| effect)
    }

    /// Ends all sessions of the same principal but that by which this was granted, at all entries. Returns their number.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn end_others(
        &self,
        granted: &Granted,
        origin: Origin,
    ) -> Result<(u64, Effect), ManagementError> {
        let choice =
            granted.session().map_or(SessionChoice::All, |session| SessionChoice::Others(session.id));
        self.open.end(owner(granted, origin), choice).await
    }

    /// Returns the sessions of a principal that have not ended, in the order of their beginning.
    ///
    /// # Errors
    /// [`ManagementError::Store`].
    pub async fn list(&self, principal: PrincipalId) -> Result<Vec<Session>, ManagementError> {
        self.open.list(principal).await
    }

    /// Checks a password that is given again in a session, and has the session note that.
    pub async fn confirm(&self, granted: &Granted, password: &[u8], peer: Peer<'_>) -> ConfirmOutcome {
        let Some((entry, session)) = granted.session_entry().zip(granted.session()) else {
            return ConfirmOutcome::NoSession;
        };
        let presented = Presented { username: granted.name().as_str().as_bytes(), secret: password };
        match self.access.authenticate(presented, entry, peer).await {
            Decision::Allowed(same) if same.principal() == granted.principal() => {}
            // Another principal has the name now.
            Decision::Allowed(_) => return ConfirmOutcome::NoSession,
            Decision::Denied(denial) => return ConfirmOutcome::Denied(denial),
            Decision::Unavailable(why) => return ConfirmOutcome::Unavailable(why),
        }
        let at = now();
        let change = format!("session={}", session.id.0);
        let asked = self.asked(AuditAction::SessionConfirm, granted, change, origin(peer, entry));
        let noted = match self.mutations.store.confirm_session(granted.principal(), session.id, at).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(AccountError::NoSuchSession.into()),
            Err(error) => Err(ManagementError::Store(error)),
        };
        match self.mutations.note(&asked, noted) {
            Ok(()) => {
                granted.confirm(at);
                ConfirmOutcome::Confirmed
            }
            Err(ManagementError::NotAllowed(_)) => ConfirmOutcome::NoSession,
            Err(_) => ConfirmOutcome::Unavailable(Unavailable::Store),
        }
    }

    /// Returns true if the password was given within that time, at the login or later. Asks the store if this process knows of nothing: it
    /// may have been given by way of another one.
    ///
    /// # Errors
    /// [`ManagementError::Store`].
    pub async fn is_confirmed(&self, granted: &Granted, within: Duration) -> Result<bool, ManagementError> {
        let Some(session) = granted.session() else { return Ok(false) };
        let is_recent = |at: i64| now() < at.saturating_add_unsigned(within.as_secs());
        if is_recent(session.confirmed_at) {
            return Ok(true);
        }
        match self.mutations.store.confirmed_at(granted.principal(), session.id).await? {
            Some(at) => {
                granted.confirm(at);
                Ok(is_recent(at))
            }
            None => Ok(false),
        }
    }

    fn asked(
        &self,
        action: AuditAction,
        granted: &Granted,
        change: String,
        origin: Origin,
    ) -> RequestedChange {
        let (actor, account) = (granted.name().to_string(), Some(granted.account()));
        RequestedChange { action, subject: actor.clone(), actor, change, origin, account }
    }
}

fn owner(granted: &Granted, origin: Origin) -> SessionOwner<'_> {
    let name = granted.name();
    SessionOwner {
        principal: granted.principal(),
        account: granted.account(),
        name,
        actor: name.to_string(),
        origin,
    }
}

fn origin(peer: Peer<'_>, entry: Entry) -> Origin {
    Origin::Remote { source: peer.source, request_id: peer.request_id.to_owned(), entry }
}

/// The present time in seconds since 1970 UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
