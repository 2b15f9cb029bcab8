//! The decision: does this credential, right now, hold the permission that this needs?
//!
//! It is the same for all entries. [`Access::check_cached`] answers from the cache without waiting, and
//! [`Access::check_remembered`] from what the connection remembers. `identify` asks the store and checks passwords, `session` decides
//! about sessions of browsers, and `hold` answers open mail sessions and tunnels.
//!
//! Time is read once, at the beginning of each call. Only `decision_clock` reads it again, after a wait.
//!
//! Without [`crate::state::trust::Trust`] there is no decision: neither by the cache, nor by a row that can still be read, nor by a
//! remembered denial.

mod changes;
mod decision_clock;
mod denials;
mod hold;
mod identify;
mod look_ups;
mod outcome;
mod quiet;
mod reads;
mod session;
mod shared_reads;
#[cfg(test)]
mod tests;
mod uses;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::activity::Activity;
use crate::config::AuthSettings;
use crate::domain::password::LONGEST_BYTES;
use crate::domain::{
    AccountId, Canonical, Denial, Entry, Moment, Permission, Permissions, Presented, PrincipalKind,
    RefusalReason, SessionDigest, Unavailable,
};
use crate::state::cache::Verified;
use crate::state::last_uses::LastUses;
use crate::state::metrics::{DecisionOutcome, Lookup};
use crate::state::session_uses::SessionUses;
use crate::state::store::{Store, StoredSession};
use crate::state::throttle::Throttle;
use crate::state::uses::UseBuffer;
use crate::state::{Cache, Epochs, Hasher, Metrics, clock};
use decision_clock::DecisionClock;
use denials::{DenialLog, DenialRecord, RepeatKey};
use look_ups::LookUps;
use reads::RowReads;
use shared_reads::SharedReads;

pub use crate::state::cache::ConnectionMemory;
pub use denials::{DenialKind, Peer};
pub use outcome::{Decision, Granted, HolderDecision};
pub use session::SessionDecision;

/// The decision, with all that it needs. One for the whole process, shared as `Arc`.
pub struct Access {
    store: Store,
    hasher: Arc<Hasher>,
    epochs: Arc<Epochs>,
    metrics: Arc<Metrics>,
    cache: Arc<Cache>,
    throttle: Arc<Throttle>,
    uses: UseBuffer,
    activity: Arc<Activity>,
    denials: DenialLog,
    reads: RowReads,
    session_reads: SharedReads<SessionDigest, StoredSession>,
    session_uses: SessionUses,
    /// The look-ups of unknown tokens.
    look_ups: LookUps,
}

/// The entry and the permission that is asked for; none for the management of credentials.
type Wanted = (Entry, Option<Permission>);

/// The reason for which nobody was identified.
#[derive(Clone, Copy)]
enum NotIdentified {
    /// With the account whose principal was presented, if there is one.
    Denied(Denial, RepeatKey, Option<AccountId>),
    Unavailable(Unavailable),
}

