//! The jobs that wait in one lane, shared out among those who asked for them.
//!
//! Each share has its turn after every other share that waits. While others wait, a share gets at most a quarter of the lane:
//! of its places and of its threads. A share that is alone may use all of it, and gives back what another one needs.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::domain::AccountId;
use crate::state::throttle::SourcePrefix;

/// A share is at most this part of a lane while others wait.
const PART: usize = 4;

/// The identity of a job: two jobs with the same key are one.
pub type Key = [u8; 32];

/// The party that a job is done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashShare {
    /// The operator on the machine.
    Operator,
    /// An account, for which its holder manages credentials.
    Account(AccountId),
    /// The source of a login that is not verified yet, whatever username it presents. If logins counted for the account that they
    /// name, guesses at an account would use up its share, and their time would tell which usernames exist.
    Source(SourcePrefix),
}

/// The result of [`FairLane::room`].
#[derive(Debug, PartialEq, Eq)]
pub enum LaneRoom {
    /// A free place.
    Free,
    /// A place once the last job of the largest share is dropped.
    After(Key),
    /// Full: this share has no place.
    Full,
}

/// The waiting jobs of one lane, in the order of their turns, and the number of those that run.
pub struct FairLane {
    capacity: usize,
    /// The most jobs of one share that run while others wait.
    most_running: usize,
    /// The shares that have jobs waiting, the next one first.
    turns: VecDeque<HashShare>,
    waiting: HashMap<HashShare, VecDeque<Key>, RandomState>,
    running: HashMap<HashShare, usize, RandomState>,
    len: usize,
}

impl FairLane {
    /// An empty lane for up to `capacity` jobs, which are done by so many threads.
    pub fn new(capacity: usize, threads: usize) -> FairLane {
        FairLane {
            capacity,
            most_running: (threads / PART).max(1),
            turns: VecDeque::new(),
            waiting: HashMap::default(),
            running: HashMap::default(),
            len: 0,
        }
    }

    /// The number of keys that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if every place is taken.
    pub fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// Returns true if others wait and the share has its part of the places.
    pub fn has_its_part(&self, share: HashShare) -> bool {
        let others_wait = self.turns.iter().any(|other| *other != share);
        others_wait && self.held_by(share) >= (self.capacity / PART).max(1)
    }

    /// The place for another job of that share.
    pub fn room(&self, share: HashShare) -> LaneRoom {
        if self.has_its_part(share) {
            return LaneRoom::Full;
        }
        if !self.is_full() {
            return LaneRoom::Free;
        }
        let largest = self.waiting.iter().max_by_key(|(_, keys)| keys.len());
        match largest.and_then(|(_, keys)| Some((keys.len(), keys.back()?))) {
            Some((held, last)) if held > self.held_by(share) + 1 => LaneRoom::After(*last),
            _ => LaneRoom::Full,
        }
    }

    /// Adds a key behind those of its share, whether there is a place or not.
    pub fn push(&mut self, share: HashShare, key: Key) {
        let keys = self.waiting.entry(share).or_default();
        if keys.is_empty() {
            self.turns.push_back(share);
        }
        keys.push_back(key);
        self.len += 1;
    }

    /// Takes the next key: that of the first share in turn, except for shares that have their part of the threads while others wait.
    pub fn pop(&mut self) -> Option<(HashShare, Key)> {
        let running = |share: &HashShare| self.running.get(share).copied().unwrap_or_default();
        let nth = self.turns.iter().position(|share| running(share) < self.most_running).unwrap_or(0);
        let share = self.turns.remove(nth)?;
        let keys = self.waiting.get_mut(&share)?;
        let key = keys.pop_front();
        match keys.is_empty() {
            true => drop(self.waiting.remove(&share)),
            false => self.turns.push_back(share),
        }
        self.len -= usize::from(key.is_some());
        Some((share, key?))
    }

    /// Notes that a job of the share runs.
    pub fn begin(&mut self, share: HashShare) {
        *self.running.entry(share).or_default() += 1;
    }

