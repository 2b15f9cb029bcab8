//! The start of a header line, withheld until it is known whether the line is removed.

/// The longest field name that is withheld, in bytes.
pub(super) const LONGEST_NAME: usize = 15;

/// The number of skippable bytes (see [`LineStart::skip`]) that are kept; any more of them are left out.
const SKIPPED: usize = 16;

/// The withheld bytes of a line: a stuffed dot, a field name of at most [`LONGEST_NAME`] bytes, and skippable bytes in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineStart {
    bytes: [u8; 1 + LONGEST_NAME + SKIPPED],
    len: u8,
    skipped: u8,
}

impl LineStart {
    pub(super) fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    /// Adds a byte that a backend may ignore inside of a name: NUL or a lone CR.
    pub(super) fn skip(&mut self, byte: u8) {
        if usize::from(self.skipped) < SKIPPED {
            self.skipped += 1;
            self.push(byte);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns true if the last byte, NULs aside, is a CR: for readers to whom a CR ends a line, a new line begins here.
    pub(super) fn ends_a_line(&self) -> bool {
        self.bytes[..usize::from(self.len)].iter().rev().find(|b| **b != 0) == Some(&b'\r')
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..usize::from(self.len)]);
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.skipped) = (0, 0);
    }
}
