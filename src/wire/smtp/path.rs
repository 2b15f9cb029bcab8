//! Reverse-paths and forward-paths (RFC 5321 section 4.1.2), as far as a relay needs them: where one ends, and that it is not
//! ambiguous. The backend judges the address itself.
//!
//! A path without angle brackets, or with blanks beside them, violates RFC 5321, but devices send it, and Postfix, Exim and
//! Exchange accept it. A backend gets it with angle brackets and without the blanks.

use super::{Reply, replies};

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
    /// The mailbox, maybe behind a source route, without angle brackets. Empty for the null path `<>`.
    pub mailbox: &'a [u8],
    /// True if it contains non-ASCII characters, which require SMTPUTF8 (RFC 6531).
    pub international: bool,
}

/// The reason why there is no well-formed path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpPathError {
    /// `FROM:` or `TO:` is missing.
    NoKeyword,
    /// A missing address.
    Missing,
    /// The null path, for a recipient.
    Null,
    /// A name before an address in angle brackets.
    Name,
    /// A `<` without its `>`.
    Unclosed,
    /// An angle bracket within the address.
    Bracket,
    /// A blank within angle brackets.
    Blank,
    /// A quoted string without its end.
    Quote,
    /// Text directly behind the `>`.
    TextBehind,
    /// Nothing before or behind the `@`.
    HalfEmpty,
    /// A control character.
    Control,
    /// Neither ASCII nor UTF-8.
    NotUtf8,
    /// Longer than 512 bytes.
    TooLong,
}

impl SmtpPathError {
    /// The reply to MAIL.
    pub const fn sender_reply(self) -> Reply {
        let text = match self {
            SmtpPathError::NoKeyword => "Syntax: MAIL FROM:<address> [parameters]",
            other => other.text(),
        };
        replies::invalid_sender(text)
    }

    /// The reply to RCPT.
    pub const fn recipient_reply(self) -> Reply {
        let text = match self {
            SmtpPathError::NoKeyword => "Syntax: RCPT TO:<address> [parameters]",
            other => other.text(),
        };
        replies::invalid_recipient(text)
    }

    const fn text(self) -> &'static str {
        match self {
            SmtpPathError::NoKeyword | SmtpPathError::Missing => "Invalid address: it is missing",
            SmtpPathError::Null => "Invalid address: a recipient must not be empty",
            SmtpPathError::Name => "Invalid address: only the address, without a name",
            SmtpPathError::Unclosed => "Invalid address: '<' without '>'",
            SmtpPathError::Bracket => "Invalid address: it contains an unquoted '<' or '>'",
            SmtpPathError::Blank => "Invalid address: it contains an unquoted blank",
            SmtpPathError::Quote => "Invalid address: a quotation mark or backslash without its end",
            SmtpPathError::TextBehind => "Invalid address: a blank is missing behind the '>'",
            SmtpPathError::HalfEmpty => "Invalid address: nothing before or behind its '@'",
            SmtpPathError::Control => "Invalid address: it contains a control character",
            SmtpPathError::NotUtf8 => "Invalid address: it is not valid UTF-8",
            SmtpPathError::TooLong => "Invalid address: it is longer than 512 bytes",
        }
    }
}

impl<'a> SmtpPath<'a> {
    /// Splits the path from the arguments. The rest is empty or begins with a blank or tab.
    ///
    /// # Errors
    /// There is no well-formed path.
    pub fn split(arguments: &'a [u8]) -> Result<(SmtpPath<'a>, &'a [u8]), SmtpPathError> {
        let (mailbox, rest) = match arguments.split_first() {
            Some((b'<', behind)) => bracketed(behind)?,
            _ => bare(arguments)?,
        };
        if mailbox.len() + 2 > LONGEST {
            return Err(SmtpPathError::TooLong);
        }
        if !well_formed(mailbox) {
            return Err(SmtpPathError::HalfEmpty);
        }
        let international = !mailbox.is_ascii();
        if international && std::str::from_utf8(mailbox).is_err() {
            return Err(SmtpPathError::NotUtf8);
        }
        Ok((SmtpPath { mailbox, international }, rest))
    }

    /// Appends the path with its angle brackets.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(self.mailbox);
        out.push(b'>');
    }
}

