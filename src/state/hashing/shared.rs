//! The state that the handle of the pool and its threads share: the queue behind its lock, and the secret of this process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Condvar, Mutex};
use prometheus::IntGauge;

use super::lane::Key;
use super::queue::{Comparison, Done, HashWork, JobQueue, Lane};
use super::scheme;
use crate::state::metrics::{Metrics, PasswordCheck};

/// The state that the handle of the pool and its threads share.
pub struct HasherShared {
    /// The configured cost of a hash.
    pub cost: u32,
    /// The key of decoys and of jobs. It is of this process alone, so that nobody else can compute either.
    pub secret: [u8; 32],
    /// The queue, and whether the threads have to end.
    pub state: Mutex<HasherState>,
    /// Signals work in the lanes `Management` and `Known`.
    pub wake_known: Condvar,
    /// Signals work in the lanes `Rest` and `Renewal`.
    pub wake_rest: Condvar,
    /// The number of passwords that were hashed so far, which makes the key of each job its own.
    pub unique: AtomicU64,
    /// The rounds of bcrypt that all checks took so far.
    pub rounds: AtomicU64,
    /// The gauges of waiting jobs, one for each lane.
    pub waiting: [IntGauge; 4],
    /// The metrics that count checks.
    pub metrics: Arc<Metrics>,
}

/// The part of it that changes.
pub struct HasherState {
    /// The jobs that wait or run.
    pub queue: JobQueue,
    /// True once the pool is dropped and its threads end.
    pub stopped: bool,
}

impl HasherShared {
    /// An empty queue of `queue` jobs for each lane, for so many threads each, and a new secret.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(cost: u32, queue: usize, threads: usize, metrics: Arc<Metrics>) -> io::Result<HasherShared> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(HasherShared {
            cost,
            secret,
            state: Mutex::new(HasherState { queue: JobQueue::new(queue.max(1), threads), stopped: false }),
            wake_known: Condvar::new(),
            wake_rest: Condvar::new(),
            unique: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            waiting: Lane::ALL.map(|lane| metrics.password_queue(lane.as_str())),
            metrics,
        })
    }

    /// Does a job.
    pub fn run(&self, work: &HashWork) -> Done {
        match work {
            HashWork::Verify(Comparison { stored, secret, cost, refused }) => {
                Done::Verified(scheme::verify(stored, secret.expose(), *cost, *refused))
            }
            HashWork::Hash(secret) => match scheme::hash(secret.expose(), self.cost) {
                Ok(stored) => Done::Hashed(Some(stored)),
                Err(error) => {
                    tracing::error!(%error, "hashing a password failed");
                    Done::Hashed(None)
                }
            },
        }
    }

    /// The key of a job: the same for the same kind and parts.
    pub fn key(&self, kind: &str, parts: &[&[u8]]) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(kind.as_bytes());
        for part in parts {
            hasher.update(&part.len().to_ne_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Updates the gauges of waiting jobs, and counts those that were dropped.
    pub fn report(&self, queue: &mut JobQueue) {
        for lane in Lane::ALL {
            let waiting = i64::try_from(queue.len(lane)).unwrap_or(i64::MAX);
            self.waiting[lane as usize].set(waiting);
        }
        for _ in 0..queue.take_abandoned() {
            self.metrics.password_check(PasswordCheck::Abandoned);
        }
        for _ in 0..queue.take_displaced() {
            self.metrics.password_check(PasswordCheck::Refused);
        }
    }
}
