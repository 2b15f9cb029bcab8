//! The database of the model, and its statements.

use std::time::Duration;

use gatepost::domain::Canonical;
use gatepost::domain::fleet::{
    Beat, ChangeToken, Era, LeaseTerms, LogPosition, LogRead, LogRow, NodeId, NodeRow,
};

use super::world::{TICK, ticks};

/// The changes in the order of their commits: '1' and '2' by the revokers, 'P' by plain SQL. The length is the number, and
/// the letter at a number stands for its token and for the name that the change touches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Changes(pub Vec<u8>);

/// A set of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChangeSet(pub u8);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Database {
    pub changes: Changes,
    /// True while the last change is not on disk.
    pub is_soft: bool,
    pub trimmed_below: u8,
    pub era: u8,
    pub rows: Vec<Row>,
    pub terms: Terms,
}

/// A row of a node. `silence` counts the ticks since its (id, beat) changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub node: u8,
    pub id: i64,
    pub era: u8,
    pub beat: i64,
    pub applied: u8,
    pub is_settled: bool,
    pub silence: u8,
}

/// The row of table `lease`, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    pub lease: u8,
    pub longest: u8,
    pub version: u8,
}

/// All that one read of the log sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    pub changes: Changes,
    pub trimmed_below: u8,
    pub era: u8,
    pub terms: Terms,
}

impl Changes {
    pub fn number(&self) -> u8 {
        self.0.len() as u8
    }

    /// The letter of the change with a number; 0 if there is none.
    pub fn at(&self, number: u8) -> u8 {
        number.checked_sub(1).and_then(|index| self.0.get(usize::from(index))).copied().unwrap_or(0)
    }

    pub fn set(&self) -> ChangeSet {
        self.0.iter().fold(ChangeSet::default(), |set, letter| set.with(ChangeSet::of(*letter)))
    }
}

impl ChangeSet {
    pub fn of(letter: u8) -> ChangeSet {
        ChangeSet(match letter {
            b'1' => 1,
            b'2' => 2,
            _ => 4,
        })
    }

    pub fn with(self, other: ChangeSet) -> ChangeSet {
        ChangeSet(self.0 | other.0)
    }

    pub fn contains(self, other: ChangeSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// The changes whose names these are.
    pub fn named(names: &[Canonical]) -> ChangeSet {
        let letters = names.iter().filter_map(|name| name.as_bytes().last());
        letters.fold(ChangeSet::default(), |set, letter| set.with(ChangeSet::of(letter.to_ascii_uppercase())))
    }
}

impl Terms {
    pub fn as_read(self) -> LeaseTerms {
        LeaseTerms {
            lease: ticks(self.lease),
            longest: ticks(self.longest),
            version: i64::from(self.version),
        }
    }
}

impl Database {
    pub fn new(lease: u8) -> Database {
        Database {
            changes: Changes::default(),
            is_soft: false,
            trimmed_below: 1,
            era: 0,
            rows: Vec::new(),
            terms: Terms { lease, longest: lease, version: 0 },
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            changes: self.changes.clone(),
            trimmed_below: self.trimmed_below,
            era: self.era,
            terms: self.terms,
        }
    }

    pub fn row(&mut self, id: NodeId) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.id == id.0)
    }

    /// Writes `applied` if the log has the change, or always if `by_number`.
    pub fn acknowledge(&mut self, id: NodeId, position: LogPosition, by_number: bool) {
        let number = position.number as u8;
        let is_known = i64::from(self.changes.at(number)) == position.token.0;
        if let Some(row) = self.row(id).filter(|row| row.applied < number && (is_known || by_number)) {
            row.applied = number;
        }
    }
}

impl Row {
    pub fn as_read(&self) -> NodeRow {
        NodeRow {
            id: NodeId(self.id),
            era: Some(era(self.era)),
            beat: Beat(self.beat),
            applied: u64::from(self.applied),
            settled: self.is_settled,
        }
    }
}

impl Snapshot {
    /// The result of a read of the log above `applied`.
    pub fn read_above(&self, applied: u64, no_tokens: bool) -> LogRead {
        let token = |number: u8| match no_tokens {
            true => ChangeToken(0),
            false => ChangeToken(i64::from(self.changes.at(number))),
        };
        let row = |number: u8| LogRow {
            seq: u64::from(number),
            token: token(number),
            names: Canonical::of(format!("name-{}", char::from(self.changes.at(number))).as_bytes())
                .map(|name| vec![name]),
        };
        let last = self.changes.number();
        let is_there = |number: &u8| *number >= self.trimmed_below && *number <= last;
        LogRead {
            era: era(self.era),
            last: LogPosition { number: u64::from(last), token: token(last) },
            token_at_applied: Some(applied as u8).filter(is_there).map(token),
            rows: (1..=last).filter(|n| u64::from(*n) > applied).filter(is_there).map(row).collect(),
            trimmed_below: u64::from(self.trimmed_below),
            terms: self.terms.as_read(),
        }
    }
}

/// The era with this number.
pub fn era(number: u8) -> Era {
    Era { system: 1, timeline: u32::from(number) + 1, started_at: 0 }
}

/// The duration in whole ticks.
pub fn in_ticks(duration: Duration) -> u8 {
    (duration.as_nanos() / u128::from(TICK)) as u8
}
