//! Changes: to disk, out of every cache, into the audit trail, and only then answered.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::task::JoinError;
use tracing::error;

use super::access::Access;
use super::activity::Activity;
use super::audit::{AuditAction, AuditOutcome, RequestedChange};
use super::write_turns::{WriteTurn, WriteTurns};
use crate::domain::{
    AccountError, AccountId, Canonical, NewPassword, NoteError, PasswordError, PermissionsError, Secret,
    StoredHash, Unavailable, UsernameError,
};
use crate::state::cluster::{Cluster, Unconfirmed};
use crate::state::hashing::{Check, HashShare, Hasher, Lane};
use crate::state::last_uses::LastUses;
use crate::state::store::{Change, ChangeScope, MutationError, Store, StoreError, Written};
use crate::state::{Epochs, Metrics};

/// The reason for which a request was refused, failed, or is not confirmed. The texts of [`ManagementError::Store`] and
/// [`ManagementError::Unconfirmed`] are for log and operator; all others may be shown to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManagementError {
    /// The username is invalid.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// The password is invalid.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The permissions are invalid.
    #[error(transparent)]
    Permissions(#[from] PermissionsError),
    /// The note is invalid.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The existing accounts and credentials do not allow it.
    #[error(transparent)]
    NotAllowed(#[from] AccountError),
    /// Too many passwords are waiting to be hashed. Nothing has changed.
    #[error("too busy, try again")]
    Busy,
    /// The store is unavailable. It is unknown if something has changed.
    #[error(transparent)]
    Store(StoreError),
    /// The change is written, but another process has not confirmed that it is in effect there.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
}

impl ManagementError {
    /// Returns true if it says nothing about the request itself, which is then answered with "try again".
    pub const fn is_failure(&self) -> bool {
        match self {
            ManagementError::Busy | ManagementError::Store(_) | ManagementError::Unconfirmed(_) => true,
            ManagementError::Username(_)
            | ManagementError::Password(_)
            | ManagementError::Permissions(_)
            | ManagementError::Note(_)
            | ManagementError::NotAllowed(_) => false,
        }
    }
}

impl From<Unavailable> for ManagementError {
    fn from(unavailable: Unavailable) -> ManagementError {
        match unavailable {
            Unavailable::Busy => ManagementError::Busy,
            Unavailable::Store | Unavailable::CutOff => {
                ManagementError::Store(StoreError::Unavailable(unavailable.to_string()))
            }
        }
    }
}

impl From<StoreError> for ManagementError {
    fn from(error: StoreError) -> ManagementError {
        ManagementError::Store(error)
    }
}

impl From<MutationError> for ManagementError {
    fn from(error: MutationError) -> ManagementError {
        match error {
            MutationError::NotAllowed(error) => ManagementError::NotAllowed(error),
            MutationError::Store(error) => ManagementError::Store(error),
        }
    }
}

/// The time that a change took until it was in effect, and the gateways in which it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The time from the commit to the moment from which it was in effect; zero if nobody had to be told.
    pub took: Duration,
    /// The number of gateways in which it is known to be in effect, the one that made it included. What only grants is not waited for
    /// on PostgreSQL: the others have it within milliseconds.
    pub nodes: usize,
}

/// The words in the metrics for the outcomes of a change.
const OUTCOMES: [&str; 4] = ["done", "unconfirmed", "refused", "failed"];

/// The parts that changes need. Cloning is cheap.
#[derive(Clone)]
pub struct Mutations {
    pub(super) store: Store,
    hasher: Arc<Hasher>,
    epochs: Arc<Epochs>,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    writing: Arc<WriteTurns>,
    activity: Arc<Activity>,
    pub(super) last_uses: Arc<LastUses>,
}

impl Mutations {
    /// Creates changes of this store, which are announced to these epochs and to this cluster.
    pub fn new(
        store: Store,
        hasher: Arc<Hasher>,
        epochs: Arc<Epochs>,
        cluster: Arc<Cluster>,
        metrics: Arc<Metrics>,
    ) -> Mutations {
        let can_count = |action: &AuditAction| metrics.has_any(action.entries());
        for action in AuditAction::ALL.into_iter().filter(can_count) {
            // Where credentials are only asked for, nothing is done, and it counts if they are not shown.
            let asks = action == AuditAction::CredentialGet;
            for outcome in if asks { &OUTCOMES[2..] } else { &OUTCOMES[..] } {
                metrics.expect_mutation(action.as_str(), outcome);
            }
        }
        Mutations {
            store,
            hasher,
            epochs,
            cluster,
            metrics,
            writing: Arc::default(),
            activity: Arc::default(),
            last_uses: Arc::default(),
        }
    }

