//! The command that changes the lease of a fleet.

use std::time::Duration;

use crate::domain::Moment;

use super::lease_terms::LeaseTerms;

/// The next step of a change of the lease. All steps use one connection: if it is lost, the command was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseAction {
    /// Set `lease_ms` to the lower, and `longest_ms` to the higher of itself and this lease, increment `version`, and
    /// commit. The new row is the result.
    Begin {
        /// The new lease.
        lease: Duration,
    },
    /// Wait until this moment.
    WaitUntil(Moment),
    /// Set both to this lease if `version` is still this one, and commit. The number of rows is the result.
    Finish {
        /// The new lease.
        lease: Duration,
        /// The version that [`LeaseAction::Begin`] wrote.
        version: i64,
    },
    /// Nothing is left to do.
    Done(LeaseOutcome),
}

/// The outcome of a change of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseOutcome {
    /// The lease is the new one.
    Changed,
    /// Another command began later, and its lease counts.
    Overtaken,
    /// The database was lost on the way: the lease is safe as it is, and the command can be run again.
    Interrupted,
}

/// A change of the lease. Nodes keep to the shorter of both leases, and waits to the longer, until no node can have the
/// old one any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseChange {
    lease: Duration,
    step: LeaseStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum LeaseStep {
    AwaitsBegin,
    AwaitsOldLease { over_at: Moment, version: i64 },
    Ended(LeaseOutcome),
}

impl LeaseChange {
    /// A change to this lease, in whole milliseconds.
    pub fn new(lease: Duration) -> LeaseChange {
        LeaseChange { lease, step: LeaseStep::AwaitsBegin }
    }

    /// The next step.
    pub fn next(&self, now: Moment) -> LeaseAction {
        match self.step {
            LeaseStep::AwaitsBegin => LeaseAction::Begin { lease: self.lease },
            LeaseStep::AwaitsOldLease { over_at, .. } if now < over_at => LeaseAction::WaitUntil(over_at),
            LeaseStep::AwaitsOldLease { version, .. } => LeaseAction::Finish { lease: self.lease, version },
            LeaseStep::Ended(outcome) => LeaseAction::Done(outcome),
        }
    }

    /// Takes the result of [`LeaseAction::Begin`], received at `now`: the row as it was committed.
    pub fn begun(&mut self, now: Moment, terms: LeaseTerms) {
        self.step = LeaseStep::AwaitsOldLease { over_at: now.after(terms.longest), version: terms.version };
    }

    /// Takes the result of [`LeaseAction::Finish`]: the number of rows that were changed.
    pub fn finished(&mut self, rows: u64) {
        let outcome = if rows == 0 { LeaseOutcome::Overtaken } else { LeaseOutcome::Changed };
        self.step = LeaseStep::Ended(outcome);
    }

    /// Takes the failure of a step, or the loss of the connection.
    pub fn failed(&mut self) {
        self.step = LeaseStep::Ended(LeaseOutcome::Interrupted);
    }

    /// Replaces each moment that is due by its image. For tests that explore all states, in which time is relative.
    #[doc(hidden)]
    pub fn map_moments(&mut self, due: impl Fn(Moment) -> Moment) {
        if let LeaseStep::AwaitsOldLease { over_at, .. } = &mut self.step {
            *over_at = due(*over_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    /// A change that began at 0 ms, when the longest lease was 3 s.
    fn begun() -> LeaseChange {
        let mut change = LeaseChange::new(NEW);
        assert_eq!(change.next(at(0)), LeaseAction::Begin { lease: NEW });
        change.begun(at(0), LeaseTerms { lease: NEW, version: 7, ..LeaseTerms::default() });
        assert_eq!(change.next(at(2999)), LeaseAction::WaitUntil(at(3000)));
        assert_eq!(change.next(at(3000)), LeaseAction::Finish { lease: NEW, version: 7 });
        change
    }

    #[test]
    fn a_change_waits_for_the_longest_lease() {
        let mut change = begun();
        change.finished(1);
        assert_eq!(change.next(at(3001)), LeaseAction::Done(LeaseOutcome::Changed));
    }

    #[test]
    fn a_later_command_overtakes() {
        let mut change = begun();
        change.finished(0);
        assert_eq!(change.next(at(3001)), LeaseAction::Done(LeaseOutcome::Overtaken));
    }

    #[test]
    fn a_lost_connection_interrupts() {
        let mut change = begun();
        change.failed();
        assert_eq!(change.next(at(3001)), LeaseAction::Done(LeaseOutcome::Interrupted));
    }
}
