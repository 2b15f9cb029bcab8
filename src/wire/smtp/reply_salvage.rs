//! A lenient reader of the reply to a message, for a reply that is malformed or not complete.
//!
//! The code of that reply alone matters: a wrong guess loses the message or sends it twice. The result never depends on where the
//! network splits the bytes.

use super::Reply;
use super::reply_parser::LONGEST_LINE;

/// The length of a code and the byte after it.
const START: usize = 4;

/// A reader of one malformed reply.
///
/// Its last line is the first one that begins with a code and no hyphen. Lines without a code may precede it, but not begin the
/// reply. All codes have to be of the same class.
#[derive(Debug, Default)]
pub struct ReplySalvage {
    /// The first line so far, without its LF, cut at [`LONGEST_LINE`].
    first: Vec<u8>,
    /// The code of the first line, once that has ended.
    code: Option<[u8; 3]>,
    /// The first bytes of the current line.
    start: Vec<u8>,
    progress: SalvageProgress,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SalvageProgress {
    #[default]
    Incomplete,
    Complete,
    /// Whatever follows, it is not a reply.
    Hopeless,
}

impl ReplySalvage {
    /// Reads bytes of the reply. Returns true once nothing that follows matters.
    pub fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.progress != SalvageProgress::Incomplete {
                break;
            }
            match byte {
                b'\n' => self.end_line(),
                byte => self.push(*byte),
            }
        }
        self.progress != SalvageProgress::Incomplete
    }

    /// The reply, with the code and the text of its first line and with blanks for control characters. `None` if it is not
    /// clear what the backend said. After the last byte of a backend, the last line needs no line end, but a byte after its code:
    /// a hyphen may have followed.
    pub fn reply(&self) -> Option<Reply> {
        let last = line_code(&self.start).filter(|_| self.start.len() == START);
        let is_complete = match self.progress {
            SalvageProgress::Complete => true,
            SalvageProgress::Incomplete => last.is_some_and(|last| self.is_last(last)),
            SalvageProgress::Hopeless => false,
        };
        let code = self.code.or(last).filter(|_| is_complete)?;
        let line = &self.first[code.len()..];
        let line = line.strip_prefix(b"-").unwrap_or(line).trim_ascii();
        let text: Vec<u8> =
            line.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }).collect();
        let number = code.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        Some(Reply::received(number, [&text[..]]))
    }

    fn push(&mut self, byte: u8) {
        if self.code.is_none() && self.first.len() < LONGEST_LINE {
            self.first.push(byte);
        }
        if self.start.len() < START {
            self.start.push(byte);
            if self.code.is_none() && !may_begin_with_code(&self.start) {
                self.progress = SalvageProgress::Hopeless;
            }
        }
    }

    fn end_line(&mut self) {
        match line_code(&self.start) {
            Some(code) if self.is_last(code) => self.progress = SalvageProgress::Complete,
            Some(code) if !self.fits(code) => self.progress = SalvageProgress::Hopeless,
            None if self.code.is_none() => self.progress = SalvageProgress::Hopeless,
            Some(_) | None => {}
        }
        self.code = self.code.or_else(|| line_code(&self.start));
        self.start.clear();
    }

    /// Returns true if the current line, which has this code, is the last one of the reply.
    fn is_last(&self, code: [u8; 3]) -> bool {
        self.fits(code) && self.start.get(code.len()) != Some(&b'-')
    }

    fn fits(&self, code: [u8; 3]) -> bool {
        self.code.is_none_or(|first| first[0] == code[0])
    }
}

/// The code at the start of a line, from 200 to 599.
fn line_code(start: &[u8]) -> Option<[u8; 3]> {
    match *start {
        [a, b, c, ..] if may_begin_with_code(start) => Some([a, b, c]),
        _ => None,
    }
}

