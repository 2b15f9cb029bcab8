//! Lines out of bytes: strict about their ends, bounded in their length.

/// What the input begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'i> {
    /// A line without its CR LF; and what is behind it.
    Whole(&'i [u8], &'i [u8]),
    /// A line over its limit; and what is behind it.
    TooLong(&'i [u8]),
    /// A line that an LF alone ends, or with a control character in it; and what is behind it.
    Malformed(&'i [u8]),
    /// No line yet.
    Partial,
    /// No line yet, and none any more: it's over its limit already. The input can go.
    Overflow,
}

/// Looks at the first line. `overflowed` is whether the beginning of it is gone.
pub(super) fn first<'i>(input: &'i [u8], overflowed: bool, longest: impl Fn(&[u8]) -> usize) -> Line<'i> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return if overflowed || input.len() >= longest(input) { Line::Overflow } else { Line::Partial };
    };
    let (line, rest) = (&input[..end], &input[end + 1..]);
    if overflowed || end + 1 > longest(line) {
        return Line::TooLong(rest);
    }
    match line.split_last() {
        Some((b'\r', line)) if !line.iter().any(u8::is_ascii_control) => Line::Whole(line, rest),
        _ => Line::Malformed(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let ten = |_: &[u8]| 10;
        let cases: [(&[u8], Line<'_>); 10] = [
            (b"NOOP\r\nQUIT\r\n", Line::Whole(b"NOOP", b"QUIT\r\n")),
            (b"\r\n", Line::Whole(b"", b"")),
            (b"12345678\r\n", Line::Whole(b"12345678", b"")),
            (b"123456789\r\nx", Line::TooLong(b"x")),
            (b"123456789\r", Line::Overflow),
            (b"12345678\r", Line::Partial),
            (b"NOOP\nx", Line::Malformed(b"x")),
            (b"NO\rP\r\n", Line::Malformed(b"")),
            (b"NO\0P\r\n", Line::Malformed(b"")),
            (b"\n", Line::Malformed(b"")),
        ];
        for (input, expected) in cases {
            assert_eq!(first(input, false, ten), expected, "{:?}", input.escape_ascii().to_string());
        }
        assert_eq!(first(b"a\r\nb", true, ten), Line::TooLong(b"b"));
        assert_eq!(first(b"a", true, ten), Line::Overflow);
    }
}
