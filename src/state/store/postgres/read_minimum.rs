//! The state that every read must have seen: a lagging replica, a cut-off primary or a pooler that mixes them up must not be believed.

use parking_lot::RwLock;

use crate::domain::fleet::Era;
use crate::state::store::StoreError;

/// The number of the change that is applied in this process, and the server that gave it. Whoever reads, loads it before the read; a
/// row that was read from an older state, or from another server, is not used.
///
/// It is published before epochs are raised, so a check that sees the raised epochs reads at least the state that raised them.
#[derive(Debug, Default)]
pub struct ReadMinimum(RwLock<Option<ReadState>>);

/// A state of the database, as a read has seen it or must have seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadState {
    /// The number of changes.
    pub(super) number: u64,
    /// The server and its history.
    pub(super) era: Era,
}

impl ReadMinimum {
    /// Raises it to this number of changes. Another era replaces it. Nothing is lowered within an era.
    pub fn publish(&self, number: u64, era: Era) {
        let mut minimum = self.0.write();
        match &mut *minimum {
            Some(minimum) if minimum.era == era => minimum.number = minimum.number.max(number),
            other => *other = Some(ReadState { number, era }),
        }
    }

    /// Raises it to the number of an own change, within the era that is known. Which era it is, is for the node to say: the change may have
    /// been made on a primary that the others have left.
    pub fn raise(&self, number: u64, era: Era) {
        let mut minimum = self.0.write();
        let minimum = minimum.get_or_insert(ReadState { number, era });
        if minimum.era == era {
            minimum.number = minimum.number.max(number);
        }
    }

    /// Sets it to this number of changes, also to a lower one: after a crash, a server may have fewer changes than before in the same era.
    pub fn reset(&self, number: u64, era: Era) {
        *self.0.write() = Some(ReadState { number, era });
    }

    /// The state of this moment; `None` until the process has joined the others, which decides nothing before.
    pub(super) fn now(&self) -> Option<ReadState> {
        *self.0.read()
    }
}

impl ReadState {
    /// Checks what a read has seen against the one from before that read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with the text for the log.
    pub(super) fn check(&self, seen: &ReadState) -> Result<(), StoreError> {
        if seen.era != self.era {
            return Err(StoreError::Unavailable(
                "the connection leads to another server than the one that changes come from, or that was restarted".to_owned(),
            ));
        }
        if seen.number < self.number {
            return Err(StoreError::Unavailable(format!(
                "the connection leads to a server that lags behind: it has seen change {}, and {} is known; \
                 store.url must lead to the primary only",
                seen.number, self.number
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn era(timeline: u32) -> Era {
        Era { system: 7, timeline, started_at: 1 }
    }

    #[test]
    fn it_rises_within_an_era_and_is_replaced_by_another() {
        let minimum = ReadMinimum::default();
        assert_eq!(minimum.now(), None);
        for (number, timeline, expected) in [(5, 1, 5), (4, 1, 5), (6, 1, 6), (2, 2, 2), (1, 2, 2)] {
            minimum.publish(number, era(timeline));
            assert_eq!(minimum.now(), Some(ReadState { number: expected, era: era(timeline) }));
        }
    }

    #[test]
    fn an_own_change_raises_it_within_its_era() {
        let minimum = ReadMinimum::default();
        for (number, timeline, expected) in [(5, 1, 5), (4, 1, 5), (6, 1, 6), (9, 2, 6)] {
            minimum.raise(number, era(timeline));
            assert_eq!(minimum.now(), Some(ReadState { number: expected, era: era(1) }));
        }
    }

    #[test]
    fn it_is_lowered_if_the_server_went_back() {
        let minimum = ReadMinimum::default();
        minimum.publish(5, era(1));
        minimum.reset(4, era(1));
        assert_eq!(minimum.now(), Some(ReadState { number: 4, era: era(1) }));
    }

    #[test]
    fn an_older_state_and_another_server_are_refused() {
        let minimum = ReadState { number: 5, era: era(1) };
        assert!(
            minimum.check(&minimum).is_ok() && minimum.check(&ReadState { number: 6, ..minimum }).is_ok()
        );
        assert!(minimum.check(&ReadState { number: 4, ..minimum }).is_err());
        assert!(minimum.check(&ReadState { number: 9, era: era(2) }).is_err());
    }
}