/// Splits the mailbox from what follows a `<`.
fn bracketed(behind: &[u8]) -> Result<(&[u8], &[u8]), SmtpPathError> {
    // The usual case: nothing is quoted, so that the first `>` ends the path.
    let usual = memchr::memchr(b'>', behind)
        .filter(|ends| behind[..*ends].iter().all(|byte| PLAIN[usize::from(*byte)]));
    let (mailbox, rest) = match usual {
        Some(ends) => (&behind[..ends], &behind[ends + 1..]),
        None => quoted(behind)?,
    };
    match rest.first() {
        None | Some(b' ' | b'\t') => Ok((mailbox, rest)),
        Some(_) => Err(SmtpPathError::TextBehind),
    }
}

/// Splits a mailbox that may contain quoted strings, and may have blanks on both sides, from what follows a `<`.
fn quoted(behind: &[u8]) -> Result<(&[u8], &[u8]), SmtpPathError> {
    let inner = skip_blanks(behind);
    let ends = special(inner)?.ok_or(SmtpPathError::Unclosed)?;
    let (mailbox, end) = inner.split_at(ends);
    match skip_blanks(end).split_first() {
        Some((b'>', rest)) => Ok((mailbox, rest)),
        Some((b'<', _)) if end[0] == b'<' => Err(SmtpPathError::Bracket),
        Some(_) => Err(SmtpPathError::Blank),
        None => Err(SmtpPathError::Unclosed),
    }
}

/// Splits a mailbox without angle brackets from the arguments.
fn bare(arguments: &[u8]) -> Result<(&[u8], &[u8]), SmtpPathError> {
    let (mailbox, rest) = arguments.split_at(special(arguments)?.unwrap_or(arguments.len()));
    match skip_blanks(rest).first() {
        Some(b'<') if !mailbox.is_empty() => Err(SmtpPathError::Name),
        Some(b'<' | b'>') => Err(SmtpPathError::Bracket),
        // No parameter begins with a bracket.
        _ if rest.windows(2).any(|pair| matches!(pair, b" <" | b"\t<")) => Err(SmtpPathError::Name),
        _ if mailbox.is_empty() => Err(SmtpPathError::Missing),
        _ => Ok((mailbox, rest)),
    }
}

