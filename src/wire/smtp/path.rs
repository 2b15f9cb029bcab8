//! Reverse and forward paths (RFC 5321 section 4.1.2), as far as a relay has to understand them: where one ends, and
//! that nothing in it could be read as anything else. What is in between is the backend's to judge.

/// The longest path, angle brackets included. RFC 5321, 4.5.3.1.3, allows 256; some that are longer are in use.
const LONGEST: usize = 512;

/// What stands for itself wherever it is, by byte.
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
    /// With its angle brackets.
    pub text: &'a [u8],
    /// Whether there is no address in it: `<>`.
    pub empty: bool,
    /// Whether it holds anything beyond ASCII, which needs SMTPUTF8 (RFC 6531).
    pub international: bool,
}

impl<'a> SmtpPath<'a> {
    /// Splits the path off; the rest begins with a blank, or is empty. `None` where there is no path, or a malformed one.
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

/// Where the path ends: behind the `>` that is neither quoted nor escaped.
fn end(arguments: &[u8]) -> Option<usize> {
    if arguments.first() != Some(&b'<') {
        return None;
    }
    // Nearly all: nothing is quoted, and so the first `>` ends it.
    let ends = memchr::memchr(b'>', &arguments[..arguments.len().min(LONGEST)])?;
    if arguments[1..ends].iter().all(|byte| PLAIN[usize::from(*byte)]) {
        return well_formed(&arguments[1..ends]).then_some(ends + 1);
    }
    quoted_end(arguments)
}

/// The same, whatever is in it.
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

/// Nothing at all, or something on both sides of the last `@`; a name without a domain is `postmaster` (RFC 5321, 4.5.1),
/// or the backend's affair.
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
        fn the_usual_way_is_right(text in "<[ab@<> \"\\\\\t\u{7f}ä]{0,12}") {
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
    fn what_is_told_of_them() {
        assert!(SmtpPath::split(b"<>").unwrap().0.empty);
        assert!(!SmtpPath::split(b"<a@b>").unwrap().0.empty);
        assert!(SmtpPath::split("<ä@b>".as_bytes()).unwrap().0.international);
        assert!(!SmtpPath::split(b"<a@b>").unwrap().0.international);
    }
}
