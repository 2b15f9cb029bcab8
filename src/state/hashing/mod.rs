//! Password hashing on threads of its own, so that nothing else waits for it. Bounded, so that a flood of guesses does not
//! pile up.
//!
//! The threads run at a lower priority than all others (see `threads`): while every core is busy, decisions from the cache
//! go first.

mod lane;
mod queue;
mod scheme;
mod shared;
mod threads;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::metrics::{Metrics, PasswordCheck};
use crate::domain::{Canonical, NewPassword, Secret, StoredHash, Unavailable};
use lane::Key;
use queue::{Comparison, Done, HashWork, JobQueue, Pushed};
use shared::HasherShared;

pub use lane::HashShare;
pub use queue::Lane;
pub use scheme::{HIGHEST_COST, LOWEST_COST};

/// The longest wait for a password check; after it, the client is told to try again. Most clients give up at about this time, and
/// later ones would wait behind checks whose results nobody needs.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The wait in the lane `Rest` after which a username that is known passes by. Before that, a second check of the same secret would cost
/// enough to be noticed.
const PASSES_AFTER: Duration = Duration::from_secs(1);

/// A password check: the values to compare, and the cost of a failure.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    /// The stored form.
    pub stored: &'a StoredHash,
    /// The secret.
    pub secret: &'a [u8],
    /// The highest cost of all stored forms. Failing takes as much work as that or the configured cost, the greater.
    pub highest: u32,
    /// True if it will be refused even if the secret is right. Then it takes as much work as a failure.
    pub refused: bool,
    /// The party that it is made for.
    pub share: HashShare,
}

/// The result of a password check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// True if the secret is the password.
    pub right: bool,
    /// True if it shared an identical check that was under way already.
    pub joined: bool,
}

/// A bounded pool of hashing threads. Dropping it ends them; callers that still wait get [`Unavailable::Busy`].
pub struct Hasher {
    shared: Arc<HasherShared>,
    passes_after: Duration,
}

impl Hasher {
    /// Starts threads that hash at `cost`: `threads` of them (at least one) for the lanes `Rest` and `Renewal`, and as many
    /// for the other two. Up to `queue` jobs wait in each lane.
    ///
    /// # Errors
    /// The system refuses a thread or random numbers.
    pub fn start(cost: u32, threads: usize, queue: usize, metrics: Arc<Metrics>) -> io::Result<Hasher> {
        let shared = Arc::new(HasherShared::new(cost, queue, threads.max(1), metrics)?);
        // If one does not start, dropping this ends those that did.
        let hasher = Hasher { shared, passes_after: PASSES_AFTER };
        for number in 0..threads.max(1) {
            threads::start_known(&hasher.shared, number)?;
            threads::start_rest(&hasher.shared, number)?;
        }
        Ok(hasher)
    }

    /// Makes the stored form of a chosen password, at the configured cost.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if too many management calls wait already, in total or of this share.
    pub async fn hash(&self, password: &NewPassword, share: HashShare) -> Result<StoredHash, Unavailable> {
        // Two accounts with the same password get two hashes.
        let unique = self.shared.unique.fetch_add(1, Ordering::Relaxed).to_ne_bytes();
        let key = self.shared.key("new", &[&unique]);
        let secret = password.secret().clone();
        hashed(self.run(key, Lane::Management, share, || HashWork::Hash(secret)).await?.0)
    }

    /// Checks a secret against a stored form. Identical checks that are under way at the same time are one.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if the lane is full, or the check has not ended within 15 s.
    pub async fn verify(&self, check: Check<'_>, lane: Lane) -> Result<Checked, Unavailable> {
        self.verify_as("verify", check, lane).await
    }

    /// Verifies as [`Hasher::verify`] does, in the lane `Known`. Joins no check in another lane, which would have its result sooner by that.
    ///
    /// # Errors
    /// As [`Hasher::verify`].
    pub async fn verify_apart(&self, check: Check<'_>) -> Result<Checked, Unavailable> {
        self.verify_as("known", check, Lane::Known).await
    }

