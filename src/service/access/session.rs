//! Decisions about sessions: does the session of this cookie, right now, belong to a principal that holds the permission?
//!
//! A session is decided as a credential is, without a password: the session and its principal are one row, which is read after trust
//! was checked and the epoch was noted. The end of a session, a new password, a suspension, a removal and a cleared permission all raise
//! the epoch of the principal's name, or of its account, in every process before they are answered. So an entry that was read before
//! one of them is stale after it, and a row that is read after it shows it.
//!
//! Time ends a session as well. It may be used by way of several processes, which tell each other of its uses only by the store. So a
//! session that has run out as far as this process knows is read again before it is refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::decision_clock::DecisionClock;
use super::denials::{DenialKind, DenialRecord, Peer, RepeatKey};
use super::{Access, ConnectionMemory, Granted, lacked};
use crate::domain::{
    Denial, Entry, Moment, Permission, Permissions, SessionCookie, SessionDigest, Unavailable, Username,
};
use crate::state::cache::{Digest, LiveSession, Proof, Verified};
use crate::state::clock;
use crate::state::metrics::{DecisionOutcome, Lookup};
use crate::state::store::{StoreError, StoredSession};

/// The longest time for which the end of a session is waited for in one piece. Timers don't count a suspension of the system.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A decision about the session of a cookie.
#[derive(Clone, Debug)]
pub enum SessionDecision {
    /// The principal holds the permission.
    Allowed(Granted),
    /// The principal, which has that name, lacks the permission. The session stays.
    Lacks(Permission, Username),
    /// No session of that entry, or one that has ended.
    NoSession,
    /// No decision is possible now; the client is told to try again.
    Unavailable(Unavailable),
}

impl Access {
    /// Allows what the connection remembers or the cache allows, without waiting. `None` is not a denial: [`Access::authorize_session`]
    /// decides. A request that is admitted is a use of the session, which the caller notes: [`Access::note_session`].
    #[inline]
    pub fn check_session(
        &self,
        memory: &ConnectionMemory,
        cookie: &SessionCookie,
        permission: Permission,
        entry: Entry,
    ) -> Option<Granted> {
        self.check_session_at(memory, cookie, permission, entry, clock::now())
    }

    #[inline]
    pub(super) fn check_session_at(
        &self,
        memory: &ConnectionMemory,
        cookie: &SessionCookie,
        permission: Permission,
        entry: Entry,
        now: Moment,
    ) -> Option<Granted> {
        let verified = self.cache.find_remembered_session(memory, cookie, entry, &self.epochs, now)?;
        self.allowed(verified, permission, entry)
    }

    /// Decides if the principal of a session holds `permission`, or only if there is such a session. Looks into the cache itself; if that
    /// doesn't answer, it reads the store. The caller notes the use, as after [`Access::check_session`].
    pub async fn authorize_session(
        &self,
        cookie: &SessionCookie,
        permission: Option<Permission>,
        entry: Entry,
        peer: impl Into<Peer<'_>>,
    ) -> SessionDecision {
        self.authorize_session_by(cookie, permission, entry, peer.into(), DecisionClock::start()).await
    }

    /// As [`Access::authorize_session`], by a clock that the caller has started.
    pub(super) async fn authorize_session_by(
        &self,
        cookie: &SessionCookie,
        permission: Option<Permission>,
        entry: Entry,
        peer: Peer<'_>,
        clock: DecisionClock,
    ) -> SessionDecision {
        let (outcome, decision) = match self.session_of(cookie, entry, peer.source, clock).await {
            Ok(Some(verified)) => match lacked(&verified, permission) {
                None => {
                    self.note_verified(&verified, entry, peer.source, clock.began());
                    (DecisionOutcome::Allowed, SessionDecision::Allowed(Granted::new(verified)))
                }
                Some(lacked) => {
                    let denial = Denial::Lacks(lacked);
                    let (username, kind) = (verified.identity.name.as_bytes(), DenialKind::Denied(denial));
                    let account = Some(verified.identity.principal.account);
                    let reason = denial.as_str();
                    let name = verified.identity.principal.name.clone();
                    let denied = DenialRecord { entry, username, peer, kind, reason, account };
                    self.denials.write(&denied, RepeatKey::UsernameAndSource, clock.began());
                    (DecisionOutcome::Denied(denial), SessionDecision::Lacks(lacked, name))
                }
            },
            Ok(None) => (DecisionOutcome::NoSession, SessionDecision::NoSession),
            Err(why) => (DecisionOutcome::Unavailable, SessionDecision::Unavailable(why)),
        };
        self.metrics.decision(entry, permission, outcome);
        decision
    }

    /// Waits until the session by which something was granted runs out, if nobody uses it meanwhile; for ever without a session. For open
    /// tunnels, which then ask [`Access::still_holds`]: time ends sessions without an announcement.
    pub async fn until_session_runs_out(&self, granted: &Granted) {
        let Some(session) = &granted.verified().session else { return std::future::pending().await };
        loop {
            let left = session.runs_out().since(clock::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(LONGEST_SLEEP)).await;
        }
    }

