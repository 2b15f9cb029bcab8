//! A node's side of the protocol: its row, its beats, and what it reads of the log.

use std::time::Duration;

use crate::domain::Moment;

use super::application::{Application, Staleness, WentBack};
use super::era::Era;
use super::lease_terms::LeaseTerms;
use super::log::{LogPosition, LogRead};
use super::member_action::{BeatReply, Bell, MemberAction};
use super::node::{Beat, NodeId};

#[cfg(test)]
mod tests;

/// The interval of reads where notifications do not arrive.
const POLL: Duration = Duration::from_millis(25);
/// The shortest time between two acknowledgements.
const ACKNOWLEDGEMENT_PACE: Duration = Duration::from_millis(1);
/// The same for each node: the acknowledgements of many nodes are writes of one table.
const ACKNOWLEDGEMENT_PACE_PER_NODE: Duration = Duration::from_micros(200);
/// The largest fleet whose nodes read the log at each notification, and the time between reads in larger ones.
const UNPACED_NODES: u32 = 20;
const READ_PACE: Duration = Duration::from_millis(10);
/// The interval of trimming the log, which every node does.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// A node, from its first connection until it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    phase: MemberPhase,
    era: Option<KnownEra>,
    row: Option<OwnRow>,
    applied: Option<(Era, LogPosition)>,
    terms: LeaseTerms,
    bell: Bell,
    is_rung: bool,
    is_leaving: bool,
    nodes: u32,
    due: Due,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum MemberPhase {
    Disconnected {
        until: Moment,
    },
    AwaitsConnection,
    /// `sent_at` is the time before the write was sent: trust counts from it.
    AwaitsWrite {
        sent_at: Moment,
    },
    /// A read follows the commit of a beat, if `sent_at` is not `None`.
    MustRead {
        sent_at: Option<Moment>,
    },
    AwaitsRead {
        sent_at: Option<Moment>,
    },
    AwaitsAcknowledgement {
        number: u64,
    },
    /// The reply to a step on which nothing depends.
    AwaitsReply,
    Idle,
    Left,
}

/// The present era, and the time at which it was first received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct KnownEra {
    era: Era,
    since: Moment,
}

/// The row of this node, which is perhaps not there yet, or not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OwnRow {
    id: NodeId,
    era: Era,
    acknowledged: u64,
    is_settled: bool,
}

/// The earliest time of each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Due {
    beat: Moment,
    acknowledgement: Moment,
    read: Moment,
    poll: Moment,
    trim: Moment,
}

impl Member {
    /// A node that is not connected and has applied nothing.
    pub fn new() -> Member {
        let at_once = Moment::ZERO;
        Member {
            phase: MemberPhase::Disconnected { until: at_once },
            era: None,
            row: None,
            applied: None,
            terms: LeaseTerms::default(),
            bell: Bell::Rings,
            is_rung: false,
            is_leaving: false,
            nodes: 1,
            due: Due { beat: at_once, acknowledgement: at_once, read: at_once, poll: at_once, trim: at_once },
        }
    }

    /// The next action. `now` must be read before the action is sent, since trust counts from it. `random` returns
    /// independent random numbers.
    pub fn next(&mut self, now: Moment, random: impl FnMut() -> u64) -> MemberAction {
        match self.phase {
            MemberPhase::Disconnected { .. } if self.is_leaving => self.finish(),
            MemberPhase::Disconnected { until } if now < until => MemberAction::WaitUntil(until),
            MemberPhase::Disconnected { .. } => {
                self.phase = MemberPhase::AwaitsConnection;
                MemberAction::Connect
            }
            MemberPhase::Idle | MemberPhase::MustRead { .. } if self.is_leaving => self.next_of_leaving(),
            MemberPhase::Idle => self.next_due(now, random),
            MemberPhase::MustRead { sent_at } => self.send_read(now, sent_at),
            MemberPhase::Left => MemberAction::Left,
            // The result of the last action is missing.
            _ => MemberAction::WaitUntil(Moment::MAX),
        }
    }

    /// Takes a new connection: its era, received at `now`, and the arrival of notifications on it.
    pub fn connected(&mut self, now: Moment, era: Era, bell: Bell) {
        self.note_era(now, era);
        self.row = self.row.filter(|row| row.era == era);
        self.bell = bell;
        self.is_rung = false;
        self.due.beat = now;
        self.phase = MemberPhase::Idle;
    }

    /// Takes the commit of [`MemberAction::Register`].
    pub fn registered(&mut self) {
        if let MemberPhase::AwaitsWrite { sent_at } = self.phase {
            self.phase = MemberPhase::MustRead { sent_at: Some(sent_at) };
        }
    }

    /// Takes the commit of [`MemberAction::Beat`]; `None` if there was no row. Then the node registers again.
    pub fn beaten(&mut self, reply: Option<BeatReply>) {
        let (MemberPhase::AwaitsWrite { sent_at }, Some(row)) = (self.phase, &mut self.row) else { return };
        match reply {
            Some(reply) => {
                row.acknowledged = reply.acknowledged;
                self.nodes = reply.nodes;
                self.phase = MemberPhase::MustRead { sent_at: Some(sent_at) };
            }
            None => {
                self.row = None;
                self.phase = MemberPhase::Idle;
            }
        }
    }

