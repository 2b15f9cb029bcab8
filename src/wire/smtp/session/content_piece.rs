//! A piece of a message on its way.

use std::borrow::Cow;

/// What was made here, or looked through; and behind it what passes as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentPiece<'i> {
    /// Comes first.
    pub head: Vec<u8>,
    /// Comes then.
    pub rest: &'i [u8],
}

impl<'i> ContentPiece<'i> {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it as one.
    pub fn into_bytes(mut self) -> Cow<'i, [u8]> {
        if self.head.is_empty() {
            return Cow::Borrowed(self.rest);
        }
        self.head.extend_from_slice(self.rest);
        Cow::Owned(self.head)
    }
}