    /// Notes that a session was used, which puts off its end. For a request that was admitted, and for open tunnels whose client has sent
    /// something. A page of another origin, whose request is refused after the decision, keeps no session alive.
    #[inline]
    pub fn note_session(&self, granted: &Granted) {
        self.note_session_at(granted, clock::now());
    }

    #[inline]
    pub(super) fn note_session_at(&self, granted: &Granted, now: Moment) {
        if let Some(noted) = granted.verified().session.as_ref().and_then(|session| session.note_use(now)) {
            self.session_uses.keep(noted);
        }
    }

    async fn session_of(
        &self,
        cookie: &SessionCookie,
        entry: Entry,
        source: IpAddr,
        clock: DecisionClock,
    ) -> Result<Option<Arc<Verified>>, Unavailable> {
        let token = cookie.digest();
        let is_it = |verified: &Arc<Verified>| verified.is_by_session(cookie.principal(), entry);
        let known = self.cache.get_session(&token);
        match &known {
            Some(found) if self.cache.is_fresh(found, &self.epochs, clock.began()) => {
                self.metrics.lookup(Lookup::Hit);
                return Ok(known.filter(is_it));
            }
            Some(_) => self.metrics.lookup(Lookup::Stale),
            None => self.metrics.lookup(Lookup::Miss),
        }
        let found = Box::pin(self.read_session(&token, known.is_none().then_some(source), clock)).await?;
        Ok(found.filter(is_it))
    }

    /// The session of a token, by its row; `None` if it has ended. `of_unknown` is the source of the request if this process knows nothing
    /// of the token.
    async fn read_session(
        &self,
        token: &SessionDigest,
        of_unknown: Option<IpAddr>,
        clock: DecisionClock,
    ) -> Result<Option<Arc<Verified>>, Unavailable> {
        // Before and after the row is read, as where a login is checked.
        self.check_trust(clock.began())?;
        let read = || async move {
            let _look_up = match of_unknown {
                Some(source) => Some(self.look_ups.turn(source).await?),
                None => None,
            };
            // The store logs its faults itself.
            self.store.session(token).await.map_err(|_: StoreError| self.without_store())
        };
        // Without a row, nothing can have changed: a token is not known to anybody before its session is stored, and none comes twice.
        let is_of_now = |seen, row: Option<&StoredSession>| {
            row.is_none_or(|StoredSession { principal, .. }| {
                self.epochs.is_fresh(seen, &principal.name.canonical(), &principal.account_name.canonical())
            })
        };
        let found =
            self.session_reads.shared(*token, clock.began(), || self.epochs.now(), is_of_now, read).await;
        self.check_trust(clock.now())?;
        let found = found?;
        let alive = found.row.and_then(|row| self.live(&row, token, found.seen, clock));
        if alive.is_none() && of_unknown.is_none() {
            self.cache.remove_session(token);
        }
        Ok(alive)
    }

    /// The principal of a session that was read, if that has not ended. Puts it into the cache.
    pub(super) fn live(
        &self,
        row: &StoredSession,
        token: &SessionDigest,
        seen: u64,
        clock: DecisionClock,
    ) -> Option<Arc<Verified>> {
        // A use that is not written yet.
        let known =
            self.cache.get_session(token).and_then(|known| Some(known.session.as_ref()?.clock().clone()));
        let session = LiveSession::of(row, *token, known.or_else(|| self.session_uses.known(row.id)));
        if !row.principal.active || !session.is_alive(clock.now()) {
            return None;
        }
        let fingerprint = self.cache.fingerprint(&row.principal.hash);
        let proof = Proof { digest: Digest::of_session(token), fingerprint };
        let verified = Verified::new(row.principal.clone(), proof, seen, &self.epochs, clock.began());
        Some(self.remember(verified.with_session(session)))
    }

    /// The effective permissions of a principal that was granted something by a session; `None` if that has ended.
    pub(super) async fn permissions_by_session(
        &self,
        session: &LiveSession,
        clock: DecisionClock,
    ) -> Result<Option<Permissions>, Unavailable> {
        let cached = self.cache.get_session(&session.digest);
        let found = match cached.filter(|entry| self.cache.is_fresh(entry, &self.epochs, clock.began())) {
            Some(entry) => Some(entry),
            None => self.read_session(&session.digest, None, clock).await?,
        };
        // What was found may know of a later use, and the tunnel waits for the end that it knows.
        if let Some(found) = found.as_ref().and_then(|found| found.session.as_ref()) {
            session.clock().merge(found.clock());
        }
        Ok(found.map(|verified| verified.effective))
    }

    /// Takes over a session that has just begun, of a principal whose password was verified.
    pub(in crate::service) fn begin_session(
        &self,
        granted: &Granted,
        row: &StoredSession,
        token: SessionDigest,
    ) -> Granted {
        // With the epoch from before the principal was read: whatever was changed since then makes it stale.
        let session = LiveSession::of(row, token, None);
        Granted::new(self.remember(granted.verified().with_session(session)))
    }
}
