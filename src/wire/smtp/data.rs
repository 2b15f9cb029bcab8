//! The content of a message as DATA sends it (RFC 5321 section 4.5.2), strictly: only CR LF . CR LF ends it. A lone CR or LF
//! or a NUL is a fault. So is a line that begins with one dot and a blank, which no client sends that stuffs its dots. A more
//! lenient reader could see two messages in what is one.
//!
//! The content is passed on as it came, with its stuffed dots, but without its last CR LF. That one belongs to the end of the
//! message, which the sender to the backend writes anew. A message that was cut off can therefore not look complete.

use memchr::memchr3;

/// A reader of content up to its end.
#[derive(Clone, Copy, Debug)]
pub struct DataReader {
    pending: PartialEnd,
    size: u64,
}

/// Bytes that were read and may belong to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartialEnd {
    Nothing,
    Cr,
    CrLf,
    CrLfDot,
    CrLfDotCr,
}

impl PartialEnd {
    const fn bytes(self) -> &'static [u8] {
        match self {
            PartialEnd::Nothing => b"",
            PartialEnd::Cr => b"\r",
            PartialEnd::CrLf => b"\r\n",
            PartialEnd::CrLfDot => b"\r\n.",
            PartialEnd::CrLfDotCr => b"\r\n.\r",
        }
    }
}

/// The next element in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataRead<'i> {
    /// Content.
    Content(&'i [u8]),
    /// All input is consumed.
    More,
    /// The end of the message. The rest of the input follows it.
    End,
    /// Bytes that a message must not contain. A reader that reads on still finds the end.
    Fault,
}

impl DataReader {
    /// A reader at the start of the content. What precedes it counts as a line without its CR LF, so that the first content
    /// begins with CR LF.
    pub const fn new() -> DataReader {
        DataReader { pending: PartialEnd::CrLf, size: 0 }
    }

    /// The size of the content so far in bytes, without stuffed dots, as SIZE counts it (RFC 1870).
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns true if only the LF of the end is missing, which a client may not send.
    pub fn is_within_end(&self) -> bool {
        self.pending == PartialEnd::CrLfDotCr
    }

