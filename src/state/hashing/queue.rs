//! The jobs that wait for a hashing thread: in four lanes, each bounded. Each job is there once, however many callers wait
//! for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::lane::{FairLane, HashShare, Key, LaneRoom};
use super::scheme::Compared;
use crate::domain::{Secret, StoredHash};

/// The order in which jobs are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Hashes of new passwords, for callers that are authenticated already.
    Management,
    /// Checks of usernames for which the same source has lately presented the right secret.
    Known,
    /// All others.
    Rest,
    /// Replacements of outdated hashes, for which no caller waits. They are made when there is nothing else to do.
    Renewal,
}

impl Lane {
    /// All lanes, the first one first.
    pub const ALL: [Lane; 4] = [Lane::Management, Lane::Known, Lane::Rest, Lane::Renewal];

    /// The word for it in the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Lane::Management => "management",
            Lane::Known => "known",
            Lane::Rest => "rest",
            Lane::Renewal => "renewal",
        }
    }
}

/// The work of a job.
pub enum HashWork {
    /// Compare a secret.
    Verify(Comparison),
    /// Make the stored form of a password.
    Hash(Secret),
}

/// A secret to be compared.
pub struct Comparison {
    /// The stored form to compare it with.
    pub stored: StoredHash,
    /// The secret.
    pub secret: Secret,
    /// The least cost of a failure.
    pub cost: u32,
    /// True if it will be refused even if it is right.
    pub refused: bool,
}

/// The result of a job.
#[derive(Clone, Debug)]
pub enum Done {
    /// The result of a comparison.
    Verified(Compared),
    /// The stored form; `None` if the system had no random numbers.
    Hashed(Option<StoredHash>),
}

/// The result of [`JobQueue::push`].
#[derive(Debug)]
pub enum Pushed {
    /// A new job was queued.
    Queued(oneshot::Receiver<Done>),
    /// The same job was waiting or running already.
    Joined(oneshot::Receiver<Done>),
    /// The lane has no place for this share.
    Full,
}

/// The waiting and the running jobs. Pure: the threads take jobs and report results.
pub struct JobQueue {
    lanes: [FairLane; 4],
    jobs: HashMap<Key, Job, RandomState>,
    turn: u32,
    abandoned: u64,
    displaced: u64,
}

struct Job {
    /// `None` while it runs.
    work: Option<HashWork>,
    lane: Lane,
    share: HashShare,
    waiters: Vec<oneshot::Sender<Done>>,
}

impl JobQueue {
    /// An empty queue that holds up to `capacity` jobs in each lane, each of which has so many threads.
    pub fn new(capacity: usize, threads: usize) -> JobQueue {
        JobQueue {
            lanes: Lane::ALL.map(|_| FairLane::new(capacity, threads)),
            jobs: HashMap::default(),
            turn: 0,
            abandoned: 0,
            displaced: 0,
        }
    }

    /// Adds a job for `share`, or joins the one with this key. Joining from a better lane moves the job there.
    pub fn push(
        &mut self,
        key: Key,
        lane: Lane,
        share: HashShare,
        work: impl FnOnce() -> HashWork,
    ) -> Pushed {
        let (sender, receiver) = oneshot::channel();
        if let Entry::Occupied(mut entry) = self.jobs.entry(key) {
            let job = entry.get_mut();
            job.waiters.push(sender);
            if job.work.is_some() && lane < job.lane {
                job.lane = lane;
                // Its key in the other lane is skipped when its turn comes.
                self.lanes[lane as usize].push(job.share, key);
            }
            return Pushed::Joined(receiver);
        }
        let waiting = &self.lanes[lane as usize];
        if waiting.is_full() || waiting.has_its_part(share) {
            self.sweep(lane);
        }
        match self.lanes[lane as usize].room(share) {
            LaneRoom::Free => {}
            LaneRoom::After(last) => self.displace(lane, &last),
            LaneRoom::Full => return Pushed::Full,
        }
        self.lanes[lane as usize].push(share, key);
        self.jobs.insert(key, Job { work: Some(work()), lane, share, waiters: vec![sender] });
        Pushed::Queued(receiver)
    }

    /// Takes the next job of the lanes `Management` and `Known` for which a caller still waits. It can be joined until it is
    /// finished.
    pub fn next_known(&mut self) -> Option<(Key, HashWork)> {
        self.turn = self.turn.wrapping_add(1);
        // Management goes first, three times of four.
        let order = match self.turn % 4 {
            0 => [Lane::Known, Lane::Management],
            _ => [Lane::Management, Lane::Known],
        };
        order.into_iter().find_map(|lane| self.next_in(lane))
    }

