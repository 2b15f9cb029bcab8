//! The buffer between the code that logs and the thread that writes: bounded in bytes, in order, and audit lines are
//! dropped last. Pure; knows no thread and no clock.

use std::collections::VecDeque;

use super::batch::Batch;
use super::line::{LineKind, LossCount, OVERHEAD};

/// Bounds of a [`Buffer`], in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All lines, including those that are being written.
    pub total: usize,
    /// The share of `total` that only audit lines may take.
    pub reserved: usize,
    /// The text of one line. A longer one is lost, because a part of it could not be parsed.
    pub line: usize,
}

/// Lines that wait to be written.
#[derive(Debug)]
pub struct Buffer {
    bounds: Bounds,
    audit: Queue,
    other: Queue,
    /// The bytes that are being written.
    taken: usize,
    /// The number of the next line. The numbers give both queues one order.
    next: u64,
}

/// Lines of one kind.
#[derive(Debug)]
struct Queue {
    lines: VecDeque<QueuedLine>,
    bytes: usize,
}

#[derive(Debug)]
struct QueuedLine {
    number: u64,
    text: Box<[u8]>,
}

impl QueuedLine {
    fn bytes(&self) -> usize {
        self.text.len() + OVERHEAD
    }
}

impl Queue {
    const fn new() -> Queue {
        Queue { lines: VecDeque::new(), bytes: 0 }
    }

    /// The number of its first line; the highest possible if it has none.
    fn first(&self) -> u64 {
        self.lines.front().map_or(u64::MAX, |line| line.number)
    }

    fn push(&mut self, line: QueuedLine) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
    }

    /// Takes its first line if `wanted` accepts the length of the text.
    fn pop_first_if(&mut self, wanted: impl Fn(usize) -> bool) -> Option<QueuedLine> {
        let line = self.lines.pop_front_if(|line| wanted(line.text.len()))?;
        self.bytes -= line.bytes();
        Some(line)
    }

    fn pop_last(&mut self) -> Option<QueuedLine> {
        let line = self.lines.pop_back()?;
        self.bytes -= line.bytes();
        Some(line)
    }
}

impl Buffer {
    /// An empty buffer.
    pub const fn new(bounds: Bounds) -> Buffer {
        Buffer { bounds, audit: Queue::new(), other: Queue::new(), taken: 0, next: 0 }
    }

    /// Adds a line at the end. If there is no room, an audit line replaces the newest other lines, and any other line is lost.
    /// Returns the losses.
    pub fn push(&mut self, kind: LineKind, text: Box<[u8]>) -> LossCount {
        let mut lost = LossCount::NONE;
        let line = QueuedLine { number: self.next, text };
        // The bytes that this line cannot replace, and the room for all.
        let (staying, room) = match kind {
            LineKind::Audit => (self.bytes() - self.other.bytes, self.bounds.total),
            LineKind::Other => (self.bytes(), self.bounds.total - self.bounds.reserved),
        };
        if line.text.len() > self.bounds.line || staying + line.bytes() > room {
            lost.count(kind);
            return lost;
        }
        while self.bytes() + line.bytes() > room && self.other.pop_last().is_some() {
            lost.count(LineKind::Other);
        }
        self.next += 1;
        match kind {
            LineKind::Audit => self.audit.push(line),
            LineKind::Other => self.other.push(line),
        }
        lost
    }

    /// Moves lines to `batch`, in their order, while its text stays within `most` bytes; at least one if it was empty.
    pub fn fill(&mut self, batch: &mut Batch, most: usize) {
        loop {
            let kind =
                if self.audit.first() < self.other.first() { LineKind::Audit } else { LineKind::Other };
            let queue = match kind {
                LineKind::Audit => &mut self.audit,
                LineKind::Other => &mut self.other,
            };
            let room = most.saturating_sub(batch.rest().len());
            let Some(line) = queue.pop_first_if(|length| batch.is_empty() || length <= room) else { break };
            batch.push(kind, &line.text);
        }
        self.settle(batch);
    }

    /// Drops all waiting lines. Returns the losses.
    pub fn clear(&mut self) -> LossCount {
        let lost = LossCount { audit: self.audit.lines.len() as u64, other: self.other.lines.len() as u64 };
        self.audit = Queue::new();
        self.other = Queue::new();
        lost
    }

    /// Notes how many bytes are still being written.
    pub fn settle(&mut self, batch: &Batch) {
        self.taken = batch.bytes();
    }

    /// Returns true if no line is waiting.
    pub fn is_empty(&self) -> bool {
        self.audit.lines.is_empty() && self.other.lines.is_empty()
    }

