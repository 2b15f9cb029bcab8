//! Watches for a Content-Disposition outside of the header of a part.

use super::error::FormError;

/// The watch over text outside of parts and over the content of parts with an empty header. No field may be there.
///
/// Django takes text before the first and after the last delimiter for parts. Werkzeug and Rack don't stop at an empty header:
/// they take the content up to its first blank line for the header.
#[derive(Default)]
pub(crate) struct StrayDisposition {
    /// The number of bytes of the header's name so far.
    matched: usize,
}

impl StrayDisposition {
    /// Reads the next bytes, split in any way.
    ///
    /// # Errors
    /// The name of the header occurs.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), FormError> {
        const WORD: &[u8] = b"content-disposition";
        for byte in bytes.iter().map(u8::to_ascii_lowercase) {
            // Only the first byte can begin the word again.
            self.matched =
                if byte == WORD[self.matched] { self.matched + 1 } else { usize::from(byte == WORD[0]) };
            if self.matched == WORD.len() {
                return Err(FormError::Malformed("Content-Disposition outside of the header of a part"));
            }
        }
        Ok(())
    }
}