    /// Consumes input up to the end of the next element. To be called until there is no more.
    pub fn read<'i>(&mut self, input: &mut &'i [u8]) -> DataRead<'i> {
        while self.pending != PartialEnd::Nothing {
            let Some(byte) = input.first() else { return DataRead::More };
            let before = self.pending;
            self.pending = match (before, byte) {
                (PartialEnd::Cr, b'\n') => PartialEnd::CrLf,
                (PartialEnd::CrLf, b'.') => PartialEnd::CrLfDot,
                (PartialEnd::CrLfDot, b'\r') => PartialEnd::CrLfDotCr,
                (PartialEnd::CrLfDotCr, b'\n') => {
                    *input = &input[1..];
                    // A second message would begin in the same state.
                    self.pending = PartialEnd::CrLf;
                    return DataRead::End;
                }
                (PartialEnd::Cr | PartialEnd::CrLfDotCr, _) | (PartialEnd::CrLfDot, ..=b' ') => {
                    self.pending = PartialEnd::Nothing;
                    return DataRead::Fault;
                }
                (PartialEnd::Nothing | PartialEnd::CrLf | PartialEnd::CrLfDot, _) => {
                    self.pending = PartialEnd::Nothing;
                    return self.content(before.bytes(), before == PartialEnd::CrLfDot);
                }
            };
            *input = &input[1..];
        }
        self.read_on(input)
    }

    /// Consumes the end if it is next, as [`DataRead::End`] would, and returns true. Otherwise consumes nothing.
    pub fn take_end(&mut self, input: &mut &[u8]) -> bool {
        match input.split_first() {
            Some((b'\n', rest)) if self.pending == PartialEnd::CrLfDotCr => {
                *input = rest;
                self.pending = PartialEnd::CrLf;
                true
            }
            _ => false,
        }
    }

    /// Reads from the middle of a line on.
    fn read_on<'i>(&mut self, input: &mut &'i [u8]) -> DataRead<'i> {
        let bytes = *input;
        let (mut at, mut dots) = (0, 0);
        loop {
            let Some(found) = memchr3(b'\r', b'\n', 0, &bytes[at..]) else {
                *input = &[];
                return self.piece(bytes, dots);
            };
            at += found;
            let pending = match &bytes[at..] {
                [b'\r', b'\n', b'.', b'\r', b'\n', ..] | [b'\r', b'\n', b'.', b'\r'] => PartialEnd::CrLfDotCr,
                [b'\r', b'\n', b'.'] => PartialEnd::CrLfDot,
                [b'\r', b'\n'] => PartialEnd::CrLf,
                [b'\r'] => PartialEnd::Cr,
                [b'\r', b'\n', b'.', b'\r', ..] => {
                    // The fault is behind the second CR.
                    (at, dots) = (at + 3, dots + 1);
                    continue;
                }
                // Decided by the byte behind it.
                [b'\r', b'\n', b'.', ..=b' ', ..] => PartialEnd::CrLfDot,
                [b'\r', b'\n', b'.', ..] => {
                    (at, dots) = (at + 3, dots + 1);
                    continue;
                }
                [b'\r', b'\n', ..] => {
                    at += 2;
                    continue;
                }
                _ if at > 0 => {
                    *input = &bytes[at..];
                    return self.piece(&bytes[..at], dots);
                }
                _ => {
                    *input = &bytes[1..];
                    return DataRead::Fault;
                }
            };
            self.pending = pending;
            *input = &bytes[at + pending.bytes().len()..];
            return if at > 0 { self.piece(&bytes[..at], dots) } else { self.read(input) };
        }
    }

    fn piece<'i>(&mut self, piece: &'i [u8], dots: u64) -> DataRead<'i> {
        if piece.is_empty() {
            return DataRead::More;
        }
        self.size += piece.len() as u64 - dots;
        DataRead::Content(piece)
    }

    fn content(&mut self, pending: &'static [u8], stuffed: bool) -> DataRead<'static> {
        self.size += pending.len() as u64 - u64::from(stuffed);
        DataRead::Content(pending)
    }
}