    /// Takes the result of [`MemberAction::Read`], received at `now`. A read in another era than that of the connection does
    /// not extend trust, and the node connects again. Neither does a read of a node that leaves.
    pub fn read(&mut self, now: Moment, read: LogRead) -> Application {
        let sent_at = match self.phase {
            MemberPhase::AwaitsRead { sent_at } => sent_at,
            _ => None,
        };
        let is_same_era = self.era.is_some_and(|known| known.era == read.era);
        self.note_era(now, read.era);
        self.phase = match is_same_era {
            true => MemberPhase::Idle,
            false => MemberPhase::Disconnected { until: now },
        };
        let extends = is_same_era && !self.is_leaving;
        let is_first = self.applied.is_none_or(|(era, _)| era.system != read.era.system);
        let went_back = self.went_back(&read);
        let is_gapless = went_back.is_none() && self.is_gapless(&read);
        self.terms = read.terms;
        self.applied = Some((read.era, read.last));
        Application {
            lowest: (read.era, read.last.number),
            stale: if is_gapless { names_in(read) } else { Staleness::Everything },
            applied: self.applied_number(),
            trust_until: sent_at.filter(|_| extends).map(|sent_at| sent_at.after(self.terms.trust())),
            is_first,
            went_back,
        }
    }

    /// Takes the end of [`MemberAction::Acknowledge`]. If nothing was written, the next beat tells.
    pub fn acknowledged(&mut self) {
        if let (MemberPhase::AwaitsAcknowledgement { number }, Some(row)) = (self.phase, &mut self.row) {
            row.acknowledged = number;
            self.phase = MemberPhase::Idle;
        }
    }

    /// Takes the commit of [`MemberAction::Settle`].
    pub fn settled(&mut self) {
        if let (MemberPhase::AwaitsReply, Some(row)) = (self.phase, &mut self.row) {
            row.is_settled = true;
            self.phase = MemberPhase::Idle;
        }
    }

    /// Takes the commit of [`MemberAction::Trim`].
    pub fn trimmed(&mut self) {
        if self.phase == MemberPhase::AwaitsReply {
            self.phase = MemberPhase::Idle;
        }
    }

    /// Takes a notification.
    pub fn bell(&mut self) {
        self.is_rung = true;
    }

    /// Takes the arrival of notifications on the present connection, if it has changed: they can be switched off for all nodes.
    pub fn hears(&mut self, bell: Bell) {
        self.bell = bell;
    }

    /// Takes the failure of an action or the loss of the connection, at `now`. The driver closes the connection. The node
    /// connects again within an interval of beats, at a random time, so that many nodes do not come at once.
    pub fn failed(&mut self, now: Moment, random: u64) {
        if self.phase != MemberPhase::Left {
            let interval = self.terms.beat_interval().as_nanos().max(1);
            let delay = Duration::from_nanos((u128::from(random) % interval) as u64);
            self.phase = MemberPhase::Disconnected { until: now.after(delay) };
        }
    }

    /// Begins to leave. The process must have stopped deciding, and its trust must have ended. Without a connection the row
    /// stays, and is deleted as that of a dead node.
    pub fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Takes the commit of [`MemberAction::Leave`].
    pub fn left(&mut self) {
        self.finish();
    }

    /// The time limit for each action.
    pub fn step_timeout(&self) -> Duration {
        self.terms.trust()
    }

    /// The lease, as of the last read.
    pub fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// The ID of the node's row, if it has one.
    pub fn id(&self) -> Option<NodeId> {
        self.row.map(|row| row.id)
    }

    /// The present era, and the moment at which it was first received.
    pub fn era(&self) -> Option<(Era, Moment)> {
        self.era.map(|known| (known.era, known.since))
    }

    /// The number of the last change that was applied; 0 for none.
    pub fn applied_number(&self) -> u64 {
        self.applied.map_or(0, |(_, last)| last.number)
    }

    /// Replaces each moment by its image: those that are remembered, and those that are due. For tests that explore all
    /// states, in which time is relative.
    #[doc(hidden)]
    pub fn map_moments(&mut self, past: impl Fn(Moment) -> Moment, due: impl Fn(Moment) -> Moment) {
        if let Some(known) = &mut self.era {
            known.since = past(known.since);
        }
        match &mut self.phase {
            MemberPhase::Disconnected { until } => *until = due(*until),
            MemberPhase::AwaitsWrite { sent_at } => *sent_at = past(*sent_at),
            MemberPhase::MustRead { sent_at } | MemberPhase::AwaitsRead { sent_at } => {
                *sent_at = sent_at.map(past);
            }
            _ => {}
        }
        let Due { beat, acknowledgement, read, poll, trim } = &mut self.due;
        for moment in [beat, acknowledgement, read, poll, trim] {
            *moment = due(*moment);
        }
    }