    /// Verifies as [`Hasher::verify`] does, in the lane `Rest`. If that takes long, `known` tells if the username is known from where it is presented:
    /// then a right secret passes the others by. A wrong one still waits for the lane `Rest`, as for any other username.
    ///
    /// # Errors
    /// As [`Hasher::verify`].
    pub async fn verify_or_pass(
        &self,
        check: Check<'_>,
        known: impl Future<Output = bool>,
    ) -> Result<Checked, Unavailable> {
        let mut rest = pin!(self.verify(check, Lane::Rest));
        tokio::select! {
            // Polled first, so that it takes its place in the lane now.
            biased;
            checked = &mut rest => return checked,
            () = tokio::time::sleep(self.passes_after) => {}
        }
        if !known.await {
            return rest.await;
        }
        tokio::select! {
            biased;
            checked = &mut rest => checked,
            checked = self.verify_apart(check) => match checked {
                Ok(checked) if checked.right && !check.refused => Ok(checked),
                Ok(_) | Err(_) => rest.await,
            },
        }
    }

    async fn verify_as(&self, kind: &str, check: Check<'_>, lane: Lane) -> Result<Checked, Unavailable> {
        let Check { stored, secret, highest, refused, share } = check;
        let cost = self.shared.cost.max(highest.min(HIGHEST_COST));
        let refusal = [u8::from(refused)];
        let key = self.shared.key(kind, &[stored.expose().as_bytes(), secret, &refusal]);
        let secret = || Secret::new(secret.to_vec());
        let work =
            || HashWork::Verify(Comparison { stored: stored.clone(), secret: secret(), cost, refused });
        match self.run(key, lane, share, work).await? {
            (Done::Verified(compared), joined) => Ok(Checked { right: compared.right, joined }),
            (Done::Hashed(_), _) => Err(Unavailable::Busy),
        }
    }

    /// Returns true if `stored`, which `secret` has just matched, should be replaced with [`Hasher::renew`].
    pub fn is_outdated(&self, stored: &StoredHash, secret: &[u8]) -> bool {
        scheme::is_outdated(stored, secret, self.shared.cost)
    }

    /// Makes a new stored form for `secret`, which has just matched `stored`. Everything else goes first. Concurrent
    /// identical calls get the same result.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if there is no room. It can be done another time.
    pub async fn renew(
        &self,
        stored: &StoredHash,
        secret: &[u8],
        share: HashShare,
    ) -> Result<StoredHash, Unavailable> {
        let key = self.shared.key("renew", &[stored.expose().as_bytes(), secret]);
        let work = || HashWork::Hash(Secret::new(secret.to_vec()));
        hashed(self.run(key, Lane::Renewal, share, work).await?.0)
    }

    /// The time of a password check at the configured cost, on an idle core of an older machine.
    pub fn usual_time(&self) -> Duration {
        threads::usual_time(self.shared.cost)
    }

    /// The rounds of bcrypt that all checks took so far. Work that was repeated because a thread was too slow counts once.
    #[cfg(test)]
    pub fn rounds(&self) -> u64 {
        self.shared.rounds.load(Ordering::Relaxed)
    }

    /// The stored form against which a secret is verified if the username does not exist, so that this costs the same. It
    /// is the same for a username as long as the process lives, and nothing matches it.
    pub fn decoy(&self, name: &Canonical) -> StoredHash {
        let mut random = [0; 39];
        let mut hasher = blake3::Hasher::new_keyed(&self.shared.secret);
        hasher.update(b"decoy").update(name.as_bytes()).finalize_xof().fill(&mut random);
        scheme::decoy(&random, self.shared.cost)
    }

    /// The result of a job; true if it was the job of another caller as well.
    async fn run(
        &self,
        key: Key,
        lane: Lane,
        share: HashShare,
        work: impl FnOnce() -> HashWork,
    ) -> Result<(Done, bool), Unavailable> {
        let (done, joined) = self.push(key, lane, share, work)?;
        match tokio::time::timeout(LONGEST_WAIT, done).await {
            Ok(Ok(done)) => Ok((done, joined)),
            Ok(Err(_)) | Err(_) => Err(Unavailable::Busy),
        }
    }