    /// Takes the next job of the lane `Rest` in the same way; if there is none, one of the lane `Renewal`.
    pub fn next_rest(&mut self) -> Option<(Key, HashWork)> {
        self.next_in(Lane::Rest).or_else(|| self.next_in(Lane::Renewal))
    }

    /// Ends a running job and passes the result to all waiting callers.
    pub fn finish(&mut self, key: &Key, done: &Done) {
        let Some(job) = self.jobs.remove(key) else { return };
        self.lanes[job.lane as usize].end(job.share);
        for waiter in job.waiters {
            // A caller that went away needs no result.
            let _ = waiter.send(done.clone());
        }
    }

    /// The number of keys in a lane; never more than its capacity, except for jobs that moved into it.
    pub fn len(&self, lane: Lane) -> usize {
        self.lanes[lane as usize].len()
    }

    /// Takes the number of jobs that were dropped since the last call because no caller waited for them any more.
    pub fn take_abandoned(&mut self) -> u64 {
        std::mem::take(&mut self.abandoned)
    }

    /// Takes the number of callers since the last call whose job was dropped for one of a smaller share.
    pub fn take_displaced(&mut self) -> u64 {
        std::mem::take(&mut self.displaced)
    }

    fn next_in(&mut self, lane: Lane) -> Option<(Key, HashWork)> {
        while let Some((share, key)) = self.lanes[lane as usize].pop() {
            if self.drop_abandoned(&key) {
                continue;
            }
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            if let Some(work) = job.work.take() {
                job.lane = lane;
                self.lanes[lane as usize].begin(share);
                return Some((key, work));
            }
        }
        None
    }

    /// Makes room in a lane: drops jobs that no caller waits for, and keys of jobs that are gone.
    fn sweep(&mut self, lane: Lane) {
        let mut swept = std::mem::replace(&mut self.lanes[lane as usize], FairLane::new(0, 0));
        swept.retain(|key| {
            !self.drop_abandoned(key)
                && self.jobs.get(key).is_some_and(|job| job.work.is_some() && job.lane == lane)
        });
        self.lanes[lane as usize] = swept;
    }

    /// Drops a waiting job. Its callers are told to try again.
    fn displace(&mut self, lane: Lane, last: &Key) {
        self.lanes[lane as usize].retain(|key| key != last);
        if let Some(job) = self.jobs.remove(last) {
            self.displaced += job.waiters.len() as u64;
        }
    }

