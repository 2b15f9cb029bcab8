//! A piece of a message on its way to the backend.

use std::borrow::Cow;

/// A piece of content: bytes that were added or filtered, then bytes that pass unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentPiece<'i> {
    /// The first bytes.
    pub head: Vec<u8>,
    /// The bytes behind them, borrowed from the input.
    pub rest: &'i [u8],
}

impl<'i> ContentPiece<'i> {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }

    /// Returns true if it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes in one slice.
    pub fn into_bytes(mut self) -> Cow<'i, [u8]> {
        if self.head.is_empty() {
            return Cow::Borrowed(self.rest);
        }
        self.head.extend_from_slice(self.rest);
        Cow::Owned(self.head)
    }
}
