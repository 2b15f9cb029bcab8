//! The actions of a node, and the results that are more than a number.

use crate::domain::Moment;

use super::era::Era;
use super::log::LogPosition;
use super::node::{Beat, NodeId};

/// The next action of a node on its connection to the primary, one at a time. Each has `Member::step_timeout`; if it
/// fails or is late, the connection is closed and `Member::failed` is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberAction {
    /// Connect to the primary, LISTEN, read the era, and probe a notification of one's own. Then `Member::connected`.
    Connect,
    /// Insert the row with `applied` 0 and commit, with `synchronous_commit` on. Then `Member::registered`.
    Register {
        /// The ID of the row.
        id: NodeId,
        /// The first beat of the row.
        beat: Beat,
        /// The era of the node.
        era: Era,
    },
    /// Increment `beat` of the row and commit, with `synchronous_commit` on. Then `Member::beaten`.
    Beat {
        /// The ID of the row.
        id: NodeId,
    },
    /// Read the log above this number in one statement. Then `Member::read`, and its `Application` is carried out
    /// before the next action.
    Read {
        /// The number of the last change that was applied, in whatever era; 0 for none.
        applied: u64,
    },
    /// Write `applied` to the row, if the log has a row with this number and token. May be committed asynchronously. Then
    /// `Member::acknowledged`, whether the row was changed or not.
    Acknowledge {
        /// The ID of the row.
        id: NodeId,
        /// The last change that was applied.
        position: LogPosition,
    },
    /// Mark the row as settled, if it still has this era. Then `Member::settled`.
    Settle {
        /// The ID of the row.
        id: NodeId,
        /// The era that is known for the longest lease.
        era: Era,
    },
    /// Trim the log: rows below the lowest `applied` after ten minutes, and all but the last million. The last row always
    /// stays. `log_trimmed_below` changes in the same transaction. Then `Member::trimmed`.
    Trim,
    /// Delete the row. The process stopped deciding before it called `Member::leave`. Then `Member::left`.
    Leave {
        /// The ID of the row.
        id: NodeId,
    },
    /// Wait for a notification (`Member::bell`) until this moment at most.
    WaitUntil(Moment),
    /// Nothing: the node left.
    Left,
}

/// The arrival of notifications on a connection, as a probe found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bell {
    /// Notifications arrive.
    Rings,
    /// Notifications do not arrive, so the log is polled. A pooler may be in between.
    Silent,
}

/// The result of a beat that found its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BeatReply {
    /// The column `applied` of the row: an acknowledgement that is missing there is sent again.
    pub acknowledged: u64,
    /// The number of rows in table `node`.
    pub nodes: u32,
}
