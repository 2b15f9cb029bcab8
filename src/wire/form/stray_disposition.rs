//! Watches for a Content-Disposition outside of the header of a part.

use super::error::FormError;
use super::word_matcher::WordMatcher;

/// The watch over text outside of parts and over the content of parts with an empty header. No field may be there.
///
/// Django takes text before the first and after the last delimiter for parts. Werkzeug and Rack don't stop at an empty header:
/// they take the content up to its first blank line for the header.
pub(crate) struct StrayDisposition(WordMatcher);

impl Default for StrayDisposition {
    fn default() -> StrayDisposition {
        StrayDisposition(WordMatcher::new(b"content-disposition"))
    }
}

impl StrayDisposition {
    /// Reads the next bytes, split in any way.
    ///
    /// # Errors
    /// The name of the header occurs.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), FormError> {
        match bytes.iter().any(|byte| self.0.read(*byte)) {
            true => Err(FormError::Malformed("Content-Disposition outside of the header of a part")),
            false => Ok(()),
        }
    }
}