    /// The same, beside the decision of this process: changes are noted in its activity, and its last uses are shown first.
    pub fn beside(self, access: &Access) -> Mutations {
        let (activity, last_uses) = (access.activity().clone(), access.last_uses().clone());
        Mutations { activity, last_uses, ..self }
    }

    /// Hashes a new password, within the share of those that ask for it.
    pub(super) async fn hash(
        &self,
        password: &NewPassword,
        share: HashShare,
    ) -> Result<StoredHash, ManagementError> {
        self.hasher.hash(password, share).await.map_err(ManagementError::from)
    }

    /// Returns true if the secret is the password of that hash. For the operator, who may learn it.
    pub(super) async fn verifies(
        &self,
        secret: &Secret,
        stored: &StoredHash,
    ) -> Result<bool, ManagementError> {
        let check =
            Check { stored, secret: secret.expose(), highest: 0, refused: false, share: HashShare::Operator };
        Ok(self.hasher.verify(check, Lane::Known).await?.right)
    }

    /// Waits for the turn of an account to write to the store. To be held until it is written.
    pub(super) async fn turn(&self, account: AccountId) -> Result<WriteTurn<'_>, ManagementError> {
        Ok(self.writing.take(account).await?)
    }

    /// Makes the change `work` for `name`. Completes it even if nobody waits for the answer any more: a committed change is out of
    /// every cache and in the audit trail.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        asked: RequestedChange,
        name: Canonical,
        work: impl Future<Output = Result<Written<T>, ManagementError>> + Send + 'static,
    ) -> Result<(T, Effect), ManagementError> {
        let work = async { work.await.map(|written| (written.value, Some(written.change))) };
        self.run_if_changed(asked, name, work).await
    }

    /// Does the same with `work` that may turn out to be no change, of which nobody has to be told.
    pub(super) async fn run_if_changed<T: Send + 'static>(
        &self,
        asked: RequestedChange,
        name: Canonical,
        work: impl Future<Output = Result<(T, Option<Change>), ManagementError>> + Send + 'static,
    ) -> Result<(T, Effect), ManagementError> {
        let mutations = self.clone();
        let unended = Unended { mutations: self.clone(), asked: vec![asked] };
        let task = tokio::spawn(async move {
            let mut unended = unended;
            let outcome = mutations.bring_into_effect(unended.asked.first(), &[name], work).await;
            let outcome = outcome.map(|(value, effect, _)| (value, effect));
            match unended.asked.pop() {
                Some(asked) => mutations.note(&asked, outcome),
                None => outcome,
            }
        });
        ended(task.await)
    }

    /// Makes removals that are one change, as [`Mutations::run`] does, with a line in the audit trail for each. `work` returns for each
    /// name whether it was there. The outcomes are in the order of the names.
    pub(super) async fn run_removals(
        &self,
        asked: Vec<RequestedChange>,
        names: Vec<Canonical>,
        work: impl Future<Output = Result<Written<Vec<bool>>, ManagementError>> + Send + 'static,
    ) -> Result<(Vec<Result<(), ManagementError>>, Effect), ManagementError> {
        let work = async { work.await.map(|written| (written.value, Some(written.change))) };
        let mutations = self.clone();
        let unended = Unended { mutations: self.clone(), asked };
        let task = tokio::spawn(async move {
            let mut unended = unended;
            let were_there = mutations.bring_into_effect(unended.asked.first(), &names, work).await;
            let mut effect = Effect::default();
            let outcomes: Vec<Result<(), ManagementError>> = match were_there {
                Ok((were_there, in_effect, scope)) => {
                    effect = in_effect;
                    let refusal = AccountError::NoSuchCredential.into();
                    let missing = match were_there.contains(&false) {
                        true => Err(mutations.settled(&names, &scope, refusal).await),
                        false => Ok(()),
                    };
                    were_there
                        .iter()
                        .map(|was_there| if *was_there { Ok(()) } else { missing.clone() })
                        .collect()
                }
                Err(refusal) => vec![Err(refusal); names.len()],
            };
            let asked = std::mem::take(&mut unended.asked);
            let outcomes = asked.iter().zip(outcomes);
            Ok((outcomes.map(|(asked, outcome)| mutations.note(asked, outcome)).collect(), effect))
        });
        ended(task.await)
    }

    /// Makes a change, and waits until it is in effect everywhere. Returns its scope, too.
    async fn bring_into_effect<T>(
        &self,
        asked: Option<&RequestedChange>,
        names: &[Canonical],
        work: impl Future<Output = Result<(T, Option<Change>), ManagementError>>,
    ) -> Result<(T, Effect, Arc<ChangeScope>), ManagementError> {
        let revokes = asked.is_some_and(|asked| asked.action.revokes());
        let news = asked.and_then(RequestedChange::news);
        let scope = ChangeScope::new(news.as_ref());
        match scope.run(work).await {
            Ok((value, None)) => Ok((value, Effect { took: Duration::ZERO, nodes: 1 }, scope)),
            Ok((value, Some(change))) => {
                let (committed, change) = (Instant::now(), &change);
                match change.ends_login {
                    true => self.epochs.raise_and_forget(&change.name),
                    false => self.epochs.raise(&change.name),
                }
                let confirmed = self.cluster.announce(change, news).await;
                if revokes {
                    self.metrics.revocation_seconds.observe(committed.elapsed().as_secs_f64());
                }
                let in_effect = |nodes| (value, Effect { took: committed.elapsed(), nodes }, scope);
                confirmed.map(in_effect).map_err(ManagementError::from)
            }
            Err(refusal) => {
                let refusal = match refusal {
                    ManagementError::Store(error) => {
                        // It may have been committed. The others find out by themselves.
                        names.iter().for_each(|name| self.epochs.raise(name));
                        self.in_doubt(error)
                    }
                    refusal => refusal,
                };
                match revokes {
                    true => Err(self.settled(names, &scope, refusal).await),
                    false => Err(refusal),
                }
            }
        }
    }

    /// Tells for how long it may take until a change is in effect that was perhaps committed.
    fn in_doubt(&self, error: StoreError) -> ManagementError {
        match error {
            StoreError::Uncertain(reason) => ManagementError::Unconfirmed(self.cluster.unknown(reason)),
            error => ManagementError::Store(error),
        }
    }

    /// Returns a refusal once it is true in every process, if it says that there is nothing left to revoke. The change that has led to it
    /// may have been made by a process that died before anybody was told, or by a call that was answered with an error.
    /// `scope` is that of the work that was refused.
    async fn settled(
        &self,
        names: &[Canonical],
        scope: &ChangeScope,
        refusal: ManagementError,
    ) -> ManagementError {
        match refusal {
            ManagementError::NotAllowed(
                AccountError::NoSuchCredential | AccountError::NoSuchAccount | AccountError::NoSuchSession,
            ) => {
                let settled = self.cluster.settle(scope.seen()).await;
                if settled.is_err() {
                    // A read leaves a server that the others have left, so the next call asks another one.
                    let _ = self.store.ping().await;
                }
                // The wait was for the other processes. This one may not have read of that change yet.
                names.iter().for_each(|name| self.epochs.raise(name));
                settled.err().map_or(refusal, ManagementError::Unconfirmed)
            }
            refusal => refusal,
        }
    }

    /// Looks for something that is to be changed. That it is not there is then true in every process.
    pub(super) async fn find<T>(
        &self,
        looking: impl Future<Output = Result<T, ManagementError>>,
    ) -> Result<T, ManagementError> {
        let scope = ChangeScope::new(None);
        match scope.run(looking).await {
            Err(refusal) => Err(self.settled(&[], &scope, refusal).await),
            Ok(found) => Ok(found),
        }
    }

    /// Counts and records the outcome of a change.
    pub(super) fn note<T>(
        &self,
        asked: &RequestedChange,
        outcome: Result<T, ManagementError>,
    ) -> Result<T, ManagementError> {
        let told = match &outcome {
            Ok(_) => AuditOutcome::Done,
            Err(refusal) if refusal.is_failure() => AuditOutcome::Failed(refusal),
            Err(refusal) => AuditOutcome::Refused(refusal),
        };
        if asked.action.is_counted() {
            let is_unconfirmed = matches!(outcome, Err(ManagementError::Unconfirmed(_)));
            let outcome = if is_unconfirmed { "unconfirmed" } else { told.as_str() };
            self.metrics.mutation(asked.action.as_str(), outcome);
        }
        if matches!(outcome, Err(ManagementError::Store(_))) {
            self.metrics.store_errors.inc();
        }
        self.activity.changed(asked, told);
        asked.record(told);
        outcome
    }
}

/// A change in progress. If it never completes, because of a panic or the end of the process, the audit trail still gets a line,
/// and everything that was read before is stale.
struct Unended {
    mutations: Mutations,
    asked: Vec<RequestedChange>,
}

impl Drop for Unended {
    fn drop(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        if !asked.is_empty() {
            self.mutations.epochs.raise_all();
        }
        for asked in &asked {
            let _: Result<(), ManagementError> = self.mutations.note(asked, Err(cut_off()));
        }
    }
}

/// The result of the task of a change.
fn ended<T>(task: Result<Result<T, ManagementError>, JoinError>) -> Result<T, ManagementError> {
    task.unwrap_or_else(|panic| {
        error!(%panic, "a change did not come to its end");
        Err(cut_off())
    })
}

fn cut_off() -> ManagementError {
    ManagementError::Store(StoreError::Unavailable("the change did not come to its end".into()))
}

#[cfg(test)]
mod tests;