    /// The bytes of all lines, including those that are being written.
    pub fn bytes(&self) -> usize {
        self.audit.bytes + self.other.bytes + self.taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { total: 1_000, reserved: 250, line: 200 };

    fn line(text: &str) -> Box<[u8]> {
        text.as_bytes().into()
    }

    /// The lines that a batch takes, as they are written.
    fn taken(buffer: &mut Buffer, most: usize) -> String {
        let mut batch = Batch::default();
        buffer.fill(&mut batch, most);
        let text = String::from_utf8(batch.rest().to_vec()).unwrap();
        buffer.settle(&Batch::default());
        text
    }

    #[test]
    fn lines_come_out_in_their_order_whatever_their_kind() {
        let mut buffer = Buffer::new(BOUNDS);
        for (kind, text) in
            [(LineKind::Other, "a"), (LineKind::Audit, "b"), (LineKind::Audit, "c"), (LineKind::Other, "d")]
        {
            assert_eq!(buffer.push(kind, line(text)), LossCount::NONE);
        }
        // Two of them, and the rest.
        assert_eq!(taken(&mut buffer, 2), "ab");
        assert_eq!(taken(&mut buffer, 1_000), "cd");
        assert!(buffer.is_empty() && buffer.bytes() == 0);
    }

    #[test]
    fn others_leave_the_reserved_share_to_audit_lines() {
        let mut buffer = Buffer::new(BOUNDS);
        let fill =
            |buffer: &mut Buffer, kind| (0..).find(|_| buffer.push(kind, line("x")) != LossCount::NONE);
        assert_eq!(fill(&mut buffer, LineKind::Other), Some(15));
        assert_eq!(buffer.push(LineKind::Audit, line("y")), LossCount::NONE);
        assert_eq!(buffer.push(LineKind::Other, line("x")), LossCount { audit: 0, other: 1 });
        // Four more fit into their share. Then each replaces one of the newest others.
        for _ in 0..4 {
            assert_eq!(buffer.push(LineKind::Audit, line("y")), LossCount::NONE);
        }
        for _ in 0..15 {
            assert_eq!(buffer.push(LineKind::Audit, line("y")), LossCount { audit: 0, other: 1 });
        }
        assert_eq!(buffer.push(LineKind::Audit, line("y")), LossCount { audit: 1, other: 0 });
        assert_eq!(taken(&mut buffer, 10_000), "y".repeat(20));
    }

    #[test]
    fn a_line_that_is_too_long_is_lost_and_takes_nothing_with_it() {
        let mut buffer = Buffer::new(BOUNDS);
        buffer.push(LineKind::Other, line("x"));
        assert_eq!(buffer.push(LineKind::Other, line(&"z".repeat(201))), LossCount { audit: 0, other: 1 });
        assert_eq!(buffer.push(LineKind::Audit, line(&"z".repeat(201))), LossCount { audit: 1, other: 0 });
        assert_eq!(buffer.push(LineKind::Audit, line(&"z".repeat(200))), LossCount::NONE);
        assert_eq!(taken(&mut buffer, 10_000).len(), 201);
    }

    #[test]
    fn what_is_being_written_takes_room_until_it_is() {
        let mut buffer = Buffer::new(BOUNDS);
        for _ in 0..15 {
            buffer.push(LineKind::Other, line("x"));
        }
        let mut batch = Batch::default();
        buffer.fill(&mut batch, 10_000);
        assert!(buffer.is_empty() && buffer.bytes() > 0);
        assert_eq!(buffer.push(LineKind::Other, line("x")), LossCount { audit: 0, other: 1 });
        buffer.settle(&Batch::default());
        assert_eq!(buffer.push(LineKind::Other, line("x")), LossCount::NONE);
        assert_eq!(buffer.push(LineKind::Audit, line("y")), LossCount::NONE);
        assert_eq!(buffer.clear(), LossCount { audit: 1, other: 1 });
        assert!(buffer.is_empty() && buffer.bytes() == 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(bool, usize),
        Fill(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let push = (any::<bool>(), 4..250_usize).prop_map(|(audit, length)| Step::Push(audit, length));
        let fill = (0..600_usize).prop_map(Step::Fill);
        proptest::collection::vec(prop_oneof![4 => push, 1 => fill], 0..100)
    }

    proptest! {
        /// Within the bounds, in order, every line written or counted as lost, and no audit line lost while another waits.
        #[test]
        fn bounds_and_order_hold_whatever_comes(steps in steps()) {
            let mut buffer = Buffer::new(BOUNDS);
            let (mut pushed, mut lost, mut out) = (LossCount::NONE, LossCount::NONE, LossCount::NONE);
            let mut last = 0;
            let mut written = |text: &str| {
                for line in text.split_terminator('\n') {
                    out.count(if line.starts_with('a') { LineKind::Audit } else { LineKind::Other });
                    let number: usize = line[1..].trim_start_matches('0').parse().unwrap();
                    assert!(number > last, "{number} after {last}");
                    last = number;
                }
            };
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(audit, length) => {
                        let kind = if audit { LineKind::Audit } else { LineKind::Other };
                        let name = if audit { 'a' } else { 'o' };
                        let text = format!("{name}{:0length$}\n", number + 1);
                        pushed.count(kind);
                        let others = buffer.other.bytes;
                        let short = text.len() <= BOUNDS.line;
                        let loses = buffer.push(kind, line(&text));
                        lost += loses;
                        if loses.audit > 0 && short {
                            prop_assert!(buffer.bytes() - others + text.len() + OVERHEAD > BOUNDS.total);
                        }
                    }
                    Step::Fill(most) => written(&taken(&mut buffer, most)),
                }
                prop_assert!(buffer.bytes() <= BOUNDS.total);
            }
            written(&taken(&mut buffer, 10_000));
            out += lost;
            prop_assert_eq!(out, pushed);
        }
    }
}
