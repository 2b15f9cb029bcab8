//! Watches for a Content-Disposition outside of the header of a part, and in the parts of a part.

use super::error::FormError;
use super::word_matcher::WordMatcher;

/// The watch over text outside of parts and over the content of parts with an empty header. No field may be there.
///
/// Django takes text before the first and after the last delimiter for parts. Werkzeug and Rack don't stop at an empty header:
/// they take the content up to its first blank line for the header.
pub(crate) struct StrayDisposition(WordMatcher);

impl Default for StrayDisposition {
    fn default() -> StrayDisposition {
        StrayDisposition(WordMatcher::new(DISPOSITION))
    }
}

const DISPOSITION: &[u8] = b"content-disposition";

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

/// The watch over the content of a part that is a multipart itself. Mojolicious reads the fields in it by their plain names.
pub(crate) struct NestedParts {
    disposition: WordMatcher,
    has_disposition: bool,
    keys: [WordMatcher; 2],
}

impl Default for NestedParts {
    fn default() -> NestedParts {
        NestedParts {
            disposition: WordMatcher::new(DISPOSITION),
            has_disposition: false,
            keys: [WordMatcher::new(b"api_user"), WordMatcher::new(b"api_key")],
        }
    }
}

impl NestedParts {
    /// Reads the next bytes, split in any way.
    ///
    /// # Errors
    /// A field for a credential could be there.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), FormError> {
        for byte in bytes {
            self.has_disposition |= self.disposition.read(*byte);
            // Each matcher reads each byte.
            let mut is_key = false;
            for key in &mut self.keys {
                is_key |= key.read(*byte);
            }
            if is_key && self.has_disposition {
                return Err(FormError::Malformed("api_user or api_key in the parts of a part"));
            }
        }
        Ok(())
    }
}
