//! The silent checks of one username: rarer with each wrong one, in records of their own.
//!
//! Silent checks count by the network that is known for the username, as any number of addresses may belong to it, and by the username over all
//! of its networks. These counts delay nothing but further silent checks, and show in no answer.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::record::delay;
use super::{CAPACITY, FREE, LONGEST_FOR_SOURCE, LONGEST_FOR_USERNAME, NameLane, PASS_EVERY, WINDOW};
use crate::domain::{Canonical, ClientNetwork, Moment};

/// The number of wrong checks of a username without a further delay, over all networks. The delay stays below that of one network, so
/// that an attacker in one leaves turns to the others.
const FREE_OF_NAME: usize = 4 * FREE;

/// The records of all usernames.
pub struct QuietChecks(moka::sync::Cache<NameLane, Arc<Mutex<QuietRecord>>, RandomState>);

/// The wrong checks of a username, from one network or from all.
#[derive(Debug)]
struct QuietRecord {
    /// The number of wrong checks, and of those under way.
    wrong: u32,
    last: Moment,
    /// The moment from which the next check may be made.
    from: Moment,
}

/// A silent check that may be made. If it is dropped, it counts as right or as not made.
#[must_use = "tell if the check was wrong"]
#[derive(Debug)]
pub struct QuietPass([QuietShare; 2]);

/// The share of one record that a check holds.
#[derive(Debug)]
struct QuietShare {
    record: Arc<Mutex<QuietRecord>>,
    /// The moment from which the next check may be made, if this one is wrong or under way, and otherwise.
    until: (Moment, Moment),
}

impl QuietChecks {
    /// Creates a list without checks.
    pub fn new() -> QuietChecks {
        let records = moka::sync::Cache::builder().max_capacity(CAPACITY).time_to_idle(WINDOW);
        QuietChecks(records.build_with_hasher(RandomState::default()))
    }

    /// Admits a check, if both of its records do.
    pub fn pass(&self, network: ClientNetwork, name: &Canonical, now: Moment) -> Option<QuietPass> {
        let record = |network| {
            let fresh = || Arc::new(Mutex::new(QuietRecord { wrong: 0, last: now, from: now }));
            self.0.get_with(NameLane { name: *name, network }, fresh)
        };
        let (of_network, of_name) = (record(Some(network)), record(None));
        // Both locks at once and always in this order: of a hundred simultaneous checks, one passes.
        let (mut by_network, mut by_name) = (of_network.lock(), of_name.lock());
        if now < by_network.from || now < by_name.from {
            return None;
        }
        by_network.take(FREE, PASS_EVERY, LONGEST_FOR_SOURCE, now);
        by_name.take(FREE_OF_NAME, Duration::ZERO, LONGEST_FOR_USERNAME, now);
        let (network_until, name_until) = ((by_network.from, now + PASS_EVERY), (by_name.from, now));
        drop((by_network, by_name));
        Some(QuietPass([
            QuietShare { record: of_network, until: network_until },
            QuietShare { record: of_name, until: name_until },
        ]))
    }
}

impl QuietPass {
    /// The check was wrong: what it held is not given back.
    pub fn was_wrong(self) {
        let QuietPass(mut shares) = self;
        for share in &mut shares {
            share.until.1 = share.until.0;
            share.record.lock().wrong += 1;
        }
    }
}

impl Drop for QuietShare {
    fn drop(&mut self) {
        let mut record = self.record.lock();
        record.wrong = record.wrong.saturating_sub(1);
        // Unless another check was made in the meantime.
        if record.from == self.until.0 {
            record.from = self.until.1;
        }
    }
}

impl QuietRecord {
    /// Counts a check as wrong, until it turns out otherwise.
    fn take(&mut self, free: usize, shortest: Duration, longest: Duration, now: Moment) {
        if now.since(self.last) >= WINDOW {
            self.wrong = 0;
        }
        self.wrong = self.wrong.saturating_add(1);
        self.last = now.max(self.last);
        let delayed = (self.wrong as usize).checked_sub(free);
        let further = delayed.map_or(Duration::ZERO, |beyond| delay((FREE + beyond) as u32, longest));
        self.from = now + further.max(shortest);
    }
}
