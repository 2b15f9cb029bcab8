//! The changes of the store that a process knows of.

use std::collections::BTreeMap;
use std::pin::pin;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The known changes by their numbers. Notices come in any order, because several processes make changes at once.
#[derive(Debug)]
pub(super) struct Ledger {
    heard: Mutex<Heard>,
    /// Wakes those who wait for a number.
    grown: Notify,
}

#[derive(Debug)]
struct Heard {
    /// The number up to which all changes are known.
    known: i64,
    /// Known changes after it, with unknown ones in between: the number before each, and its last one.
    ahead: BTreeMap<i64, i64>,
    /// The number of the store at the last look, if it was not known then.
    missed: Option<i64>,
}

impl Ledger {
    /// Begins at the present number of the store.
    pub(super) fn new(known: i64) -> Ledger {
        let heard = Mutex::new(Heard { known, ahead: BTreeMap::new(), missed: None });
        Ledger { heard, grown: Notify::new() }
    }

    /// The number up to which all changes are known. That of the store is the same or higher.
    pub(super) fn known(&self) -> i64 {
        self.heard.lock().known
    }

    /// Notes the changes from `after + 1` to `upto`. If one of these numbers was noted before, the store was restored to an earlier state
    /// since the last look, and `raise` makes everything stale. A notice that is late or sent twice has the same effect. Returns true if so.
    pub(super) fn note(&self, after: i64, upto: i64, raise: impl FnOnce()) -> bool {
        let mut heard = self.heard.lock();
        let is_given_again = heard.has_any_of(after, upto);
        if is_given_again {
            // What was committed before this change is stale from now on as well.
            raise();
            heard.ahead.clear();
            heard.known = heard.known.max(upto);
        } else if after < upto {
            // A change of a note alone has no number, and its range would take the place of another one that begins there.
            heard.ahead.insert(after, upto);
            heard.join();
        }
        drop(heard);
        self.grown.notify_waiters();
        is_given_again
    }

    /// Counts all changes up to `number` as known.
    pub(super) fn skip(&self, number: i64) {
        let mut heard = self.heard.lock();
        heard.known = heard.known.max(number);
        heard.join();
        drop(heard);
        self.grown.notify_waiters();
    }

    /// Waits until all changes up to `number` are known.
    pub(super) async fn await_known(&self, number: i64) {
        loop {
            let mut grown = pin!(self.grown.notified());
            grown.as_mut().enable();
            if self.known() >= number {
                return;
            }
            grown.await;
        }
    }

    /// Compares with the number of changes in the store, `number`, which was read when all up to `before` were known.
    /// Returns true if there was a change without a notice: one that was missing at the previous look already, or a store
    /// that was restored to an earlier state. All changes count as known then, after `raise` has made everything stale.
    pub(super) fn look(&self, before: i64, number: i64, raise: impl FnOnce()) -> bool {
        let mut heard = self.heard.lock();
        let silent = number < before || heard.missed.is_some_and(|missed| heard.known < missed);
        if silent {
            raise();
            if number < before {
                heard.ahead.clear();
            }
            heard.known = number;
            heard.missed = None;
            heard.join();
        }
        heard.missed = (heard.known < number).then_some(number);
        drop(heard);
        self.grown.notify_waiters();
        silent
    }
}

impl Heard {
    /// Returns true if one of the changes from `after + 1` to `upto` is known.
    fn has_any_of(&self, after: i64, upto: i64) -> bool {
        let overlaps = |first: i64, last: i64| after < last && first < upto;
        after < upto && (after < self.known || self.ahead.iter().any(|(first, last)| overlaps(*first, *last)))
    }

    fn join(&mut self) {
        while let Some(first) = self.ahead.first_entry().filter(|first| *first.key() <= self.known) {
            self.known = self.known.max(first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(ledger: &Ledger, before: i64, number: i64) -> bool {
        let mut raised = false;
        let silent = ledger.look(before, number, || raised = true);
        assert_eq!(silent, raised);
        silent
    }

    fn note(ledger: &Ledger, after: i64, upto: i64) -> bool {
        let mut raised = false;
        let is_given_again = ledger.note(after, upto, || raised = true);
        assert_eq!(is_given_again, raised);
        is_given_again
    }

    #[test]
    fn what_is_told_in_any_order_is_known() {
        let ledger = Ledger::new(10);
        assert!(!note(&ledger, 12, 15));
        assert!(!note(&ledger, 11, 12));
        assert_eq!(ledger.known(), 10);
        assert!(!look(&ledger, 10, 15), "the telling may be under way");
        assert!(!note(&ledger, 10, 11));
        assert_eq!(ledger.known(), 15);
        assert!(!look(&ledger, 15, 15));
    }

    #[test]
    fn what_nobody_tells_is_noticed_at_the_second_look() {
        let ledger = Ledger::new(10);
        assert!(!look(&ledger, 10, 11));
        assert!(!note(&ledger, 11, 12));
        assert!(look(&ledger, 10, 12));
        assert!(!look(&ledger, 12, 12));
        assert!(!note(&ledger, 12, 13));
        assert!(!look(&ledger, 13, 13));
    }

    #[test]
    fn a_look_that_was_overtaken_is_no_alarm() {
        let ledger = Ledger::new(10);
        let before = ledger.known();
        assert!(!note(&ledger, 10, 11));
        assert!(!look(&ledger, before, 10), "read before the change, looked at after it");
    }

    #[test]
    fn an_earlier_state_of_the_store_is_an_alarm() {
        let ledger = Ledger::new(10);
        assert!(look(&ledger, 10, 7));
        assert!(!note(&ledger, 7, 8));
        assert_eq!(ledger.known(), 8);
    }

    // The store is restored to an earlier state, and changed before the next look.
    #[test]
    fn a_number_that_is_given_again_is_an_alarm() {
        let again = |after, upto| {
            let ledger = Ledger::new(10);
            assert!(!note(&ledger, 12, 15));
            note(&ledger, after, upto)
        };
        for (after, upto) in [(9, 10), (3, 4), (8, 20), (12, 15), (12, 13), (13, 16), (11, 13), (14, 20)] {
            assert!(again(after, upto), "{after} to {upto}");
        }
        for (after, upto) in [(10, 11), (10, 12), (11, 12), (15, 16), (9, 9)] {
            assert!(!again(after, upto), "{after} to {upto}");
        }
        let ledger = Ledger::new(10);
        assert!(note(&ledger, 8, 12));
        assert_eq!(ledger.known(), 12);
        assert!(!look(&ledger, 12, 12));
        assert!(!note(&ledger, 12, 13));
    }

    #[test]
    fn what_is_skipped_is_known() {
        let ledger = Ledger::new(10);
        assert!(!note(&ledger, 12, 15));
        ledger.skip(13);
        assert_eq!(ledger.known(), 15);
        ledger.skip(3);
        assert_eq!(ledger.known(), 15);
    }
}
