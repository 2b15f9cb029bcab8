//! Reverse-paths and forward-paths (RFC 5321 section 4.1.2), as far as a relay needs them: where one ends, and that it is not
//! ambiguous. The backend judges the address itself.

/// The longest path in bytes, angle brackets included. RFC 5321 section 4.5.3.1.3 allows 256; longer ones are in use.
const LONGEST: usize = 512;

/// The bytes that have no special meaning anywhere in a path.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!' as usize;
    while byte < plain.len() {
        plain[byte] = !matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | 127);
        byte += 1;
    }
    plain
};

/// A path at the beginning of a command's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmtpPath<'a> {
    /// The path with its angle brackets.
    pub text: &'a [u8],
    /// True for the null path `<>`.
    pub empty: bool,
    /// True if it contains non-ASCII characters, which require SMTPUTF8 (RFC 6531).
    pub international: bool,
}

impl<'a> SmtpPath<'a> {
    /// Splits the path from the arguments. The rest is empty or begins with a blank. `None` without a well-formed path.
    pub fn split(arguments: &'a [u8]) -> Option<(SmtpPath<'a>, &'a [u8])> {
        let end = end(arguments)?;
        let (text, rest) = arguments.split_at(end);
        if !rest.is_empty() && rest[0] != b' ' {
            return None;
        }
        let international = !text.is_ascii();
        if international && std::str::from_utf8(text).is_err() {
            return None;
        }
        Some((SmtpPath { text, empty: text == b"<>", international }, rest))
    }
}

/// The end of the path: behind the `>` that is neither quoted nor escaped.
fn end(arguments: &[u8]) -> Option<usize> {
    if arguments.first() != Some(&b'<') {
        return None;
    }
    // The usual case: nothing is quoted, so that the first `>` ends the path.
    let ends = memchr::memchr(b'>', &arguments[..arguments.len().min(LONGEST)])?;
    if arguments[1..ends].iter().all(|byte| PLAIN[usize::from(*byte)]) {
        return well_formed(&arguments[1..ends]).then_some(ends + 1);
    }
    quoted_end(arguments)
}

/// The end of a path that may contain quoted strings.
fn quoted_end(arguments: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in arguments.iter().enumerate().skip(1).take(LONGEST - 1) {
        match byte {
            0..=31 | 127 => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'>' => return well_formed(&arguments[1..at]).then_some(at + 1),
            b' ' | b'<' => return None,
            _ => {}
        }
    }
    None
}

/// Returns true if the mailbox is empty or has text on both sides of its last `@`. A name without a domain is `postmaster`
/// (RFC 5321 section 4.5.1); the backend judges any other one.
fn well_formed(mailbox: &[u8]) -> bool {
    match memchr::memrchr(b'@', mailbox) {
        Some(at) => at > 0 && at + 1 < mailbox.len(),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_fast_way_finds_the_same_end(text in "<[ab@<> \"\\\\\t\u{7f}ä]{0,12}") {
            proptest::prop_assert_eq!(end(text.as_bytes()), quoted_end(text.as_bytes()));
        }
    }

    fn split(text: &str) -> Option<(&str, &str)> {
        let (path, rest) = SmtpPath::split(text.as_bytes())?;
        Some((std::str::from_utf8(path.text).unwrap(), std::str::from_utf8(rest).unwrap()))
    }

    #[test]
    fn paths_end_where_they_end() {
        let good = [
            ("<>", "<>", ""),
            ("<joe@example.com>", "<joe@example.com>", ""),
            ("<joe@example.com> SIZE=1", "<joe@example.com>", " SIZE=1"),
            ("<\"a > b\\\"\"@example.com> X", "<\"a > b\\\"\"@example.com>", " X"),
            ("<a\\>b@example.com>", "<a\\>b@example.com>", ""),
            ("<postmaster>", "<postmaster>", ""),
            ("<joe@[IPv6:::1]>", "<joe@[IPv6:::1]>", ""),
            ("<@a,@b:joe@example.com>", "<@a,@b:joe@example.com>", ""),
            ("<jürgen@exämple.com>", "<jürgen@exämple.com>", ""),
        ];
        for (text, path, rest) in good {
            assert_eq!(split(text), Some((path, rest)), "{text}");
        }
        let bad = [
            "",
            "joe@example.com",
            "<joe@example.com",
            "<joe@example.com>X",
            "<joe @example.com>",
            "<joe@example.com\\>",
            "<\"joe@example.com>",
            "<@example.com>",
            "<joe@>",
            "<<joe@example.com>>",
            "<joe\t@example.com>",
        ];
        for text in bad {
            assert_eq!(split(text), None, "{text}");
        }
        assert_eq!(SmtpPath::split(b"<\xff@example.com>"), None);
        assert!(split(&format!("<{}@example.com>", "x".repeat(490))).is_some());
        assert!(split(&format!("<{}@example.com>", "x".repeat(500))).is_none());
    }

    #[test]
    fn empty_and_international_paths() {
        assert!(SmtpPath::split(b"<>").unwrap().0.empty);
        assert!(!SmtpPath::split(b"<a@b>").unwrap().0.empty);
        assert!(SmtpPath::split("<ä@b>".as_bytes()).unwrap().0.international);
        assert!(!SmtpPath::split(b"<a@b>").unwrap().0.international);
    }
}