    /// Notes that a job of the share has ended.
    pub fn end(&mut self, share: HashShare) {
        if let Some(running) = self.running.get_mut(&share) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&share);
            }
        }
    }

    /// Keeps the keys for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key) -> bool) {
        for keys in self.waiting.values_mut() {
            keys.retain(&mut keep);
        }
        self.waiting.retain(|_, keys| !keys.is_empty());
        self.turns.retain(|share| self.waiting.contains_key(share));
        self.len = self.waiting.values().map(VecDeque::len).sum();
    }

    fn held_by(&self, share: HashShare) -> usize {
        self.waiting.get(&share).map_or(0, VecDeque::len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(n: i64) -> HashShare {
        HashShare::Account(AccountId(n))
    }

    fn key(n: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_ne_bytes());
        key
    }

    /// Pushes a job if there is room; makes room as the queue does.
    fn ask(lane: &mut FairLane, share: HashShare, n: usize) -> bool {
        match lane.room(share) {
            LaneRoom::Full => return false,
            LaneRoom::Free => {}
            LaneRoom::After(last) => lane.retain(|key| *key != last),
        }
        lane.push(share, key(n));
        true
    }

    // Case F4: an account with many edits leaves places and turns to the others.
    #[test]
    fn who_is_alone_has_all_of_it_and_gives_back_what_others_need() {
        let mut lane = FairLane::new(16, 1);
        let first = (0..300).filter(|n| ask(&mut lane, account(1), *n)).count();
        assert_eq!((first, lane.len()), (16, 16));
        // Another one comes: it has a place at once, and the next turn but one.
        assert!(ask(&mut lane, account(2), 1000));
        assert_eq!(lane.len(), 16);
        assert!(!ask(&mut lane, account(1), 1001), "it has its part while others wait");
        let order: Vec<HashShare> = std::iter::from_fn(|| lane.pop()).map(|(share, _)| share).collect();
        assert_eq!(order[..4], [account(1), account(2), account(1), account(1)]);
        assert_eq!(order.len(), 16);
        assert!(ask(&mut lane, account(1), 1002), "and again all of it once it is alone");
    }

    // Case F4: turns go round, in the order of arrival within a share.
    #[test]
    fn turns_go_round() {
        let mut lane = FairLane::new(64, 1);
        for n in 0..9 {
            assert!(ask(&mut lane, account(n as i64 / 3), n));
        }
        let order: Vec<usize> = std::iter::from_fn(|| lane.pop())
            .map(|(_, key)| usize::from_ne_bytes(key[..8].try_into().unwrap()))
            .collect();
        assert_eq!(order, [0, 3, 6, 1, 4, 7, 2, 5, 8]);
    }

    // Case F4: the same for threads.
    #[test]
    fn no_share_has_more_than_a_quarter_of_the_threads_while_others_wait() {
        let mut lane = FairLane::new(64, 8);
        for n in 0..20 {
            assert!(ask(&mut lane, account(1), n));
        }
        let run = |lane: &mut FairLane| {
            let (share, _) = lane.pop().unwrap();
            lane.begin(share);
            share
        };
        assert_eq!([(); 3].map(|()| run(&mut lane)), [account(1); 3], "alone, it may have all of them");
        for n in 20..24 {
            assert!(ask(&mut lane, account(2), n));
        }
        assert_eq!([(); 2].map(|()| run(&mut lane)), [account(2); 2]);
        // Both have their part by now, so they take turns.
        assert_eq!([(); 2].map(|()| run(&mut lane)), [account(1), account(2)]);
        for _ in 0..3 {
            lane.end(account(2));
        }
        assert_eq!(run(&mut lane), account(2));
    }

    proptest! {
        // Case F4: whoever asks, and in whatever order.
        #[test]
        fn a_lane_is_bounded_and_nobody_is_refused_for_one_that_has_more(
            steps in proptest::collection::vec((0..6_i64, any::<bool>()), 1..200)
        ) {
            let mut lane = FairLane::new(12, 1);
            for (n, (of, pops)) in steps.into_iter().enumerate() {
                let share = account(of);
                let held: HashMap<HashShare, usize> =
                    lane.waiting.iter().map(|(share, keys)| (*share, keys.len())).collect();
                let own = held.get(&share).copied().unwrap_or_default();
                if pops {
                    lane.pop();
                } else if !ask(&mut lane, share, n) {
                    let most = held.values().copied().max().unwrap_or_default();
                    prop_assert!(own >= 3 && held.len() > 1 || most <= own + 1, "{held:?}");
                }
                prop_assert!(lane.len() <= 12);
                prop_assert_eq!(lane.len(), lane.waiting.values().map(VecDeque::len).sum::<usize>());
                prop_assert_eq!(lane.turns.len(), lane.waiting.len());
            }
        }
    }
}
