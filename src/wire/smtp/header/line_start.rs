//! What is held back of a header until it is known whose line it is.

use super::USER;

/// How many bytes are kept that a backend may skip within a name; of more than that, the rest is left out.
const SKIPPED: usize = 16;

/// The beginning of a line that isn't passed on yet: a dot, a name, and what may be skipped in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineStart {
    bytes: [u8; 1 + USER.len() + SKIPPED],
    len: u8,
    skipped: u8,
}

impl LineStart {
    pub(super) fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    /// Takes a byte that a backend may skip.
    pub(super) fn skip(&mut self, byte: u8) {
        if usize::from(self.skipped) < SKIPPED {
            self.skipped += 1;
            self.push(byte);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether, to whom a CR ends a line, a new one begins behind it.
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
