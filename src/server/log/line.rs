//! Lines of the log, by kind, and counts of those that were lost.

use std::ops::AddAssign;

/// The bytes that a line takes in addition to its text.
pub const OVERHEAD: usize = 48;

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line of the audit trail, which is dropped last.
    Audit,
    /// Any other line.
    Other,
}

/// Numbers of lines that were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Lines of the audit trail.
    pub audit: u64,
    /// All others.
    pub other: u64,
}

impl Lost {
    /// None at all.
    pub const NONE: Lost = Lost { audit: 0, other: 0 };

    /// Adds one line of that kind.
    pub fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Audit => self.audit += 1,
            Kind::Other => self.other += 1,
        }
    }
}

impl AddAssign for Lost {
    fn add_assign(&mut self, more: Lost) {
        self.audit += more.audit;
        self.other += more.other;
    }
}
