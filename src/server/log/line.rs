//! Kinds of log lines, and counts of lost lines.

use std::ops::AddAssign;

/// The bytes that a line takes in addition to its text.
pub const OVERHEAD: usize = 48;

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A line of the audit trail, which is dropped last.
    Audit,
    /// Any other line.
    Other,
}

/// The numbers of lost lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossCount {
    /// Lines of the audit trail.
    pub audit: u64,
    /// All others.
    pub other: u64,
}

impl LossCount {
    /// The count without a lost line.
    pub const NONE: LossCount = LossCount { audit: 0, other: 0 };

    /// Adds one line of that kind.
    pub fn count(&mut self, kind: LineKind) {
        match kind {
            LineKind::Audit => self.audit += 1,
            LineKind::Other => self.other += 1,
        }
    }
}

impl AddAssign for LossCount {
    fn add_assign(&mut self, more: LossCount) {
        self.audit += more.audit;
        self.other += more.other;
    }
}