    fn next_of_leaving(&mut self) -> MemberAction {
        match self.row {
            Some(row) => {
                self.phase = MemberPhase::AwaitsReply;
                MemberAction::Leave { id: row.id }
            }
            None => self.finish(),
        }
    }

    fn finish(&mut self) -> MemberAction {
        self.row = None;
        self.phase = MemberPhase::Left;
        MemberAction::Left
    }

    /// The next action of a connected node of which no result is missing.
    fn next_due(&mut self, now: Moment, random: impl FnMut() -> u64) -> MemberAction {
        let Some(KnownEra { era, since }) = self.era else {
            self.phase = MemberPhase::Disconnected { until: now };
            return MemberAction::WaitUntil(now);
        };
        let Some(row) = self.row else { return self.send_registration(now, era, random) };
        if now >= self.due.beat {
            self.due.beat = now.after(self.terms.beat_interval());
            self.phase = MemberPhase::AwaitsWrite { sent_at: now };
            return MemberAction::Beat { id: row.id };
        }
        let unacknowledged = self.applied.filter(|(of, last)| *of == era && last.number > row.acknowledged);
        if let Some((_, position)) = unacknowledged.filter(|_| now >= self.due.acknowledgement) {
            let pace = (ACKNOWLEDGEMENT_PACE_PER_NODE * self.nodes).max(ACKNOWLEDGEMENT_PACE);
            self.due.acknowledgement = now.after(pace);
            self.phase = MemberPhase::AwaitsAcknowledgement { number: position.number };
            return MemberAction::Acknowledge { id: row.id, position };
        }
        let settled_at = since.after(self.terms.longest);
        if !row.is_settled && now >= settled_at {
            self.phase = MemberPhase::AwaitsReply;
            return MemberAction::Settle { id: row.id, era };
        }
        if now >= self.due.trim {
            self.due.trim = now.after(TRIM_INTERVAL);
            self.phase = MemberPhase::AwaitsReply;
            return MemberAction::Trim;
        }
        let read_at = match self.bell {
            _ if self.is_rung => self.due.read,
            Bell::Rings => Moment::MAX,
            Bell::Silent => self.due.poll,
        };
        if now >= read_at {
            return self.send_read(now, None);
        }
        let acknowledged_at = unacknowledged.map_or(Moment::MAX, |_| self.due.acknowledgement);
        let settled_at = if row.is_settled { Moment::MAX } else { settled_at };
        let others = acknowledged_at.min(settled_at).min(read_at);
        MemberAction::WaitUntil(self.due.beat.min(self.due.trim).min(others))
    }

    fn send_registration(&mut self, now: Moment, era: Era, mut random: impl FnMut() -> u64) -> MemberAction {
        let id = NodeId(random() as i64);
        // Half of the numbers, so that it can be incremented for ever.
        let beat = Beat((random() >> 2) as i64);
        self.row = Some(OwnRow { id, era, acknowledged: 0, is_settled: false });
        self.due.beat = now.after(self.terms.beat_interval());
        self.due.trim = now.after(TRIM_INTERVAL);
        self.phase = MemberPhase::AwaitsWrite { sent_at: now };
        MemberAction::Register { id, beat, era }
    }

    fn send_read(&mut self, now: Moment, sent_at: Option<Moment>) -> MemberAction {
        self.is_rung = false;
        let pace = if self.nodes > UNPACED_NODES { READ_PACE } else { Duration::ZERO };
        self.due.read = now.after(pace);
        self.due.poll = now.after(POLL);
        self.phase = MemberPhase::AwaitsRead { sent_at };
        MemberAction::Read { applied: self.applied_number() }
    }

    fn note_era(&mut self, now: Moment, era: Era) {
        if self.era.is_none_or(|known| known.era != era) {
            self.era = Some(KnownEra { era, since: now });
        }
    }

    /// Returns true if `read` has all changes since the last read, in the same era.
    fn is_gapless(&self, read: &LogRead) -> bool {
        let Some((era, last)) = self.applied else { return false };
        let is_known = last.number == 0 || read.token_at_applied == Some(last.token);
        let first = last.number + 1;
        let numbers = read.rows.iter().map(|row| row.seq);
        era == read.era && is_known && read.trimmed_below <= first && numbers.eq(first..read.last.number + 1)
    }

    /// The loss of changes that were applied, in this era or between eras.
    fn went_back(&self, read: &LogRead) -> Option<WentBack> {
        let (_, last) = self.applied?;
        let from = last.number;
        if read.last.number < from {
            return Some(WentBack { from, to: read.last.number });
        }
        let is_other = read.token_at_applied.is_some_and(|token| token != last.token);
        (from > 0 && is_other).then(|| WentBack { from, to: from - 1 })
    }
}

impl Default for Member {
    fn default() -> Member {
        Member::new()
    }
}

/// The names in a gapless read. All of them are raised if one row means everything.
fn names_in(read: LogRead) -> Staleness {
    let names: Option<Vec<_>> = read.rows.into_iter().map(|row| row.names).collect();
    names.map_or(Staleness::Everything, |names| Staleness::Names(names.concat()))
}
