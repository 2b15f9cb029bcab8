//! The hashing threads and their priorities.
//!
//! Jobs of the lanes `Management` and `Known` run at a lower priority than all other threads. Jobs of the lane `Rest` may
//! be a flood of guesses, so they get only time that no other thread needs: a thread of the system's idle class is
//! preempted at once when another thread becomes ready. One of lower priority keeps its core to the end of its slice (3 ms
//! and more), and a decision from the cache would wait that long.
//!
//! If all cores are busy with something else, a thread of the idle class makes no progress, and no client could log in for
//! the first time. So each has a companion of lower priority that gives it the work, waits, and does the work itself if
//! that takes too long. The companion also takes the lock of the queue and wakes the callers: a thread that may stand still
//! for seconds must never hold a lock that others need.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id, thread_schedule_policy,
};

use super::lane::Key;
use super::queue::{Done, HashWork, JobQueue};
use super::shared::HasherShared;
use crate::state::metrics::PasswordCheck;

/// The niceness of the hashing threads (-20 to 19; the default is 0).
const NICENESS: i32 = 10;
const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

/// Starts a thread for the lanes `Management` and `Known`.
pub fn start_known(shared: &Arc<HasherShared>, number: usize) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let work = move || {
        lower_priority();
        while let Some((key, work)) = next(&shared, JobQueue::next_known, Lanes::Known) {
            let done = timed(&shared, || shared.run(&work));
            finish(&shared, &key, &done);
        }
    };
    thread::Builder::new().name(format!("hash-known-{number}")).spawn(work).map(drop)
}

/// Starts a thread of the idle class for the lanes `Rest` and `Renewal`, and its companion.
pub fn start_rest(shared: &Arc<HasherShared>, number: usize) -> io::Result<()> {
    let idle = IdleThread::start(shared, number)?;
    let shared = Arc::clone(shared);
    let work = move || {
        lower_priority();
        let mut idle = idle;
        while let Some((key, work)) = next(&shared, JobQueue::next_rest, Lanes::Rest) {
            let work = Arc::new(work);
            let done = timed(&shared, || idle.run(&work).unwrap_or_else(|| shared.run(&work)));
            finish(&shared, &key, &done);
        }
    };
    thread::Builder::new().name(format!("hash-rest-{number}")).spawn(work).map(drop)
}

#[derive(Clone, Copy)]
enum Lanes {
    Known,
    Rest,
}

/// A thread of the system's idle class. Dropping it ends it after its current work.
struct IdleThread {
    work: SyncSender<Arc<HashWork>>,
    done: Receiver<Done>,
    patience: Duration,
    /// True while it still works on a job whose result is not needed any more.
    behind: bool,
}

impl IdleThread {
    fn start(shared: &Arc<HasherShared>, number: usize) -> io::Result<IdleThread> {
        let (work, jobs) = sync_channel::<Arc<HashWork>>(1);
        let (results, done) = sync_channel(1);
        let patience = patience(shared.cost);
        let shared = Arc::clone(shared);
        let run = move || {
            // The call fails as well if only the niceness cannot be set, which has no meaning in this class.
            let asked = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, IDLE);
            if thread_schedule_policy().ok() != Some(IDLE) {
                tracing::warn!(error = ?asked.err(), "idle scheduling class refused: guesses are hashed at lower priority");
                lower_priority();
            }
            for work in jobs {
                if results.send(shared.run(&work)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name(format!("hash-idle-{number}")).spawn(run)?;
        Ok(IdleThread { work, done, patience, behind: false })
    }

    /// The result; `None` if it took too long, or if the thread is still busy with an earlier job.
    fn run(&mut self, work: &Arc<HashWork>) -> Option<Done> {
        if self.behind {
            self.done.try_recv().ok()?;
            self.behind = false;
        }
        self.work.send(Arc::clone(work)).ok()?;
        let done = self.done.recv_timeout(self.patience);
        self.behind = matches!(done, Err(RecvTimeoutError::Timeout));
        done.ok()
    }
}

/// The longest time for work in the idle class: eight times what it takes on an idle core of an older machine, and at least a
/// second.
fn patience(cost: u32) -> Duration {
    (8 * usual_time(cost)).max(Duration::from_secs(1))
}

/// The time of a password check at that cost, on an idle core of an older machine.
pub fn usual_time(cost: u32) -> Duration {
    const ONE: Duration = Duration::from_micros(60);
    ONE * (1 << cost.min(20))
}

fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "lower priority refused: a hashing thread runs at normal priority");
    }
}

fn next(
    shared: &HasherShared,
    take: impl Fn(&mut JobQueue) -> Option<(Key, HashWork)>,
    lanes: Lanes,
) -> Option<(Key, HashWork)> {
    let mut state = shared.state.lock();
    loop {
        if state.stopped {
            return None;
        }
        let next = take(&mut state.queue);
        shared.report(&mut state.queue);
        if next.is_some() {
            return next;
        }
        match lanes {
            Lanes::Known => shared.wake_known.wait(&mut state),
            Lanes::Rest => shared.wake_rest.wait(&mut state),
        }
    }
}

fn timed(shared: &HasherShared, work: impl FnOnce() -> Done) -> Done {
    let _timer = shared.metrics.password_check_seconds.start_timer();
    work()
}

fn finish(shared: &HasherShared, key: &Key, done: &Done) {
    shared.metrics.password_check(match done {
        Done::Verified(compared) => {
            shared.rounds.fetch_add(compared.rounds, Ordering::Relaxed);
            if compared.right { PasswordCheck::Right } else { PasswordCheck::Wrong }
        }
        Done::Hashed(_) => PasswordCheck::Hashed,
    });
    shared.state.lock().queue.finish(key, done);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::Hasher;
    use super::*;
    use crate::domain::Secret;
    use crate::state::metrics::Metrics;

    #[test]
    fn what_the_idle_thread_is_too_slow_for_is_left_to_its_companion() {
        let hasher = Hasher::start(9, 1, 1, Arc::new(Metrics::new())).unwrap();
        let mut idle = IdleThread::start(&hasher.shared, 1).unwrap();
        let work = Arc::new(HashWork::Hash(Secret::new(b"correct horse 1".to_vec())));
        idle.patience = Duration::ZERO;
        assert!(idle.run(&work).is_none(), "it took no time at all");
        assert!(idle.run(&work).is_none(), "it is given nothing more while it is behind");
        // Once it has caught up, it is asked again.
        idle.patience = Duration::from_secs(30);
        let began = Instant::now();
        while idle.run(&work).is_none() {
            assert!(began.elapsed() < Duration::from_secs(30), "it never catches up");
            thread::yield_now();
        }
    }

    #[test]
    fn patience_grows_with_the_cost_and_is_a_second_at_least() {
        assert_eq!(patience(4), Duration::from_secs(1));
        assert_eq!(patience(14), Duration::from_micros(60) * 8 * (1 << 14));
        assert!(patience(31) >= patience(17));
    }
}
