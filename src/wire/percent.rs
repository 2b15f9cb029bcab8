//! Decoding of application/x-www-form-urlencoded text, also where it comes in pieces.

/// Decodes byte by byte: `+` is a space, `%hh` is that byte, any other `%` is itself (WHATWG URL, section 5.1).
/// Holds at most the two characters of an escape that isn't complete yet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Decoder(Pending);

#[derive(Clone, Copy, Default)]
enum Pending {
    #[default]
    Nothing,
    Percent,
    Digit(u8),
}

impl Decoder {
    /// Takes one encoded byte and gives none to three decoded ones to `out`.
    pub(crate) fn feed(&mut self, byte: u8, mut out: impl FnMut(u8)) {
        match std::mem::take(&mut self.0) {
            Pending::Nothing => {}
            Pending::Percent if byte.is_ascii_hexdigit() => {
                self.0 = Pending::Digit(byte);
                return;
            }
            Pending::Percent => out(b'%'),
            Pending::Digit(first) => {
                if let (Some(high), Some(low)) = (hex(first), hex(byte)) {
                    return out(high << 4 | low);
                }
                out(b'%');
                out(first);
            }
        }
        match byte {
            b'%' => self.0 = Pending::Percent,
            b'+' => out(b' '),
            _ => out(byte),
        }
    }

    /// The text is over: an escape that was begun is itself.
    pub(crate) fn finish(self, mut out: impl FnMut(u8)) {
        match self.0 {
            Pending::Nothing => {}
            Pending::Percent => out(b'%'),
            Pending::Digit(first) => {
                out(b'%');
                out(first);
            }
        }
    }
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
    let mut decoder = Decoder::default();
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

    proptest! {
        #[test]
        fn decodes_as_the_reference_does(text in "[%+0-9a-gA-G&=xé]{0,24}") {
            let spaced: Vec<u8> = text.bytes().map(|b| if b == b'+' { b' ' } else { b }).collect();
            prop_assert_eq!(decoded(text.as_bytes()), percent_decode(&spaced).collect::<Vec<u8>>());
        }
    }
}