/// The position of the first blank, tab or angle bracket that is neither quoted nor escaped.
fn special(text: &[u8]) -> Result<Option<usize>, SmtpPathError> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\t' if !quoted && !escaped => return Ok(Some(at)),
            0..=31 | 127 => return Err(SmtpPathError::Control),
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b' ' | b'<' | b'>' => return Ok(Some(at)),
            _ => {}
        }
    }
    if quoted || escaped { Err(SmtpPathError::Quote) } else { Ok(None) }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
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
    use super::SmtpPathError::*;
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_fast_way_finds_the_same_end(text in "[ab@<> \"\\\\\t\u{7f}ä]{0,12}") {
            let slow = quoted(text.as_bytes()).and_then(|(mailbox, rest)| match rest.first() {
                None | Some(b' ' | b'\t') => Ok((mailbox, rest)),
                Some(_) => Err(TextBehind),
            });
            proptest::prop_assert_eq!(bracketed(text.as_bytes()), slow);
        }

        #[test]
        fn a_path_that_is_written_is_read_as_it_was(text in "<?[ab@<> \"\\\\ä]{0,12}") {
            if let Ok((path, rest)) = SmtpPath::split(text.as_bytes()) {
                let mut written = Vec::new();
                path.write(&mut written);
                written.extend_from_slice(rest);
                proptest::prop_assert_eq!(SmtpPath::split(&written), Ok((path, rest)));
            }
        }
    }

    fn split(text: &str) -> Result<(&str, &str), SmtpPathError> {
        let (path, rest) = SmtpPath::split(text.as_bytes())?;
        Ok((std::str::from_utf8(path.mailbox).unwrap(), std::str::from_utf8(rest).unwrap()))
    }

    #[test]
    fn paths_end_where_they_end() {
        let good = [
            ("<>", "", ""),
            ("<> SIZE=1", "", " SIZE=1"),
            ("<joe@example.com>", "joe@example.com", ""),
            ("<joe@example.com> SIZE=1", "joe@example.com", " SIZE=1"),
            ("<\"a > b\\\"\"@example.com> X", "\"a > b\\\"\"@example.com", " X"),
            ("<a\\>b@example.com>", "a\\>b@example.com", ""),
            ("<postmaster>", "postmaster", ""),
            ("<joe@[IPv6:::1]>", "joe@[IPv6:::1]", ""),
            ("<@a,@b:joe@example.com>", "@a,@b:joe@example.com", ""),
            ("<jürgen@exämple.com>", "jürgen@exämple.com", ""),
        ];
        for (text, mailbox, rest) in good {
            assert_eq!(split(text), Ok((mailbox, rest)), "{text}");
        }
        assert!(split(&format!("<{}@example.com>", "x".repeat(490))).is_ok());
    }

    // Case D4: paths without angle brackets, and with blanks beside them
    #[test]
    fn devices_leave_brackets_out_and_put_blanks_in() {
        let good = [
            ("joe@example.com", "joe@example.com", ""),
            ("joe@example.com  SIZE=1", "joe@example.com", "  SIZE=1"),
            ("postmaster", "postmaster", ""),
            ("\"a > b\"@example.com X", "\"a > b\"@example.com", " X"),
            ("@a:joe@example.com", "@a:joe@example.com", ""),
            ("jürgen@exämple.com", "jürgen@exämple.com", ""),
            ("< joe@example.com >", "joe@example.com", ""),
            ("<  joe@example.com> SIZE=1", "joe@example.com", " SIZE=1"),
            ("<joe\\ @example.com\\  >", "joe\\ @example.com\\ ", ""),
            ("< >", "", ""),
            ("<joe@example.com>\t", "joe@example.com", "\t"),
            ("<\tjoe@example.com\t>\tSIZE=1", "joe@example.com", "\tSIZE=1"),
            ("joe@example.com\tSIZE=1 AUTH=<>", "joe@example.com", "\tSIZE=1 AUTH=<>"),
        ];
        for (text, mailbox, rest) in good {
            assert_eq!(split(text), Ok((mailbox, rest)), "{text}");
        }
    }

    // Case D4: each other error says what is wrong
    #[test]
    fn what_is_no_path_says_why() {
        let bad = [
            ("", Missing),
            (" joe@example.com", Missing),
            ("<joe@example.com", Unclosed),
            ("<joe@example.com ", Unclosed),
            ("<joe@example.com>X", TextBehind),
            ("<joe @example.com>", Blank),
            ("<joe@example.com\\>", Unclosed),
            ("<\"joe@example.com>", Quote),
            ("\"joe@example.com", Quote),
            ("<@example.com>", HalfEmpty),
            ("<joe@>", HalfEmpty),
            ("joe@", HalfEmpty),
            ("<<joe@example.com>>", Bracket),
            ("joe<joe@example.com>", Name),
            ("Joe <joe@example.com>", Name),
            ("\"Joe Doe\" <joe@example.com>", Name),
            ("Joe Doe <joe@example.com>", Name),
            ("joe@example.com>", Bracket),
            ("<joe\t@example.com>", Blank),
            ("<\"joe\t\"@example.com>", Control),
            ("joe\\\t@example.com", Control),
            ("joe\u{7f}@example.com", Control),
        ];
        for (text, error) in bad {
            assert_eq!(split(text), Err(error), "{text}");
        }
        assert_eq!(SmtpPath::split(b"<\xff@example.com>"), Err(NotUtf8));
        assert_eq!(split(&format!("<{}@example.com>", "x".repeat(500))), Err(TooLong));
        assert_eq!(split(&format!("{}@example.com", "x".repeat(500))), Err(TooLong));
    }

    #[test]
    fn each_error_has_its_text() {
        let invalid = [
            (Missing, "it is missing"),
            (Null, "a recipient must not be empty"),
            (Name, "only the address, without a name"),
            (Unclosed, "'<' without '>'"),
            (Bracket, "it contains an unquoted '<' or '>'"),
            (Blank, "it contains an unquoted blank"),
            (Quote, "a quotation mark or backslash without its end"),
            (TextBehind, "a blank is missing behind the '>'"),
            (HalfEmpty, "nothing before or behind its '@'"),
            (Control, "it contains a control character"),
            (NotUtf8, "it is not valid UTF-8"),
            (TooLong, "it is longer than 512 bytes"),
        ];
        for (error, text) in invalid {
            assert_eq!(error.sender_reply().to_string(), format!("501 5.1.7 Invalid address: {text}"));
            assert_eq!(error.recipient_reply().to_string(), format!("501 5.1.3 Invalid address: {text}"));
        }
        let syntax = |text: &str| format!("Syntax: {text}:<address> [parameters]");
        assert_eq!(NoKeyword.sender_reply().to_string(), format!("501 5.1.7 {}", syntax("MAIL FROM")));
        assert_eq!(NoKeyword.recipient_reply().to_string(), format!("501 5.1.3 {}", syntax("RCPT TO")));
    }

    #[test]
    fn international_paths() {
        assert!(SmtpPath::split("<ä@b>".as_bytes()).unwrap().0.international);
        assert!(!SmtpPath::split(b"<a@b>").unwrap().0.international);
    }
}
