//! Text of clients in a form that is safe for the log: the same form in all its lines, so that one search finds them.

/// The most bytes of a username in the log. No account or credential has a longer one.
pub const LONGEST_NAME: usize = 64;

/// The most bytes of any other text in the log.
pub const LONGEST_TEXT: usize = 512;

/// Shows text in at most about `most` bytes. Characters that a terminal or a reader of lines could take for something else are
/// escaped, and a text that was cut ends in `…`.
pub fn shown(text: &[u8], most: usize) -> String {
    // A character takes at most 4 bytes, so that the rest can't be shown.
    let begin = &text[..text.len().min(most.saturating_mul(4))];
    let mut out = String::new();
    for character in String::from_utf8_lossy(begin).chars() {
        let before = out.len();
        match character {
            '"' | '\'' | '\\' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
        if out.len() > most {
            out.truncate(before);
            out.push('…');
            return out;
        }
    }
    if begin.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_character_acts_on_the_log() {
        assert_eq!(shown("jürgen \"x\"@example.com".as_bytes(), 100), "jürgen \"x\"@example.com");
        assert_eq!(shown(b"a\r\nb\x1b[2J\0", 100), "a\\r\\nb\\u{1b}[2J\\0");
        assert_eq!(shown("a\u{202e}b\u{2028}".as_bytes(), 100), "a\\u{202e}b\\u{2028}");
        assert_eq!(shown(b"abcdef", 6), "abcdef");
        assert_eq!(shown(b"abcdefg", 6), "abcdef…");
        assert_eq!(shown(b"abcde\n", 6), "abcde…");
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded(text in proptest::collection::vec(any::<u8>(), 0..300), most in 0..64_usize) {
            let shown = shown(&text, most);
            prop_assert!(shown.len() <= most + '…'.len_utf8());
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
