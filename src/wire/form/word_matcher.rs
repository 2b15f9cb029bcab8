//! Finds a word in text that comes in pieces.

/// The search for a word, without regard to ASCII case.
pub(crate) struct WordMatcher {
    /// In lower case. Its first letter does not occur in it again, so that no search has to look back.
    text: &'static [u8],
    /// The number of its letters so far.
    matched: usize,
}

impl WordMatcher {
    pub(crate) fn new(text: &'static [u8]) -> WordMatcher {
        WordMatcher { text, matched: 0 }
    }

    /// Reads one byte. Returns true at the end of the word.
    pub(crate) fn read(&mut self, byte: u8) -> bool {
        let byte = byte.to_ascii_lowercase();
        let continues = self.text.get(self.matched) == Some(&byte);
        self.matched =
            if continues { self.matched + 1 } else { usize::from(self.text.first() == Some(&byte)) };
        self.matched == self.text.len()
    }
}
