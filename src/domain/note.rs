//! Notes: what an account holder writes beside a credential, to know later what it is for.

use std::fmt;

use thiserror::Error;

/// The most characters of a note.
pub const LONGEST_NOTE: usize = 200;

/// A note of 1 to 200 characters, on one line, without spaces around it.
#[derive(Clone, PartialEq, Eq)]
pub struct Note(Box<str>);

impl Note {
    /// Parses a note. Spaces around it are dropped; `None` if nothing is left.
    ///
    /// # Errors
    /// The rule that is not met; the text is for the caller.
    pub fn parse(text: &str) -> Result<Option<Note>, NoteError> {
        let text = text.trim_matches(' ');
        if text.chars().any(breaks_line) {
            Err(NoteError::Control)
        } else if text.chars().count() > LONGEST_NOTE {
            Err(NoteError::Length)
        } else {
            Ok((!text.is_empty()).then(|| Note(text.into())))
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns true for a control character, and for the separators of lines and paragraphs.
fn breaks_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason for which a note is invalid; the text is for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// A note of more than 200 characters.
    #[error("note must be at most 200 characters long")]
    Length,
    /// A note with a control character or a line break.
    #[error("note must be one line without control characters")]
    Control,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules() {
        let longest = "ä".repeat(LONGEST_NOTE);
        for (text, kept) in
            [("CI of the shop", "CI of the shop"), ("  <b>x</b> ", "<b>x</b>"), (&longest, &longest)]
        {
            assert_eq!(Note::parse(text).unwrap().unwrap().as_str(), kept);
        }
        for nothing in ["", "   "] {
            assert_eq!(Note::parse(nothing), Ok(None));
        }
        assert_eq!(Note::parse(&format!("{longest}x")), Err(NoteError::Length));
        for text in ["a\nb", "a\r\nb", "\tx", "x\0", "x\u{7f}", "x\u{85}", "a\u{2028}b", "a\u{2029}b", "x\n"]
        {
            assert_eq!(Note::parse(text), Err(NoteError::Control), "{text:?}");
        }
    }
}
