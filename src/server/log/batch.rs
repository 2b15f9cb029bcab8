//! Lines that are being written: those that were written, and what remains after an error. Pure; knows no file.

use super::line::{LineKind, LossCount, OVERHEAD};

/// Lines that are written together. A line that was begun stays until all of it is written, whatever happens in between, so that
/// no line is joined to a part of another.
#[derive(Debug, Default)]
pub struct Batch {
    text: Vec<u8>,
    lines: Vec<BatchedLine>,
    /// The bytes of `text` that were written.
    written: usize,
}

#[derive(Debug)]
struct BatchedLine {
    /// The end of the line in the text.
    end: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Line(LineKind),
    /// Reports lines that were lost.
    Notice(LossCount),
    /// The rest of a line that was begun.
    Rest,
}

/// The lines that a batch has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Lines that are lost.
    pub lost: LossCount,
    /// Losses that no line reports, because the line that was to do so was dropped as well.
    pub unreported: LossCount,
}

impl Batch {
    /// Adds a line, which ends in a line end.
    pub fn push(&mut self, kind: LineKind, line: &[u8]) {
        self.add(What::Line(kind), line);
    }

    /// Adds a line that reports losses.
    pub fn push_notice(&mut self, lost: LossCount, line: &[u8]) {
        self.add(What::Notice(lost), line);
    }

    fn add(&mut self, what: What, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        self.text.extend_from_slice(line);
        self.lines.push(BatchedLine { end: self.text.len(), what });
    }

    /// The bytes that are still to be written.
    pub fn rest(&self) -> &[u8] {
        &self.text[self.written..]
    }

    /// Notes that `count` more bytes were written.
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        if self.is_empty() {
            self.text.clear();
            self.lines.clear();
            self.written = 0;
        }
    }

    /// Returns true if everything was written.
    pub fn is_empty(&self) -> bool {
        self.written >= self.text.len()
    }

    /// The memory that it takes, until all of it is written.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.lines.len() * OVERHEAD
    }

    /// Drops the lines that were not begun, after an error; audit lines only if `keep_audit` is false.
    pub fn drop_unwritten(&mut self, keep_audit: bool) -> Dropped {
        let mut dropped = Dropped::default();
        let mut kept = Batch::default();
        let mut begin = 0;
        for BatchedLine { end, what } in std::mem::take(&mut self.lines) {
            let line = &self.text[begin.max(self.written).min(end)..end];
            let is_begun = begin < self.written;
            begin = end;
            match what {
                // Empty if all of it was written.
                _ if is_begun => kept.add(What::Rest, line),
                What::Rest => kept.add(what, line),
                What::Line(LineKind::Audit) if keep_audit => kept.add(what, line),
                What::Line(kind) => dropped.lost.count(kind),
                What::Notice(lost) => dropped.unreported += lost,
            }
        }
        *self = kept;
        dropped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOST: LossCount = LossCount { audit: 1, other: 2 };

    fn batch() -> Batch {
        let mut batch = Batch::default();
        batch.push_notice(LOST, b"notice\n");
        batch.push(LineKind::Other, b"one\n");
        batch.push(LineKind::Audit, b"two\n");
        batch.push(LineKind::Other, b"three\n");
        batch
    }

    #[test]
    fn a_line_that_was_begun_is_finished() {
        let mut batch = batch();
        // In the middle of "one".
        batch.advance(9);
        let dropped = batch.drop_unwritten(true);
        assert_eq!(dropped, Dropped { lost: LossCount { audit: 0, other: 1 }, unreported: LossCount::NONE });
        assert_eq!(batch.rest(), b"e\ntwo\n");
        assert_eq!(batch.drop_unwritten(false).lost, LossCount { audit: 1, other: 0 });
        assert_eq!(batch.rest(), b"e\n");
        assert_eq!(batch.drop_unwritten(false), Dropped::default());
        assert_eq!(batch.rest(), b"e\n");
    }

    #[test]
    fn a_notice_that_was_not_begun_is_unreported() {
        let mut batch = batch();
        let dropped = batch.drop_unwritten(false);
        assert_eq!(dropped, Dropped { lost: LossCount { audit: 1, other: 2 }, unreported: LOST });
        assert!(batch.is_empty() && batch.bytes() == 0);
    }

    #[test]
    fn one_that_has_gone_out_is_empty() {
        let mut batch = batch();
        assert_eq!(batch.bytes(), 21 + 4 * OVERHEAD);
        batch.advance(20);
        assert!(!batch.is_empty());
        batch.advance(1);
        assert!(batch.is_empty() && batch.bytes() == 0);
        assert_eq!(batch.drop_unwritten(false), Dropped::default());
    }

    proptest! {
        /// Wherever writing fails, the output consists of whole lines, and each line is there or counted.
        #[test]
        fn what_comes_out_are_whole_lines(cuts in proptest::collection::vec((0..30_usize, any::<bool>()), 1..20)) {
            let (mut batch, mut out) = (Batch::default(), Vec::new());
            let (mut pushed, mut dropped) = (0, Dropped::default());
            for (cut, keep) in cuts {
                let audit = pushed % 3 == 0;
                batch.push(if audit { LineKind::Audit } else { LineKind::Other }, b"<a line>\n");
                pushed += 1;
                let count = cut.min(batch.rest().len());
                out.extend_from_slice(&batch.rest()[..count]);
                batch.advance(count);
                if !batch.is_empty() {
                    dropped.lost += batch.drop_unwritten(keep).lost;
                }
            }
            out.extend_from_slice(batch.rest());
            let text = String::from_utf8(out).unwrap();
            prop_assert!(text.split_terminator('\n').all(|line| line == "<a line>"), "{}", text);
            let lost = dropped.lost.audit + dropped.lost.other;
            prop_assert_eq!(text.lines().count() as u64 + lost, pushed);
        }
    }
}