impl Default for DataReader {
    fn default() -> DataReader {
        DataReader::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads all pieces. Returns the content, the number of faults, the input behind the end, and the size.
    fn read(pieces: &[&[u8]]) -> (Vec<u8>, usize, Option<Vec<u8>>, u64) {
        let (mut reader, mut content, mut faults, mut left) = (DataReader::new(), Vec::new(), 0, None);
        for piece in pieces {
            let mut input = *piece;
            loop {
                if let Some(left) = &mut left {
                    let left: &mut Vec<u8> = left;
                    left.extend_from_slice(input);
                    break;
                }
                match reader.read(&mut input) {
                    DataRead::Content(bytes) => content.extend_from_slice(bytes),
                    DataRead::More => {
                        assert!(input.is_empty());
                        break;
                    }
                    DataRead::End => left = Some(Vec::new()),
                    DataRead::Fault => faults += 1,
                }
            }
        }
        (content, faults, left, reader.size())
    }

    fn whole(text: &str) -> (String, usize, Option<String>) {
        let (content, faults, left, _) = read(&[text.as_bytes()]);
        let string = |bytes| String::from_utf8(bytes).unwrap();
        (string(content), faults, left.map(string))
    }

    #[test]
    fn only_cr_lf_dot_cr_lf_ends_a_message() {
        let done = |content: &str, left: &str| (content.to_owned(), 0, Some(left.to_owned()));
        assert_eq!(whole(".\r\nQUIT\r\n"), done("", "QUIT\r\n"));
        assert_eq!(whole("a\r\n.\r\n"), done("\r\na", ""));
        assert_eq!(whole("a\r\n\r\n.\r\n"), done("\r\na\r\n", ""));
        assert_eq!(whole("..\r\n..a\r\n.\r\n"), done("\r\n..\r\n..a", ""));
        assert_eq!(whole(".a\r\n.\r\n.\r\n"), done("\r\n.a", ".\r\n"));
        let unfinished = ["a\r\n", "a\r\n.", "a\r\n.\r", "a.\r\n", "a\r\n..\r\n", "a\r\n.. \r\n", ""];
        for text in unfinished {
            let (_, faults, left) = whole(text);
            assert_eq!((faults, left), (0, None), "{text:?}");
        }
    }

    #[test]
    fn other_ends_that_smuggling_tools_try_are_faults() {
        let tried = [
            "a\n.\n",
            "a\n.\r\n",
            "a\r.\r",
            "a\r.\r\n",
            "a\r\n.\n",
            "a\r\n.\r.",
            "a\n\n.\r\n",
            "a\r\r\n.\r\n",
            "a\r\n.\r\r\n",
            "a\0\r\n.",
            "a\r\0\n.",
            "a\r\n\0.\r\n",
            "a\r\n.\0\r\n",
            "a\r\n.\r\0\n",
            "\n.\r\n",
            "\r.\r\n",
            ".\n",
            ".\r.",
        ];
        for text in tried {
            let (_, faults, left) = whole(text);
            assert!(faults > 0, "{text:?}");
            assert!(left.is_none() || text == "a\r\r\n.\r\n", "{text:?}");
            let (_, faults, left) = whole(&format!("{text}MAIL FROM:<x>\r\n.\r\nQUIT"));
            assert!(faults > 0 && left.is_some(), "{text:?}");
        }
    }

    #[test]
    fn the_end_is_taken_where_it_is_next_and_nothing_else() {
        for (text, ends, left) in [
            ("a\r\n.\r\nQUIT", true, "QUIT"),
            ("a\r\n.\r\n", true, ""),
            ("a\r\n.\r", false, ""),
            ("a\r\n.\n", false, "\n"),
            ("a\r\n", false, ""),
            ("a\nb", false, "\nb"),
        ] {
            let (mut reader, mut input) = (DataReader::new(), text.as_bytes());
            assert_eq!(reader.read(&mut input), DataRead::Content(b"\r\n"));
            assert_eq!(reader.read(&mut input), DataRead::Content(b"a"));
            assert_eq!((reader.take_end(&mut input), input), (ends, left.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn size_counts_neither_stuffing_nor_end() {
        // The CR LF before the content takes the place of the one at its end.
        for (text, size) in [("a\r\n.\r\n", 3), ("..\r\n.\r\n", 3), ("a\r\n..b\r\n.\r\n", 7), (".\r\n", 0)] {
            let bytes = text.as_bytes();
            assert_eq!(read(&[bytes]).3, size, "{text:?}");
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&single).3, size, "{text:?}");
        }
    }

    /// The reference: decides byte by byte.
    fn reference(bytes: &[u8]) -> (Vec<u8>, bool, Option<Vec<u8>>) {
        let all = [b"\r\n", bytes].concat();
        let end = all.windows(5).position(|w| w == b"\r\n.\r\n");
        let content = &all[..end.unwrap_or(all.len())];
        let fault = content.iter().enumerate().any(|(at, byte)| match byte {
            b'\r' => content.get(at + 1).is_some_and(|next| *next != b'\n'),
            b'\n' => content[at - 1] != b'\r',
            0 => true,
            b' ' => content[..at].ends_with(b"\r\n."),
            _ => false,
        });
        // A CR before the end has no LF of its own.
        let fault = fault || (end.is_some() && content.ends_with(b"\r"));
        (content.to_vec(), fault, end.map(|end| all[end + 5..].to_vec()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_split_reads_as_the_reference_does(
            bytes in proptest::collection::vec(prop::sample::select(b"\r\r\r\n\n\n...a \0".to_vec()), 0..40),
            clean in any::<bool>(),
            cuts in proptest::collection::vec(0..40_usize, 0..6),
        ) {
            let bytes = if clean { String::from_utf8(bytes).unwrap().replace(['\r', '\0'], "").replace('\n', "\r\n").into_bytes() } else { bytes };
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let split = read(&pieces);
            let (content, fault, left) = reference(&bytes);
            prop_assert_eq!(split.1 > 0, fault);
            prop_assert_eq!(&split.2, &left);
            if !fault {
                // Pending bytes may still belong to the end.
                prop_assert!(content.starts_with(&split.0));
                if left.is_some() {
                    prop_assert_eq!(split.0, content);
                }
            }
        }
    }
}