impl Access {
    /// A decision over that store, with an empty cache. Every mutation of the store must raise `epochs`, in this process and
    /// through the cluster in all others.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(
        store: Store,
        hasher: Arc<Hasher>,
        epochs: Arc<Epochs>,
        metrics: Arc<Metrics>,
        settings: &AuthSettings,
    ) -> io::Result<Access> {
        let cache = Arc::new(Cache::new(settings.cache_capacity, settings.cache_ttl)?);
        let entries = Arc::clone(&cache);
        epochs.on_forget(move |name| entries.remove(name));
        let entries = Arc::clone(&cache);
        metrics.read_at_scrape("gatepost_cache_entries", "Principals in the cache.", move || {
            entries.principals() as f64
        });
        metrics.show_trust(&epochs);
        let activity = Arc::new(Activity::default());
        Ok(Access {
            store,
            hasher,
            epochs,
            metrics,
            cache,
            throttle: Arc::new(Throttle::new(settings.throttle)),
            uses: UseBuffer::new(clock::now()),
            denials: DenialLog::new(Arc::clone(&activity)),
            activity,
            reads: RowReads::new(settings.cache_ttl),
            session_reads: SharedReads::new(settings.cache_ttl),
            session_uses: SessionUses::default(),
            look_ups: LookUps::new(),
        })
    }

    /// The newest denials of each account, to which the changes belong as well.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The last uses of principals.
    pub fn last_uses(&self) -> &Arc<LastUses> {
        self.uses.last()
    }

    /// Allows what the cache allows, without waiting. `None` is not a denial: [`Access::authorize`] decides.
    #[inline]
    pub fn check_cached(
        &self,
        presented: &Presented<'_>,
        permission: Permission,
        entry: Entry,
    ) -> Option<Granted> {
        self.allowed(self.cached(presented, clock::now())?, permission, entry)
    }

    /// As [`Access::check_cached`], for a connection that may present the same credential again. What it remembers is judged as an
    /// entry of the cache is.
    #[inline]
    pub fn check_remembered(
        &self,
        memory: &ConnectionMemory,
        presented: &Presented<'_>,
        permission: Permission,
        entry: Entry,
    ) -> Option<Granted> {
        self.check_remembered_at(memory, presented, permission, entry, clock::now())
    }

    #[inline]
    fn check_remembered_at(
        &self,
        memory: &ConnectionMemory,
        presented: &Presented<'_>,
        permission: Permission,
        entry: Entry,
        now: Moment,
    ) -> Option<Granted> {
        let name = cacheable(presented)?;
        let verified = self.cache.find_remembered(memory, &name, presented.secret, &self.epochs, now)?;
        self.allowed(verified, permission, entry)
    }

    #[inline]
    fn allowed(&self, verified: Arc<Verified>, permission: Permission, entry: Entry) -> Option<Granted> {
        if !verified.effective.contains(permission) {
            return None;
        }
        self.metrics.lookup(Lookup::Hit);
        self.metrics.decision(entry, Some(permission), DecisionOutcome::Allowed);
        Some(Granted::new(verified))
    }

    /// Decides if the presented credential holds `permission`. Looks into the cache itself; if that doesn't answer, it
    /// reads the store and may wait for a password check.
    pub async fn authorize(
        &self,
        presented: Presented<'_>,
        permission: Permission,
        entry: Entry,
        peer: impl Into<Peer<'_>>,
    ) -> Decision {
        self.authorize_by(presented, Some(permission), entry, peer.into(), DecisionClock::start()).await
    }

    /// Decides if the presented credential is that of an account holder, who alone manages credentials. Needs no permission.
    pub async fn authenticate_holder(
        &self,
        presented: Presented<'_>,
        entry: Entry,
        peer: impl Into<Peer<'_>>,
    ) -> HolderDecision {
        let (peer, clock) = (peer.into(), DecisionClock::start());
        let identified = self.identified(presented, (entry, None), peer.source, clock).await;
        let (outcome, decision) = match identified {
            Ok(verified) if verified.identity.principal.kind == PrincipalKind::Holder => {
                self.note_verified(&verified, entry, peer.source, clock.began());
                (DecisionOutcome::Allowed, HolderDecision::Holder(Granted::new(verified)))
            }
            Ok(verified) => {
                let reason = RefusalReason::NotHolder.as_str();
                let (kind, account) = (DenialKind::NotHolder, Some(verified.identity.principal.account));
                let username = presented.username;
                let denied = DenialRecord { entry, username, peer, kind, reason, account };
                self.denials.write(&denied, RepeatKey::UsernameAndSource, clock.began());
                (DecisionOutcome::NotHolder, HolderDecision::NotHolder)
            }
            Err(NotIdentified::Denied(denial, repeat_key, account)) => {
                self.denied(entry, presented, peer, (denial, account), repeat_key, clock.began());
                (DecisionOutcome::Denied(denial), HolderDecision::Denied(denial))
            }
            Err(NotIdentified::Unavailable(why)) => {
                (DecisionOutcome::Unavailable, HolderDecision::Unavailable(why))
            }
        };
        self.metrics.decision(entry, None, outcome);
        decision
    }

    /// Decides if the presented credential is one, whatever its permissions, and that of nobody suspended.
    pub async fn authenticate(
        &self,
        presented: Presented<'_>,
        entry: Entry,
        peer: impl Into<Peer<'_>>,
    ) -> Decision {
        self.authorize_by(presented, None, entry, peer.into(), DecisionClock::start()).await
    }

    /// As [`Access::authorize`], or as [`Access::authenticate`] without a permission, by a clock that the caller has started.
    async fn authorize_by(
        &self,
        presented: Presented<'_>,
        permission: Option<Permission>,
        entry: Entry,
        peer: Peer<'_>,
        clock: DecisionClock,
    ) -> Decision {
        let identified = self.identified(presented, (entry, permission), peer.source, clock).await;
        let refusal = match identified.map(|verified| (lacked(&verified, permission), verified)) {
            Ok((None, verified)) => {
                self.note_verified(&verified, entry, peer.source, clock.began());
                self.metrics.decision(entry, permission, DecisionOutcome::Allowed);
                return Decision::Allowed(Granted::new(verified));
            }
            Ok((Some(lacked), verified)) => {
                let account = Some(verified.identity.principal.account);
                NotIdentified::Denied(Denial::Lacks(lacked), RepeatKey::UsernameAndSource, account)
            }
            Err(refusal) => refusal,
        };
        match refusal {
            NotIdentified::Denied(denial, repeat_key, account) => {
                self.denied(entry, presented, peer, (denial, account), repeat_key, clock.began());
                self.metrics.decision(entry, permission, DecisionOutcome::Denied(denial));
                Decision::Denied(denial)
            }
            NotIdentified::Unavailable(why) => {
                self.metrics.decision(entry, permission, DecisionOutcome::Unavailable);
                Decision::Unavailable(why)
            }
        }
    }

    async fn identified(
        &self,
        presented: Presented<'_>,
        wanted: Wanted,
        source: IpAddr,
        clock: DecisionClock,
    ) -> Result<Arc<Verified>, NotIdentified> {
        if let Some(verified) = self.cached(&presented, clock.began())
            && refusal_of_right(verified.identity.principal.active, verified.effective, wanted).is_none()
        {
            self.metrics.lookup(Lookup::Hit);
            return Ok(verified);
        }
        // Before anything is read: a row that is read with trust is at least as new as every revocation that was answered before.
        self.check_trust(clock.began()).map_err(NotIdentified::Unavailable)?;
        // On the heap, so that a check that the cache answers doesn't carry the room for it.
        let identified = Box::pin(self.identify(presented, wanted, source, clock)).await;
        // The last look, after every wait. Without trust there is no denial, either.
        self.check_trust(clock.now()).map_err(NotIdentified::Unavailable)?;
        identified
    }

    /// The principal that is presented, if a fresh entry says so.
    #[inline]
    fn cached(&self, presented: &Presented<'_>, now: Moment) -> Option<Arc<Verified>> {
        self.cache.find(&cacheable(presented)?, presented.secret, &self.epochs, now)
    }

    /// Checks that this process knows of every revocation that was answered before `now`.
    fn check_trust(&self, now: Moment) -> Result<(), Unavailable> {
        if self.epochs.trust().holds(now) {
            return Ok(());
        }
        self.metrics.decisions_without_trust.inc();
        Err(Unavailable::CutOff)
    }

    /// Counts an error of the store, which has logged it.
    fn without_store(&self) -> Unavailable {
        self.metrics.store_errors.inc();
        Unavailable::Store
    }

    fn denied(
        &self,
        entry: Entry,
        presented: Presented<'_>,
        peer: Peer<'_>,
        (denial, account): (Denial, Option<AccountId>),
        repeat_key: RepeatKey,
        now: Moment,
    ) {
        let (username, reason) = (presented.username, denial.as_str());
        let kind = DenialKind::Denied(denial);
        self.denials.write(&DenialRecord { entry, username, peer, kind, reason, account }, repeat_key, now);
    }

    /// Records that a request was denied without a decision, as it has no credential.
    pub fn note_no_credential<'a>(&self, entry: Entry, peer: impl Into<Peer<'a>>, reason: &str) {
        let kind = DenialKind::NoCredential;
        let denied = DenialRecord { entry, username: b"", peer: peer.into(), kind, reason, account: None };
        self.denials.write(&denied, RepeatKey::SourceOnly, clock::now());
    }

    /// Records that a request was denied for another reason, before its credential was checked.
    pub fn note_unchecked<'a>(&self, username: &[u8], entry: Entry, peer: impl Into<Peer<'a>>, reason: &str) {
        let (peer, kind) = (peer.into(), DenialKind::CrossSite);
        let denied = DenialRecord { entry, username, peer, kind, reason, account: None };
        // Nobody has checked the username, so that there may be any number of them.
        self.denials.write(&denied, RepeatKey::SourceOnly, clock::now());
    }

    /// Records that a principal that was granted something before is denied it now.
    pub fn note_denied<'a>(
        &self,
        granted: &Granted,
        entry: Entry,
        peer: impl Into<Peer<'a>>,
        denial: Denial,
    ) {
        let (username, reason) = (granted.name().as_str().as_bytes(), denial.as_str());
        let kind = DenialKind::Denied(denial);
        let account = Some(granted.account());
        let denied = DenialRecord { entry, username, peer: peer.into(), kind, reason, account };
        self.denials.write(&denied, RepeatKey::UsernameAndSource, clock::now());
    }
}

/// The refusal of the right secret that has to look like that of a wrong one: of a suspended account, and over SMTP also without the
/// permission. Elsewhere, who presents the right secret is told that the permission is missing.
#[inline]
fn refusal_of_right(active: bool, effective: Permissions, (entry, permission): Wanted) -> Option<Denial> {
    match permission {
        _ if !active => Some(Denial::Suspended),
        Some(permission) if entry == Entry::Smtp && !effective.contains(permission) => {
            Some(Denial::Lacks(permission))
        }
        _ => None,
    }
}

/// The permission that is needed and not held, if there is one.
#[inline]
fn lacked(verified: &Verified, needed: Option<Permission>) -> Option<Permission> {
    needed.filter(|needed| !verified.effective.contains(*needed))
}

/// The name that is presented, if there may be an entry of the cache for it.
#[inline]
fn cacheable(presented: &Presented<'_>) -> Option<Canonical> {
    if presented.secret.len() > LONGEST_BYTES {
        return None;
    }
    Canonical::of(presented.username)
}
