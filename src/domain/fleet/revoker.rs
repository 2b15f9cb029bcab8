//! The waits of a process for its revocations, and the deletion of dead nodes' rows.

use std::time::Duration;

use crate::domain::Moment;

use super::era::Era;
use super::lease_terms::LeaseTerms;
use super::node::{Beat, NodeId, NodeRow};

#[cfg(test)]
mod tests;

/// The shortest and the longest time between two looks while something waits, and their ratio to the number of rows.
const FASTEST: Duration = Duration::from_millis(1);
const SLOWEST: Duration = Duration::from_millis(5);
const PACE_PER_NODE: Duration = Duration::from_micros(200);
/// The time to the next look after a failure, while something waits.
const RETRY: Duration = Duration::from_millis(50);
/// The shortest time between two looks while nothing waits: they find rows of the dead.
const QUIET: Duration = Duration::from_secs(1);

/// The next action of the loop, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevokerAction {
    /// Read era, lease and all rows of table `node` in one statement. Then [`Revoker::looked`] or [`Revoker::failed`].
    Look,
    /// Delete the row with this ID and beat if `longest_ms` is at most `silence`, all in one statement. Then
    /// [`Revoker::deleted`] or [`Revoker::failed`].
    Delete {
        /// The ID of the row.
        id: NodeId,
        /// The beat that was read twice.
        beat: Beat,
        /// The time between the two reads.
        silence: Duration,
    },
    /// Wait for a new revocation until this moment at most.
    WaitUntil(Moment),
}

/// All that one look returns. It has to be one statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodesRead {
    /// The era of the connection.
    pub era: Era,
    /// The lease.
    pub terms: LeaseTerms,
    /// All rows of table `node`.
    pub nodes: Vec<NodeRow>,
}

/// The number of a wait within its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId(u64);

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationVerdict {
    /// The revocation is in force on all nodes.
    InForce(WaitReason),
    /// The database was lost, or is in another era. If the change was committed, it is in force after the longest lease.
    Unknown,
}

/// The reason for the length of a wait, which is a label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// The first look found nothing to wait for.
    Nothing,
    /// Other nodes had to acknowledge.
    Acknowledgements,
    /// A node did not acknowledge, so the longest lease was waited for.
    SilentNode,
    /// The era was too young to know all nodes, so the longest lease was waited for.
    UnsettledEra,
    /// The outcome is unknown.
    Unknown,
}

/// All waits of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revoker {
    waits: Vec<RevocationWait>,
    watches: Vec<RowWatch>,
    dead: Vec<DeadRow>,
    /// The present era, and the time at which it was first received: by a look, and elsewhere in this process.
    era: Option<(Era, Moment)>,
    told: Option<(Era, Moment)>,
    look_at: Moment,
    next_id: u64,
    is_awaiting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RevocationWait {
    id: WaitId,
    number: u64,
    era: Era,
    /// The time after the commit.
    since: Moment,
    /// The number of looks that were sent since the wait began: an earlier one may have missed a node that lacks the change.
    looks: Looks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Looks {
    None,
    First,
    More,
    /// Some, of which at least one was in a young era.
    Unsettled,
}

/// A row that was received with this beat at `since` for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RowWatch {
    id: NodeId,
    beat: Beat,
    since: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct DeadRow {
    id: NodeId,
    beat: Beat,
    silence: Duration,
}

impl WaitReason {
    /// All reasons.
    pub const ALL: [WaitReason; 5] = [
        WaitReason::Nothing,
        WaitReason::Acknowledgements,
        WaitReason::SilentNode,
        WaitReason::UnsettledEra,
        WaitReason::Unknown,
    ];

    /// The word in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            WaitReason::Nothing => "nothing",
            WaitReason::Acknowledgements => "acknowledgements",
            WaitReason::SilentNode => "silent_node",
            WaitReason::UnsettledEra => "unsettled_era",
            WaitReason::Unknown => "unknown",
        }
    }
}

impl RevocationVerdict {
    /// The reason for the length of the wait.
    pub const fn reason(self) -> WaitReason {
        match self {
            RevocationVerdict::InForce(reason) => reason,
            RevocationVerdict::Unknown => WaitReason::Unknown,
        }
    }
}

impl Revoker {
    /// A process that waits for nothing.
    pub fn new() -> Revoker {
        Revoker {
            waits: Vec::new(),
            watches: Vec::new(),
            dead: Vec::new(),
            era: None,
            told: None,
            look_at: Moment::ZERO,
            next_id: 0,
            is_awaiting: false,
        }
    }

    /// Begins to wait for the change with this number. `era` was read within its transaction, and `now` after its commit.
    /// The epochs of this process are raised already. A wait without a change of its own takes the present number after a
    /// write that was committed with `synchronous_commit` on.
    pub fn wait(&mut self, now: Moment, number: u64, era: Era) -> WaitId {
        let id = WaitId(self.next_id);
        self.next_id += 1;
        self.waits.push(RevocationWait { id, number, era, since: now, looks: Looks::None });
        self.look_at = self.look_at.min(now);
        id
    }

    /// Takes the present era of the node of this process, which was first received at `since`.
    pub fn know_era(&mut self, era: Era, since: Moment) {
        self.told = Some((era, since));
    }

