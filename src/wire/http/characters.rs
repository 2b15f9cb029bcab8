//! The characters that the parts of a header may have.

/// A set of ASCII characters.
pub(super) struct CharacterSet([bool; 256]);

/// The characters of a token, such as a method or the name of a field (RFC 9110 section 5.6.2).
pub(super) static TOKEN: CharacterSet = CharacterSet::alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// The characters of a host with a port (RFC 3986 section 3.2).
pub(super) static HOST: CharacterSet = CharacterSet::alphanumeric_and(b".-_:[]~%!$&'()*+;=");

impl CharacterSet {
    /// All letters and digits, and `marks`.
    const fn alphanumeric_and(marks: &[u8]) -> CharacterSet {
        let mut set = [false; 256];
        let mut byte: u8 = 0;
        while byte < 128 {
            set[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        while at < marks.len() {
            set[marks[at] as usize] = true;
            at += 1;
        }
        CharacterSet(set)
    }

    /// Returns true for a character of the set.
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    /// Returns true if `text` has only characters of the set.
    pub(super) fn has_all(&self, text: &[u8]) -> bool {
        text.iter().all(|byte| self.contains(*byte))
    }
}

/// Returns true for a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && TOKEN.has_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_their_characters_and_no_others() {
        for byte in 0..=255_u8 {
            let is = |marks: &[u8]| byte.is_ascii_alphanumeric() || marks.contains(&byte);
            assert_eq!(TOKEN.contains(byte), is(b"!#$%&'*+-.^_`|~"), "{byte}");
            assert_eq!(HOST.contains(byte), is(b".-_:[]~%!$&'()*+;="), "{byte}");
        }
        assert!(is_token(b"x-y") && !is_token(b"") && !is_token(b"x y"));
    }
}