    /// Drops a waiting job if no caller waits for it; returns true if it did.
    fn drop_abandoned(&mut self, key: &Key) -> bool {
        let Some(job) = self.jobs.get_mut(key) else { return false };
        job.waiters.retain(|waiter| !waiter.is_closed());
        let abandoned = job.work.is_some() && job.waiters.is_empty();
        if abandoned {
            self.jobs.remove(key);
            self.abandoned += 1;
        }
        abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AccountId;

    fn key(n: u8) -> Key {
        [n; 32]
    }

    fn work() -> HashWork {
        HashWork::Hash(Secret::new(Vec::new()))
    }

    const SHARE: HashShare = HashShare::Operator;

    fn queued(queue: &mut JobQueue, n: u8, lane: Lane) -> oneshot::Receiver<Done> {
        queued_for(queue, n, lane, SHARE)
    }

    fn queued_for(queue: &mut JobQueue, n: u8, lane: Lane, share: HashShare) -> oneshot::Receiver<Done> {
        match queue.push(key(n), lane, share, work) {
            Pushed::Queued(receiver) => receiver,
            other => panic!("{other:?}"),
        }
    }

    fn joined(queue: &mut JobQueue, n: u8, lane: Lane) -> oneshot::Receiver<Done> {
        match queue.push(key(n), lane, SHARE, || panic!("a joined job needs no work")) {
            Pushed::Joined(receiver) => receiver,
            other => panic!("{other:?}"),
        }
    }

    fn next(queue: &mut JobQueue) -> Option<u8> {
        queue.next_rest().map(|(key, _)| key[0])
    }

    fn next_known(queue: &mut JobQueue) -> Option<u8> {
        queue.next_known().map(|(key, _)| key[0])
    }

    #[test]
    fn the_same_job_runs_once() {
        let mut queue = JobQueue::new(4, 1);
        let mut first = queued(&mut queue, 1, Lane::Rest);
        let mut second = joined(&mut queue, 1, Lane::Rest);
        assert_eq!(next(&mut queue), Some(1));
        let mut third = joined(&mut queue, 1, Lane::Rest);
        assert_eq!(next(&mut queue), None);
        let right = Compared { right: true, rounds: 1 };
        queue.finish(&key(1), &Done::Verified(right));
        for waiter in [&mut first, &mut second, &mut third] {
            assert!(matches!(waiter.try_recv(), Ok(Done::Verified(compared)) if compared == right));
        }
        let _again = queued(&mut queue, 1, Lane::Rest);
    }

    #[test]
    fn management_goes_first_and_the_known_do_not_starve() {
        let mut queue = JobQueue::new(64, 1);
        let mut waiters = Vec::new();
        for n in 0..64 {
            for (offset, lane) in [(0, Lane::Management), (64, Lane::Known), (128, Lane::Rest)] {
                waiters.push(queued(&mut queue, n + offset, lane));
            }
        }
        let mut counts = [0; 3];
        for _ in 0..64 {
            counts[usize::from(next_known(&mut queue).unwrap() / 64)] += 1;
        }
        assert_eq!(counts, [48, 16, 0]);
        assert_eq!(next(&mut queue), Some(128), "the rest have threads of their own");
    }

    #[test]
    fn what_nobody_waits_for_comes_last() {
        let mut queue = JobQueue::new(4, 1);
        let _waiters = [(1, Lane::Renewal), (2, Lane::Rest), (3, Lane::Rest)]
            .map(|(n, lane)| queued(&mut queue, n, lane));
        assert_eq!([(); 4].map(|()| next(&mut queue)), [Some(2), Some(3), Some(1), None]);
    }

    #[test]
    fn a_flood_fills_its_own_lane_only() {
        let mut queue = JobQueue::new(3, 1);
        let _waiters: Vec<_> = (0..3).map(|n| queued(&mut queue, n, Lane::Rest)).collect();
        assert!(matches!(queue.push(key(9), Lane::Rest, SHARE, work), Pushed::Full));
        assert_eq!(queue.len(Lane::Rest), 3);
        let _joined = joined(&mut queue, 2, Lane::Rest);
        let _known = queued(&mut queue, 10, Lane::Known);
        assert_eq!(next_known(&mut queue), Some(10));
    }

    #[test]
    fn what_nobody_waits_for_is_dropped() {
        let mut queue = JobQueue::new(2, 1);
        drop(queued(&mut queue, 1, Lane::Rest));
        let kept = queued(&mut queue, 2, Lane::Rest);
        let _third = queued(&mut queue, 3, Lane::Rest);
        assert_eq!(queue.take_abandoned(), 1, "a full lane makes room for who does wait");
        drop(kept);
        assert_eq!(next(&mut queue), Some(3));
        assert_eq!((queue.take_abandoned(), next(&mut queue)), (1, None));
        assert!(queue.jobs.len() == 1 && queue.len(Lane::Rest) == 0);
    }

    #[test]
    fn who_joins_from_a_better_lane_takes_the_job_there() {
        let mut queue = JobQueue::new(4, 1);
        let _first = queued(&mut queue, 1, Lane::Rest);
        let _second = queued(&mut queue, 2, Lane::Rest);
        let _joined = joined(&mut queue, 2, Lane::Known);
        assert_eq!([next_known(&mut queue), next_known(&mut queue)], [Some(2), None]);
        assert_eq!([next(&mut queue), next(&mut queue)], [Some(1), None]);
    }

    // Case F4: one account fills the lane, and another one's job is done next.
    #[test]
    fn a_full_lane_makes_room_for_who_has_less_of_it() {
        let mut queue = JobQueue::new(8, 1);
        let [one, other] = [1, 2].map(|n| HashShare::Account(AccountId(n)));
        let mut waiters: Vec<_> = (0..8).map(|n| queued_for(&mut queue, n, Lane::Management, one)).collect();
        assert!(matches!(queue.push(key(8), Lane::Management, one, work), Pushed::Full));
        let _running = next_known(&mut queue);
        let mut last = queued_for(&mut queue, 8, Lane::Management, one);
        let mut others = queued_for(&mut queue, 100, Lane::Management, other);
        assert_eq!(queue.take_displaced(), 1);
        let closed = oneshot::error::TryRecvError::Closed;
        assert_eq!(last.try_recv().unwrap_err(), closed, "the last one is told");
        assert_ne!(waiters[7].try_recv().unwrap_err(), closed, "and nobody else");
        assert!(matches!(queue.push(key(9), Lane::Management, one, work), Pushed::Full));
        assert_eq!(next_known(&mut queue), Some(100), "the other one has not run yet");
        queue.finish(&key(100), &Done::Hashed(None));
        assert!(others.try_recv().is_ok());
        waiters.clear();
    }
}
