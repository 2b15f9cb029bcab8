//! The content of a message as DATA sends it, from a client that does not end its lines in CR LF. As in Postfix
//! (`smtpd_forbid_bare_newline = normalize` with `cleanup_replace_stray_cr_lf`), only CR LF . CR LF ends the message, whatever
//! ends its lines.
//!
//! - A lone LF becomes CR LF. So do CRs before a LF, which is what text files become if their line ends are translated twice.
//! - Other CRs in a row become one blank: some servers take them for line ends, so they can't pass, and a client that ends its
//!   lines in CR alone can't end its message either. At the start of a line they are dropped, since some servers also skip blanks
//!   before a dot, and since there are clients that end their lines in LF CR.
//! - A dot that begins a line is stuffed anew if it could be taken for an end, or if no client that stuffs its dots would send
//!   it. `..` is a stuffed dot, whatever ended the line before. A single dot behind CR LF that belongs to a longer line passes as
//!   it is, as it does where nothing is normalized.
//! - A NUL is a fault.
//!
//! The output has only CR LF, and no line of it is a single dot. Like that of [`super::data`], it begins with CR LF, and is without
//! its last CR LF.

use memchr::memchr3;

use super::last_line::LastLine;

/// A reader that normalizes content up to its end.
#[derive(Clone, Copy, Debug)]
pub struct NewlineNormalizer {
    at: ContentPosition,
    last_line: LastLine,
    size: u64,
}

/// The position in the content. Bytes that were read and don't belong to the output yet follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentPosition {
    /// Within a line.
    Line,
    /// Behind CRs in a line.
    Cr,
    /// At the start of a line. `crlf` is true if CR LF ended the line before, at least.
    Start { crlf: bool },
    /// Behind CRs at the start of a line.
    StartCr,
    /// Behind a dot at the start of a line. `crlf` is true if CR LF is directly before it.
    Dot { crlf: bool },
    /// Behind such a dot and CRs. `one` is true if it is one CR.
    DotCr { crlf: bool, one: bool },
    /// Before the LF of the end, which was already read.
    Ended,
}

/// The next element in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalizedRead {
    /// Content, which was appended to the output.
    Content,
    /// All input is consumed.
    More,
    /// The end of the message. The rest of the input follows it.
    End,
    /// A NUL. A reader that reads on still finds the end.
    Fault,
}

impl NewlineNormalizer {
    /// A reader at the start of the content, which counts as the start of a line.
    pub const fn new() -> NewlineNormalizer {
        NewlineNormalizer { at: ContentPosition::Start { crlf: true }, last_line: LastLine::new(), size: 0 }
    }

    /// The size of the content so far in bytes, normalized and without stuffed dots, as SIZE counts it (RFC 1870).
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns true if a client may take the content so far for a complete message: it ends in a line with a single dot, between
    /// line ends of any kind, and at most commands follow.
    pub fn may_have_ended(&self) -> bool {
        self.last_line.may_be_end()
    }

    /// Returns true if only the LF of the end is missing.
    pub fn is_within_end(&self) -> bool {
        self.at == ContentPosition::DotCr { crlf: true, one: true }
    }

    /// Consumes input up to the end of the next element, and appends content to `out`. To be called until there is no more.
    pub fn read(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> NormalizedRead {
        if self.take_end() {
            return NormalizedRead::End;
        }
        let (whole, before) = (*input, out.len());
        out.reserve(whole.len());
        let mut dots = 0;
        let mut fault = false;
        while let Some((byte, next)) = input.split_first() {
            fault = *byte == 0;
            if fault {
                self.at = ContentPosition::Line;
                *input = next;
                break;
            }
            if self.at == ContentPosition::Line {
                let end = memchr3(b'\r', b'\n', 0, input).unwrap_or(input.len());
                let (text, rest) = input.split_at(end);
                out.extend_from_slice(text);
                *input = rest;
                self.at = match rest.first() {
                    Some(b'\r') => ContentPosition::Cr,
                    Some(b'\n') => ContentPosition::Start { crlf: false },
                    _ => continue,
                };
                *input = &rest[1..];
                continue;
            }
            if self.step(*byte, &mut dots, out) {
                *input = next;
            }
            if self.at == ContentPosition::Ended {
                break;
            }
        }
        self.last_line.follow(&whole[..whole.len() - input.len()]);
        self.size += (out.len() - before) as u64 - dots;
        match (fault, out.len() > before) {
            (true, _) => NormalizedRead::Fault,
            (false, true) => NormalizedRead::Content,
            (false, false) if self.take_end() => NormalizedRead::End,
            (false, false) => NormalizedRead::More,
        }
    }

    /// Consumes the end if it is next, as [`NormalizedRead::End`] would, and returns true.
    pub fn take_end(&mut self) -> bool {
        let ended = self.at == ContentPosition::Ended;
        if ended {
            *self = NewlineNormalizer { size: self.size, ..NewlineNormalizer::new() };
        }
        ended
    }

    /// Processes a byte at a line end, or behind it. Returns false if it has to be processed again. Counts stuffed dots.
    fn step(&mut self, byte: u8, dots: &mut u64, out: &mut Vec<u8>) -> bool {
        use ContentPosition::{Cr, Dot, DotCr, Ended, Line, Start, StartCr};
        let mut line = |text: &[u8]| {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(text);
            *dots += u64::from(text.first() == Some(&b'.'));
        };
        let (at, is_used) = match (self.at, byte) {
            (Line | Ended, _) => (self.at, false),
            (Cr, b'\r') => (Cr, true),
            (Cr, b'\n') => (Start { crlf: true }, true),
            (Cr, _) => {
                out.push(b' ');
                (Line, false)
            }
            (Start { crlf }, b'.') => (Dot { crlf }, true),
            (StartCr, b'.') => (Dot { crlf: false }, true),
            (Start { .. } | StartCr, b'\r') => (StartCr, true),
            (Start { .. } | StartCr, b'\n') => {
                line(b"");
                (Start { crlf: self.at == StartCr }, true)
            }
            (Start { .. } | StartCr, _) => {
                line(b"");
                (Line, false)
            }
            (Dot { crlf }, b'\r') => (DotCr { crlf, one: true }, true),
            (Dot { .. }, b'\n') => {
                line(b"..");
                (Start { crlf: false }, true)
            }
            // The second dot is part of the line.
            (Dot { .. }, b'.') | (Dot { crlf: true }, b'!'..) => {
                line(b".");
                (Line, false)
            }
            (Dot { .. }, _) => {
                line(b"..");
                (Line, false)
            }
            (DotCr { crlf: true, one: true }, b'\n') => (Ended, true),
            (DotCr { .. }, b'\n') => {
                line(b"..");
                (Start { crlf: true }, true)
            }
            (DotCr { crlf, .. }, b'\r') => (DotCr { crlf, one: false }, true),
            (DotCr { .. }, _) => {
                line(b".. ");
                (Line, false)
            }
        };
        self.at = at;
        is_used
    }
}

impl Default for NewlineNormalizer {
    fn default() -> NewlineNormalizer {
        NewlineNormalizer::new()
    }
}

#[cfg(test)]
mod tests;
