//! Finds the delimiter of a multipart body in content that comes in pieces.

use memchr::memmem::Finder;

/// Two dashes and 70 characters of boundary.
const LONGEST: usize = 72;
const CRLF: &[u8] = b"\r\n";

/// A search for `--boundary` at any position, as fast as `memmem`, because content may be large.
pub(crate) struct Delimiter {
    finder: Finder<'static>,
    /// The last bytes of earlier pieces: at most one byte less than a delimiter and the CR LF before it.
    tail: [u8; LONGEST + 1],
    tail_len: usize,
    /// True if nothing came since the start of the line.
    starts_line: bool,
}

/// A `--boundary` that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoundDelimiter {
    /// The position in the piece of the byte behind it.
    pub(crate) end: usize,
    /// True if it follows CR LF.
    pub(crate) at_line_start: bool,
}

impl Delimiter {
    /// A search at the start of a body, which counts as the start of a line. The boundary has at most 70 bytes.
    pub(crate) fn new(boundary: &[u8]) -> Delimiter {
        debug_assert!(boundary.len() + 2 <= LONGEST);
        let finder = Finder::new(&[b"--", boundary].concat()).into_owned();
        let mut delimiter = Delimiter { finder, tail: [0; LONGEST + 1], tail_len: 0, starts_line: true };
        delimiter.start_line();
        delimiter
    }

    /// `--boundary`
    pub(crate) fn text(&self) -> &[u8] {
        self.finder.needle()
    }

    /// Returns true if `bytes` contain a whole delimiter.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.finder.find(bytes).is_some()
    }

    /// Starts new content at the start of a line.
    pub(crate) fn start_line(&mut self) {
        self.tail[..2].copy_from_slice(CRLF);
        self.tail_len = 2;
        self.starts_line = true;
    }

    /// Searches the next piece. After a match, new content has to be started before the next call.
    pub(crate) fn find(&mut self, piece: &[u8]) -> Option<FoundDelimiter> {
        let text_len = self.text().len();
        if self.starts_line {
            // No delimiter begins with a line break, so it is in the piece as a whole.
            if let Some(at) = self.finder.find(piece) {
                let at_line_start = at == 0 || piece[..at].ends_with(CRLF);
                return Some(FoundDelimiter { end: at + text_len, at_line_start });
            }
            self.keep_tail(piece);
            return None;
        }
        let mut joint = [0; 2 * LONGEST];
        let head = &piece[..piece.len().min(text_len - 1)];
        let joint_len = self.tail_len + head.len();
        joint[..self.tail_len].copy_from_slice(&self.tail[..self.tail_len]);
        joint[self.tail_len..joint_len].copy_from_slice(head);
        let joint = &joint[..joint_len];
        if let Some(at) = self.finder.find(joint) {
            // It ends in this piece: one that ended earlier was found earlier.
            let end = (at + text_len).saturating_sub(self.tail_len);
            return Some(FoundDelimiter { end, at_line_start: joint[..at].ends_with(CRLF) });
        }
        if let Some(at) = self.finder.find(piece) {
            let before = if at >= 2 { &piece[..at] } else { &joint[..self.tail_len + at] };
            return Some(FoundDelimiter { end: at + text_len, at_line_start: before.ends_with(CRLF) });
        }
        self.keep_tail(piece);
        None
    }

    fn keep_tail(&mut self, piece: &[u8]) {
        self.starts_line &= piece.is_empty();
        let room = self.text().len() + 1;
        let from_piece = piece.len().min(room);
        let from_tail = self.tail_len.min(room - from_piece);
        self.tail.copy_within(self.tail_len - from_tail..self.tail_len, 0);
        self.tail[from_tail..from_tail + from_piece].copy_from_slice(&piece[piece.len() - from_piece..]);
        self.tail_len = from_tail + from_piece;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The position behind the first delimiter in the whole text, and whether that is at the start of a line.
    fn find_in_pieces(boundary: &[u8], text: &[u8], cuts: &[usize]) -> Option<(usize, bool)> {
        let mut delimiter = Delimiter::new(boundary);
        let mut start = 0;
        for cut in cuts.iter().copied().chain([text.len()]) {
            if let Some(found) = delimiter.find(&text[start..cut]) {
                return Some((start + found.end, found.at_line_start));
            }
            start = cut;
        }
        None
    }

    proptest! {
        #[test]
        fn any_split_finds_the_same(
            boundary in "[-b]{1,4}",
            text in "[-b\r\n]{0,40}",
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let needle = format!("--{boundary}");
            let expected = memchr::memmem::find(text, needle.as_bytes()).map(|at| {
                (at + needle.len(), [CRLF, &text[..at]].concat().ends_with(CRLF))
            });
            prop_assert_eq!(find_in_pieces(boundary.as_bytes(), text, &cuts), expected);
        }
    }

    #[test]
    fn the_longest_boundary_byte_by_byte() {
        let boundary = [b'-'; 70];
        let text = [&b"x\r\n"[..], &[b'-'; 72], b"--"].concat();
        let cuts: Vec<usize> = (0..text.len()).collect();
        assert_eq!(find_in_pieces(&boundary, &text, &cuts), Some((75, true)));
    }
}
