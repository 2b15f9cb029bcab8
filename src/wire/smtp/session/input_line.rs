//! Command lines: strict about their ends, bounded in their length.

use crate::config::BareNewline;
use crate::wire::smtp::{Reply, command, replies};

/// The start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputLine<'i> {
    /// A line without its CR LF, and the input behind it.
    Whole(&'i [u8], &'i [u8]),
    /// A line that is too long, and the input behind it.
    TooLong(LineVerb, &'i [u8]),
    /// A line that ends in a lone LF where that is refused, or contains a control character, and the input behind it.
    Malformed(LineVerb, &'i [u8]),
    /// An incomplete line.
    Partial,
    /// An incomplete line that is already too long. The input can be discarded.
    Overflow(LineVerb),
}

impl InputLine<'_> {
    /// The verb of a line that is invalid.
    pub(super) fn verb(&self) -> Option<LineVerb> {
        match self {
            InputLine::TooLong(verb, _) | InputLine::Malformed(verb, _) | InputLine::Overflow(verb) => {
                Some(*verb)
            }
            InputLine::Whole(..) | InputLine::Partial => None,
        }
    }

    /// The reply to an invalid line. `in_auth` is true within an AUTH exchange.
    pub(super) fn reply(&self, in_auth: bool) -> Reply {
        match self {
            InputLine::Malformed(..) => replies::MALFORMED_LINE,
            InputLine::TooLong(LineVerb::Auth, _) => replies::AUTH_TOO_LONG,
            InputLine::TooLong(LineVerb::Bdat | LineVerb::Rcpt | LineVerb::Other, _)
            | InputLine::Overflow(_)
            | InputLine::Partial
            | InputLine::Whole(..) => {
                if in_auth {
                    replies::AUTH_TOO_LONG
                } else {
                    replies::LINE_TOO_LONG
                }
            }
        }
    }
}

/// The verb of an invalid line, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineVerb {
    /// AUTH.
    Auth,
    /// BDAT: content of unknown length follows.
    Bdat,
    /// RCPT: a recipient that is refused.
    Rcpt,
    /// Any other one.
    Other,
}

impl LineVerb {
    fn of(line: &[u8]) -> LineVerb {
        let is = |name: &[u8]| line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(name));
        if command::is_bdat(line) {
            LineVerb::Bdat
        } else if is(b"AUTH") {
            LineVerb::Auth
        } else if is(b"RCPT") {
            LineVerb::Rcpt
        } else {
            LineVerb::Other
        }
    }
}

/// Reads the first line of `input`. `overflowed` is the verb of a line whose start was discarded. `longest` is the limit in
/// bytes for a line, CR LF included. `bare_newline` decides on a line that ends in a lone LF.
pub(super) fn first<'i>(
    input: &'i [u8],
    overflowed: Option<LineVerb>,
    longest: impl Fn(&[u8]) -> usize,
    bare_newline: BareNewline,
) -> InputLine<'i> {
    let verb = || overflowed.unwrap_or_else(|| LineVerb::of(input));
    let Some(end) = memchr::memchr(b'\n', input) else {
        let over = overflowed.is_some() || input.len() >= longest(input);
        return if over { InputLine::Overflow(verb()) } else { InputLine::Partial };
    };
    let (line, rest) = (&input[..end], &input[end + 1..]);
    if overflowed.is_some() || end + 1 > longest(line) {
        return InputLine::TooLong(verb(), rest);
    }
    let line = match line.split_last() {
        Some((b'\r', line)) => line,
        _ if bare_newline == BareNewline::Normalize => line,
        _ => return InputLine::Malformed(verb(), rest),
    };
    // Without an early exit, so that the compiler can vectorize the search.
    match line.iter().fold(false, |any, byte| any | byte.is_ascii_control()) {
        false => InputLine::Whole(line, rest),
        true if line.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
            && command::may_have_tabs(line) =>
        {
            InputLine::Whole(line, rest)
        }
        true => InputLine::Malformed(verb(), rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let ten = |_: &[u8]| 10;
        let (other, bdat) = (LineVerb::Other, LineVerb::Bdat);
        let cases: [(&[u8], InputLine<'_>); 16] = [
            (b"EHLO a\tb\r\n", InputLine::Whole(b"EHLO a\tb", b"")),
            (b"EHLO\0a\t\r\n", InputLine::Malformed(other, b"")),
            (b"BDAT\t1\r\n", InputLine::Malformed(bdat, b"")),
            (b"NOOP\r\nQUIT\r\n", InputLine::Whole(b"NOOP", b"QUIT\r\n")),
            (b"\r\n", InputLine::Whole(b"", b"")),
            (b"12345678\r\n", InputLine::Whole(b"12345678", b"")),
            (b"123456789\r\nx", InputLine::TooLong(other, b"x")),
            (b"123456789\r", InputLine::Overflow(other)),
            (b"12345678\r", InputLine::Partial),
            (b"NOOP\nx", InputLine::Malformed(other, b"x")),
            (b"NO\rP\r\n", InputLine::Malformed(other, b"")),
            (b"NO\0P\r\n", InputLine::Malformed(other, b"")),
            (b"\n", InputLine::Malformed(other, b"")),
            (b"bdat 1\nx", InputLine::Malformed(bdat, b"x")),
            (b"BDAT 1234567\r\nx", InputLine::TooLong(bdat, b"x")),
            (b"AUTH PLAIN", InputLine::Overflow(LineVerb::Auth)),
        ];
        for (input, expected) in cases {
            assert_eq!(
                first(input, None, ten, BareNewline::Refuse),
                expected,
                "{:?}",
                input.escape_ascii().to_string()
            );
        }
        let strict = |input, overflowed| first(input, overflowed, ten, BareNewline::Refuse);
        assert_eq!(strict(b"a\r\nb", Some(bdat)), InputLine::TooLong(bdat, b"b"));
        assert_eq!(strict(b"a", Some(other)), InputLine::Overflow(other));
        let cases: [(&[u8], InputLine<'_>); 5] = [
            (b"NOOP\nx", InputLine::Whole(b"NOOP", b"x")),
            (b"NOOP\r\nx", InputLine::Whole(b"NOOP", b"x")),
            (b"\n", InputLine::Whole(b"", b"")),
            (b"NO\rP\n", InputLine::Malformed(other, b"")),
            (b"NOOP\r\r\n", InputLine::Malformed(other, b"")),
        ];
        for (input, expected) in cases {
            assert_eq!(first(input, None, ten, BareNewline::Normalize), expected, "{input:?}");
        }
    }
}