/// Returns true if a line that begins so has a code, or may still get one.
fn may_begin_with_code(start: &[u8]) -> bool {
    start.iter().enumerate().all(|(at, byte)| match at {
        0 => (b'2'..=b'5').contains(byte),
        1 | 2 => byte.is_ascii_digit(),
        _ => !byte.is_ascii_digit(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::smtp::reply_parser;

    /// The reply in `pieces`, and true if it was complete.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Option<String>, bool) {
        let mut salvage = ReplySalvage::default();
        let mut is_over = false;
        for piece in pieces {
            is_over = salvage.read(piece);
        }
        (salvage.reply().map(|reply| reply.to_string()), is_over)
    }

    // Case D14: a reply counts, however malformed its text is
    #[test]
    fn the_code_of_a_malformed_reply_is_salvaged() {
        for (text, expected) in [
            ("250 2.0.0 ok \r x\r\n", Some("250 2.0.0 ok   x")),
            ("250 2.0.0 ok\0\r\n", Some("250 2.0.0 ok ")),
            ("250 2.0.0 ok\n", Some("250 2.0.0 ok")),
            ("250 2.0.0 ok\r\r\n", Some("250 2.0.0 ok")),
            ("250\tok\r\n", Some("250 ok")),
            ("250ok\r\n", Some("250 ok")),
            ("250-a\r\n251 b\r\n", Some("250 a")),
            ("250-a\nb\n\n250 c\n", Some("250 a")),
            ("250 a\n554 of the next command\n", Some("250 a")),
            ("550 no\0\r\n", Some("550 no ")),
            ("250-a\r\n550 b\r\n", None),
            ("250-a\n550-b\n", None),
            ("2500 ok\r\n", None),
            ("25\n", None),
            ("hello\r\n", None),
            ("\r\n250 ok\r\n", None),
            ("199 x\0", None),
        ] {
            assert!(reply_parser::parse(text.as_bytes()).is_err() || text.starts_with("250 a\n"), "{text:?}");
            let expected = (expected.map(String::from), true);
            assert_eq!(read([text.as_bytes()]), expected, "{text:?}");
            assert_eq!(read(text.as_bytes().chunks(1)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_reply_is_awaited_to_its_last_line() {
        let mut salvage = ReplySalvage::default();
        assert!(!salvage.read(b"250-checked 1 of 2\n"));
        assert_eq!(salvage.reply(), None);
        assert!(!salvage.read(b"554 5.7.1 rejec"));
        assert_eq!(salvage.reply(), None);
        assert!(salvage.read(b"ted\n"));
        assert_eq!(salvage.reply(), None);
    }

    #[test]
    fn the_last_line_needs_no_end_if_nothing_follows() {
        for (text, expected) in [
            ("250 ok", Some("250 ok")),
            ("250 ", Some("250 ")),
            ("250\r", Some("250 ")),
            ("250-a\r\n250 b", Some("250 a")),
            ("554 5.7.1 no", Some("554 5.7.1 no")),
            ("250", None),
            ("25", None),
            ("", None),
            ("250-a", None),
            ("250-a\r\n", None),
            ("250-a\r\n250", None),
            ("250-a\r\n554 b", None),
        ] {
            let expected = (expected.map(String::from), false);
            assert_eq!(read([text.as_bytes()]), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(
            text in "((2[0-9]{2}|354|[0-9]{3}|x)([- ][ -~]{0,9}|[ -~]{0,9})?(\r\n|\n|\r|\0))*(250[ -]?)?",
            length in prop_oneof![0..9_usize, 2030..2060_usize],
            step in 1..9_usize,
        ) {
            let text = text.replace('x', &"x".repeat(length));
            prop_assert_eq!(read([text.as_bytes()]), read(text.as_bytes().chunks(step)));
        }

        #[test]
        fn a_valid_reply_is_read_as_its_parser_reads_it(text in "(250-[a-z]{0,5}\r\n){0,3}250( [a-z]{0,5})?\r\n") {
            let (parsed, _) = reply_parser::parse(text.as_bytes()).unwrap().unwrap();
            let mut salvage = ReplySalvage::default();
            prop_assert!(salvage.read(text.as_bytes()));
            prop_assert_eq!(salvage.reply().map(|reply| reply.code()), Some(parsed.code()));
        }

        #[test]
        fn no_bytes_panic_and_a_reply_holds_no_line_end_of_its_own(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for code in [&b""[..], b"250"] {
                let mut salvage = ReplySalvage::default();
                salvage.read(&[code, &bytes].concat());
                if let Some(reply) = salvage.reply() {
                    let mut written = Vec::new();
                    reply.write(&mut written);
                    let count = |end| written.iter().filter(|byte| **byte == end).count();
                    prop_assert_eq!((count(b'\r'), count(b'\n')), (1, 1));
                }
            }
        }
    }
}