    /// The next action. `now` is read before it is sent.
    pub fn next(&mut self, now: Moment) -> RevokerAction {
        if self.is_awaiting {
            return RevokerAction::WaitUntil(Moment::MAX);
        }
        if let Some(DeadRow { id, beat, silence }) = self.dead.pop() {
            self.is_awaiting = true;
            return RevokerAction::Delete { id, beat, silence };
        }
        if now < self.look_at {
            return RevokerAction::WaitUntil(self.look_at);
        }
        self.is_awaiting = true;
        for wait in &mut self.waits {
            wait.looks = match wait.looks {
                Looks::None => Looks::First,
                Looks::First | Looks::More => Looks::More,
                Looks::Unsettled => Looks::Unsettled,
            };
        }
        RevokerAction::Look
    }

    /// Takes the result of [`RevokerAction::Look`], received at `now`, and returns the waits that ended. `own` is the row of
    /// this process, if it has one.
    pub fn looked(
        &mut self,
        now: Moment,
        read: &NodesRead,
        own: Option<NodeId>,
    ) -> Vec<(WaitId, RevocationVerdict)> {
        self.is_awaiting = false;
        let known = [self.era, self.told].into_iter().flatten().filter(|(era, _)| *era == read.era);
        let since = known.map(|(_, since)| since).min().unwrap_or(now);
        self.era = Some((read.era, since));
        self.watch(now, read, own);
        let is_marked = read.nodes.iter().any(|node| node.settled && node.era == Some(read.era));
        let is_settled = is_marked || now >= since.after(read.terms.longest);
        let mut ended = Vec::new();
        self.waits.retain_mut(|wait| {
            if !is_settled && wait.looks != Looks::None {
                wait.looks = Looks::Unsettled;
            }
            let verdict = wait.judge(now, read, own, is_settled);
            ended.extend(verdict.map(|verdict| (wait.id, verdict)));
            verdict.is_none()
        });
        self.look_at = match self.waits.iter().any(|wait| wait.looks == Looks::None) {
            true => now,
            false if self.waits.is_empty() => now.after(read.terms.longest.max(QUIET)),
            false => now.after(pace(read.nodes.len())),
        };
        ended
    }

    /// Takes the commit of [`RevokerAction::Delete`], whether there was such a row or not.
    pub fn deleted(&mut self) {
        self.is_awaiting = false;
    }

    /// Takes the failure of an action at `now`, and returns the waits that ended by it.
    pub fn failed(&mut self, now: Moment) -> Vec<(WaitId, RevocationVerdict)> {
        self.is_awaiting = false;
        let lost = self.waits.extract_if(.., |wait| wait.looks != Looks::None);
        let ended = lost.map(|wait| (wait.id, RevocationVerdict::Unknown)).collect();
        // A database that refuses connections is not asked for more than it can refuse.
        self.look_at = now.after(if self.waits.is_empty() { QUIET } else { RETRY });
        ended
    }

    /// Replaces each moment by its image: those that are remembered, and those that are due. For tests that explore all
    /// states, in which time is relative.
    #[doc(hidden)]
    pub fn map_moments(&mut self, past: impl Fn(Moment) -> Moment, due: impl Fn(Moment) -> Moment) {
        let waits = self.waits.iter_mut().map(|wait| &mut wait.since);
        let watches = self.watches.iter_mut().map(|watch| &mut watch.since);
        let eras = [&mut self.era, &mut self.told].into_iter().flatten().map(|(_, since)| since);
        for moment in waits.chain(watches).chain(eras) {
            *moment = past(*moment);
        }
        self.look_at = due(self.look_at);
    }

    /// Keeps the time since which each row is unchanged, and notes the rows that are silent for the longest lease.
    fn watch(&mut self, now: Moment, read: &NodesRead, own: Option<NodeId>) {
        let watches = read.nodes.iter().filter(|node| Some(node.id) != own).map(|node| {
            let known = self.watches.iter().find(|watch| (watch.id, watch.beat) == (node.id, node.beat));
            RowWatch { id: node.id, beat: node.beat, since: known.map_or(now, |watch| watch.since) }
        });
        let (dead, alive) = watches.partition(|watch| now >= watch.since.after(read.terms.longest));
        let dead: Vec<RowWatch> = dead;
        self.watches = alive;
        let row =
            |watch: &RowWatch| DeadRow { id: watch.id, beat: watch.beat, silence: now.since(watch.since) };
        self.dead = dead.iter().map(row).collect();
    }
}

impl Default for Revoker {
    fn default() -> Revoker {
        Revoker::new()
    }
}

impl RevocationWait {
    /// The end of the wait, if a look that was received at `now` shows it.
    fn judge(
        &self,
        now: Moment,
        read: &NodesRead,
        own: Option<NodeId>,
        is_settled: bool,
    ) -> Option<RevocationVerdict> {
        if self.looks == Looks::None {
            return None;
        }
        if self.era != read.era {
            return Some(RevocationVerdict::Unknown);
        }
        let is_lacking = |node: &NodeRow| Some(node.id) != own && node.applied < self.number;
        let is_lagging = read.nodes.iter().any(is_lacking);
        let is_over = now >= self.since.after(read.terms.longest);
        let reason = match (is_lagging, is_settled, self.looks) {
            (false, true, Looks::First) => WaitReason::Nothing,
            (false, true, Looks::Unsettled) => WaitReason::UnsettledEra,
            (false, true, _) => WaitReason::Acknowledgements,
            // The rows of an earlier era are silent, too, and stay for a while.
            (_, _, Looks::Unsettled) if is_over => WaitReason::UnsettledEra,
            (true, _, _) if is_over => WaitReason::SilentNode,
            _ => return None,
        };
        Some(RevocationVerdict::InForce(reason))
    }
}

/// The time between two looks, for this number of rows.
fn pace(rows: usize) -> Duration {
    (PACE_PER_NODE * rows as u32).clamp(FASTEST, SLOWEST)
}
