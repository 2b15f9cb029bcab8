//! Percent-decoding of application/x-www-form-urlencoded text, which may come in pieces.

/// A decoder that is fed byte by byte: `+` is a space, `%hh` is that byte, any other `%` is itself (WHATWG URL section 5.1). It
/// holds at most the five characters of an incomplete escape.
#[derive(Clone, Copy, Default)]
pub(crate) struct PercentDecoder {
    pending: PartialEscape,
    /// True if `%uhhhh` is a character.
    has_wide: bool,
}

#[derive(Clone, Copy, Default)]
enum PartialEscape {
    #[default]
    Nothing,
    Percent,
    Digit(u8),
    /// `%u`, and the number of digits behind it.
    Wide([u8; 4], u8),
}

impl PercentDecoder {
    /// A decoder for the names of parameters, in which CGI.pm and ASP.NET also read `%uhhhh`. To other backends that is text,
    /// but no credential's name contains a `%`, so none is missed.
    pub(crate) fn of_names() -> PercentDecoder {
        PercentDecoder { has_wide: true, ..PercentDecoder::default() }
    }

    /// Returns true within an escape, in which a byte may not be itself.
    pub(crate) fn is_in_escape(&self) -> bool {
        !matches!(self.pending, PartialEscape::Nothing)
    }

    /// Decodes one byte; passes up to six decoded bytes to `out`.
    pub(crate) fn feed(&mut self, byte: u8, mut out: impl FnMut(u8)) {
        match std::mem::take(&mut self.pending) {
            PartialEscape::Nothing => {}
            PartialEscape::Percent if byte.is_ascii_hexdigit() => {
                self.pending = PartialEscape::Digit(byte);
                return;
            }
            PartialEscape::Percent if self.has_wide && byte == b'u' => {
                self.pending = PartialEscape::Wide([byte; 4], 0);
                return;
            }
            PartialEscape::Digit(first) if byte.is_ascii_hexdigit() => {
                return out(hex(first).unwrap_or_default() << 4 | hex(byte).unwrap_or_default());
            }
            PartialEscape::Wide(mut digits, count) if byte.is_ascii_hexdigit() => {
                digits[usize::from(count)] = byte;
                match count {
                    3 => wide(digits, out),
                    _ => self.pending = PartialEscape::Wide(digits, count + 1),
                }
                return;
            }
            begun => begun.give_up(&mut out),
        }
        match byte {
            b'%' => self.pending = PartialEscape::Percent,
            b'+' => out(b' '),
            _ => out(byte),
        }
    }

    /// Ends the text. An incomplete escape is itself.
    pub(crate) fn finish(self, mut out: impl FnMut(u8)) {
        self.pending.give_up(&mut out);
    }
}

impl PartialEscape {
    /// Passes on the bytes of an escape that is not one.
    fn give_up(self, out: &mut impl FnMut(u8)) {
        match self {
            PartialEscape::Nothing => {}
            PartialEscape::Percent => out(b'%'),
            PartialEscape::Digit(first) => [b'%', first].into_iter().for_each(out),
            PartialEscape::Wide(digits, count) => {
                [b'%', b'u'].iter().chain(&digits[..usize::from(count)]).for_each(|byte| out(*byte));
            }
        }
    }
}

/// Passes on the character of four hexadecimal digits, in UTF-8. An invalid one becomes the replacement character.
fn wide(digits: [u8; 4], out: impl FnMut(u8)) {
    let code = digits.iter().fold(0, |code, digit| code << 4 | u32::from(hex(*digit).unwrap_or_default()));
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    character.encode_utf8(&mut [0; 3]).bytes().for_each(out);
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes a whole text to `out`.
pub(crate) fn decode(encoded: &[u8], mut out: impl FnMut(u8)) {
    let mut decoder = PercentDecoder::default();
    for &byte in encoded {
        decoder.feed(byte, &mut out);
    }
    decoder.finish(out);
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode;
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decode(text, |b| out.push(b));
        out
    }

    #[test]
    fn broken_escapes_are_themselves() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"a+b%20c%2B", b"a b c+"),
            (b"%4a%4A", b"JJ"),
            (b"%", b"%"),
            (b"%4", b"%4"),
            (b"%zz%4z", b"%zz%4z"),
            (b"%%41", b"%A"),
            (b"%4%41", b"%4A"),
            (b"%+%4+", b"% %4 "),
        ];
        for (text, expected) in cases {
            assert_eq!(decoded(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn wide_escapes_of_names() {
        let cases: [(&[u8], &str); 9] = [
            (b"%u0061pi%u005Fuser", "api_user"),
            (b"%u20AC%uFEFF", "\u{20ac}\u{feff}"),
            (b"%ud800", "\u{fffd}"),
            (b"%u006", "%u006"),
            (b"%u006%61", "%u006a"),
            (b"%u%u0061", "%ua"),
            (b"%U0061", "%U0061"),
            (b"%%u0061+", "%a "),
            (b"%u00", "%u00"),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            let mut decoder = PercentDecoder::of_names();
            text.iter().for_each(|byte| decoder.feed(*byte, |b| out.push(b)));
            decoder.finish(|b| out.push(b));
            assert_eq!(out, expected.as_bytes(), "{}", text.escape_ascii());
        }
        assert_eq!(decoded(b"%u0061"), b"%u0061");
    }

    proptest! {
        #[test]
        fn decodes_as_the_reference_does(text in "[%+0-9a-gA-G&=xé]{0,24}") {
            let spaced: Vec<u8> = text.bytes().map(|b| if b == b'+' { b' ' } else { b }).collect();
            prop_assert_eq!(decoded(text.as_bytes()), percent_decode(&spaced).collect::<Vec<u8>>());
        }
    }
}