    fn push(
        &self,
        key: Key,
        lane: Lane,
        share: HashShare,
        work: impl FnOnce() -> HashWork,
    ) -> Result<(oneshot::Receiver<Done>, bool), Unavailable> {
        let shared = &self.shared;
        let pushed = {
            let mut state = shared.state.lock();
            let pushed = state.queue.push(key, lane, share, work);
            shared.report(&mut state.queue);
            pushed
        };
        // For a job that was there already as well, because it may have moved to this lane.
        match lane {
            Lane::Rest | Lane::Renewal => shared.wake_rest.notify_one(),
            Lane::Management | Lane::Known => shared.wake_known.notify_one(),
        };
        match pushed {
            Pushed::Queued(receiver) => Ok((receiver, false)),
            Pushed::Joined(receiver) => {
                shared.metrics.password_check(PasswordCheck::Joined);
                Ok((receiver, true))
            }
            Pushed::Full => {
                shared.metrics.password_check(PasswordCheck::Refused);
                Err(Unavailable::Busy)
            }
        }
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.stopped = true;
        // Dropping the jobs wakes the callers that wait for them.
        state.queue = JobQueue::new(0, 0);
        self.shared.wake_known.notify_all();
        self.shared.wake_rest.notify_all();
    }
}

fn hashed(done: Done) -> Result<StoredHash, Unavailable> {
    match done {
        Done::Hashed(Some(stored)) => Ok(stored),
        Done::Hashed(None) | Done::Verified(_) => Err(Unavailable::Busy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: HashShare = HashShare::Operator;

    fn pool(cost: u32, queue: usize) -> (Hasher, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        (Hasher::start(cost, 1, queue, Arc::clone(&metrics)).unwrap(), metrics)
    }

    fn password() -> NewPassword {
        NewPassword::parse(b"correct horse 1").unwrap()
    }

    /// Returns true if it matches, by a thread of that lane.
    async fn verified(
        hasher: &Hasher,
        stored: &StoredHash,
        secret: &[u8],
        lane: Lane,
    ) -> Result<bool, Unavailable> {
        let check = Check { stored, secret, highest: LOWEST_COST, refused: false, share: SHARE };
        hasher.verify(check, lane).await.map(|checked| checked.right)
    }

    #[tokio::test]
    async fn what_was_hashed_verifies() {
        let (hasher, metrics) = pool(4, 8);
        let stored = hasher.hash(&password(), SHARE).await.unwrap();
        assert_ne!(stored, hasher.hash(&password(), SHARE).await.unwrap(), "each has a salt of its own");
        assert_eq!(verified(&hasher, &stored, b"correct horse 1", Lane::Rest).await, Ok(true));
        assert_eq!(verified(&hasher, &stored, b"correct horse 2", Lane::Rest).await, Ok(false));
        let checks = [PasswordCheck::Right, PasswordCheck::Wrong, PasswordCheck::Hashed];
        assert_eq!(checks.map(|check| metrics.password_checks(check)), [1, 1, 2]);
    }

    #[tokio::test]
    async fn concurrent_checks_of_the_same_are_one() {
        let (hasher, metrics) = pool(8, 8);
        let stored = hasher.hash(&password(), SHARE).await.unwrap();
        let check = || verified(&hasher, &stored, b"correct horse 1", Lane::Rest);
        // All are polled before any of them can end: the first one queues, and the others join.
        let all = tokio::join!(check(), check(), check(), check());
        assert_eq!(all, (Ok(true), Ok(true), Ok(true), Ok(true)));
        assert_eq!(metrics.password_checks(PasswordCheck::Right), 1);
        assert_eq!(metrics.password_checks(PasswordCheck::Joined), 3);
    }

    #[tokio::test]
    async fn a_flood_is_refused_and_the_queue_stays_bounded() {
        let (hasher, metrics) = pool(8, 4);
        let stored = hasher.hash(&password(), SHARE).await.unwrap();
        let waiting: Vec<_> = (0..100u32)
            .filter_map(|n| {
                let key = hasher.shared.key("verify", &[stored.expose().as_bytes(), &n.to_ne_bytes()]);
                let secret = Secret::new(n.to_ne_bytes().to_vec());
                let work = || {
                    HashWork::Verify(Comparison { stored: stored.clone(), secret, cost: 8, refused: false })
                };
                hasher.push(key, Lane::Rest, SHARE, work).ok()
            })
            .collect();
        let refused = metrics.password_checks(PasswordCheck::Refused);
        assert_eq!(waiting.len() as u64 + refused, 100);
        assert!(hasher.shared.state.lock().queue.len(Lane::Rest) <= 4);
        assert!(refused > 0);
        assert_eq!(
            verified(&hasher, &stored, b"correct horse 1", Lane::Known).await,
            Ok(true),
            "another lane has room"
        );
    }

    // Case F6: beside other guesses, the time of a wrong secret is that of any other username.
    #[tokio::test]
    async fn who_is_known_and_right_passes_by_and_who_is_wrong_does_not() {
        let (mut hasher, metrics) = pool(6, 64);
        hasher.passes_after = Duration::from_millis(10);
        let stored = hasher.hash(&password(), SHARE).await.unwrap();
        let check = |secret| Check { stored: &stored, secret, highest: 0, refused: false, share: SHARE };
        let ended = || metrics.password_checks(PasswordCheck::Hashed) - 1;
        let waiting: Vec<_> = (0..60_u8)
            .map(|n| {
                let work = move || HashWork::Hash(Secret::new(vec![n]));
                hasher.push([n; 32], Lane::Rest, SHARE, work).unwrap().0
            })
            .collect();
        let right = async {
            let right = hasher.verify_or_pass(check(b"correct horse 1"), std::future::ready(true)).await;
            (right.unwrap().right, ended())
        };
        let wrong = async {
            let wrong = hasher.verify_or_pass(check(b"correct horse 2"), std::future::ready(true)).await;
            (wrong.unwrap().right, ended())
        };
        let unknown = async {
            let right = hasher.verify_or_pass(check(b"correct horse 3"), std::future::ready(false)).await;
            (right.unwrap().right, ended())
        };
        let (right, wrong, unknown) = tokio::join!(right, wrong, unknown);
        assert!(right.0 && right.1 < 60, "{right:?}: after so many of those that waited before");
        assert_eq!((wrong, unknown), ((false, 60), (false, 60)));
        drop(waiting);
    }

    #[tokio::test]
    async fn decoys_differ_by_name_and_match_nothing() {
        let (hasher, _) = pool(4, 8);
        let name = |text: &str| Canonical::of(text.as_bytes()).unwrap();
        let decoy = hasher.decoy(&name("nobody"));
        assert_eq!(decoy, hasher.decoy(&name("nobody")));
        assert_ne!(decoy, hasher.decoy(&name("nobody2")));
        assert_eq!(verified(&hasher, &decoy, b"correct horse 1", Lane::Rest).await, Ok(false));
        assert!(!hasher.is_outdated(&decoy, b"correct horse 1"));
    }

    #[tokio::test]
    async fn renewals_of_the_same_end_in_one_hash() {
        let (hasher, _) = pool(6, 8);
        let old = StoredHash::new(bcrypt::hash("correct horse 1", 4).unwrap());
        assert!(hasher.is_outdated(&old, b"correct horse 1"));
        let renew = || hasher.renew(&old, b"correct horse 1", SHARE);
        let (one, other) = tokio::join!(renew(), renew());
        assert_eq!(one, other);
        let new = one.unwrap();
        assert!(!hasher.is_outdated(&new, b"correct horse 1"));
        assert_eq!(verified(&hasher, &new, b"correct horse 1", Lane::Rest).await, Ok(true));
    }

    #[tokio::test]
    async fn who_waits_at_the_end_is_told() {
        let (hasher, _) = pool(12, 8);
        let work = || HashWork::Hash(Secret::new(b"x".to_vec()));
        let busy = hasher.push([0; 32], Lane::Rest, SHARE, work).unwrap();
        let waiting = hasher.push([1; 32], Lane::Rest, SHARE, work).unwrap();
        drop(hasher);
        assert!(waiting.0.await.is_err());
        drop(busy);
    }
}
