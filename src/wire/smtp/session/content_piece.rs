//! A piece of a message on its way to the backend.

use std::borrow::Cow;

/// A piece of content: bytes that were added, filtered or normalized, then bytes that pass unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentPiece<'i> {
    /// The first bytes.
    pub head: Vec<u8>,
    /// The bytes behind them, borrowed from the input.
    pub rest: &'i [u8],
}

impl<'i> From<Cow<'i, [u8]>> for ContentPiece<'i> {
    fn from(bytes: Cow<'i, [u8]>) -> ContentPiece<'i> {
        match bytes {
            Cow::Borrowed(rest) => ContentPiece { head: Vec::new(), rest },
            Cow::Owned(head) => ContentPiece { head, rest: &[] },
        }
    }
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
