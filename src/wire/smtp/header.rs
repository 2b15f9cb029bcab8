//! A filter for the header of a message while it passes: removes forged `X-Gatepost-User` fields and counts hops.
//!
//! Backends disagree about where a line ends. So a field begins after CR LF, but also after a lone CR or LF (BDAT may contain
//! them) and behind a stuffed dot. The header ends only at an empty line that every backend sees. Backends also differ in what
//! they trim from a name, so control characters and non-ASCII bytes beside a name do not hide it. In doubt the filter
//! removes a line too many, and never one too few.
//!
//! Gatepost's own fields come first, and nothing of the client's may continue the last of them. Content that begins with a
//! blank, or with bytes that a backend might skip before one, has no header of its own. An empty line then ends the header
//! before it.
//!
//! A message from an mbox begins with the separator of that format, `From joe Sat Nov 28 ...`, maybe quoted with `>`. Behind
//! Gatepost's fields, a backend takes it for the end of the header. It becomes a field, `X-Mailbox-Line: From joe ...`, as in
//! Postfix (smtpd.c), and so does each such line directly behind it.

mod line_start;

use memchr::memchr2;

use line_start::{LONGEST_NAME, LineStart};

/// The field that tells a backend the submitter; `_` counts as `-`, since some backends treat them alike.
const USER: &[u8] = b"x-gatepost-user";
/// The field that each hop adds.
const HOP: &[u8] = b"received";
const _: () = assert!(USER.len() <= LONGEST_NAME && HOP.len() <= LONGEST_NAME);
/// The start of an mbox separator.
const SEPARATOR: &[u8] = b"From ";
/// The start of the field that a separator becomes.
const MAILBOX_LINE: &[u8] = b"X-Mailbox-Line: ";
/// The most `>` that may quote a separator. With more, Postfix (`line_length_limit`) doesn't see the rest of the line.
const QUOTES: u16 = 2048 - SEPARATOR.len() as u16;

/// A filter for the header of one message.
#[derive(Clone, Debug)]
pub struct HeaderFilter {
    at: HeaderPosition,
    /// True for DATA: the first dot of a line is stuffed.
    dots: bool,
    /// True while a field is removed, with the lines that continue it.
    dropping: bool,
    /// True if CR LF was the last output before this line.
    clean: bool,
    /// True while nothing but mbox separators was output: the next line directly follows Gatepost's fields.
    first: bool,
    /// True if the line before the last CR LF began as an mbox separator, however many lines a lone CR or LF makes of it.
    separated: bool,
    hops: u32,
    held: LineStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderPosition {
    /// At the start of a line. `clean` is true if the output before it ends in CR LF.
    Start { clean: bool },
    /// Behind bytes that some readers skip at the start of a line: a blank continues no field here.
    Skipped,
    /// Within a name that may be one of those above; the number of its bytes so far.
    Name(&'static [u8], u8),
    /// Behind a CR in such a name, which is withheld.
    NameCr(&'static [u8], u8),
    /// Within a possible mbox separator, all of which is withheld: the number of `>`, and of bytes of `From `, so far.
    Separator { quotes: u16, len: u8 },
    /// Anywhere else in a line.
    Line,
    /// Behind a CR. `skipped` is true if only skippable bytes precede it in its line.
    Cr { skipped: bool },
    /// Behind a CR, which is withheld, at the start of a line that follows CR LF.
    EmptyCr,
    /// Behind the header.
    Body,
}

impl HeaderFilter {
    /// A filter at the end of Gatepost's fields, whose last CR LF is the first input. `dots` is true for dot-stuffed content.
    pub fn new(dots: bool) -> HeaderFilter {
        HeaderFilter {
            at: HeaderPosition::Line,
            dots,
            dropping: false,
            clean: true,
            first: true,
            separated: false,
            hops: 0,
            held: LineStart::default(),
        }
    }

    /// The number of `Received` fields so far.
    pub const fn hops(&self) -> u32 {
        self.hops
    }

    /// Returns true once the header is over: the rest of the message passes unchanged.
    pub fn is_over(&self) -> bool {
        self.at == HeaderPosition::Body
    }

    /// Appends the filtered header to `out`, up to its end. Returns the rest of `content`, which belongs to the body.
    pub fn pass<'i>(&mut self, content: &'i [u8], out: &mut Vec<u8>) -> &'i [u8] {
        let mut rest = content;
        while let Some((byte, next)) = rest.split_first() {
            match self.at {
                HeaderPosition::Body => return rest,
                HeaderPosition::Line => {
                    let end = memchr2(b'\r', b'\n', rest).map_or(rest.len(), |at| at + 1);
                    let (line, behind) = rest.split_at(end);
                    if !self.dropping {
                        out.extend_from_slice(line);
                    }
                    match line[end - 1] {
                        b'\r' => self.at = HeaderPosition::Cr { skipped: false },
                        b'\n' => self.at = HeaderPosition::Start { clean: self.dropping && self.clean },
                        _ => {}
                    }
                    rest = behind;
                }
                HeaderPosition::Cr { skipped } => {
                    let ended = *byte == b'\n';
                    if ended {
                        if !self.dropping {
                            out.push(b'\n');
                        }
                        rest = next;
                    }
                    self.at = match skipped && !ended {
                        true => HeaderPosition::Skipped,
                        // Without the removed line, the line ends before and behind it become adjacent.
                        false => {
                            HeaderPosition::Start { clean: if self.dropping { self.clean } else { ended } }
                        }
                    };
                }
                HeaderPosition::Skipped if matches!(byte, b' ' | b'\t') => {
                    out.push(*byte);
                    rest = next;
                }
                HeaderPosition::Skipped => self.at = HeaderPosition::Start { clean: false },
                HeaderPosition::Start { clean } => {
                    self.clean = clean;
                    if self.start(*byte, clean, out) {
                        rest = next;
                    }
                }
                HeaderPosition::Name(name, len) => {
                    if self.name(*byte, name, len, out) {
                        rest = next;
                    }
                }
                HeaderPosition::Separator { quotes, len } => {
                    if self.separator(*byte, quotes, len, out) {
                        rest = next;
                    }
                }
                HeaderPosition::NameCr(name, len) => {
                    if *byte == b'\n' {
                        self.release(out);
                        self.at = HeaderPosition::Cr { skipped: false };
                        out.push(b'\r');
                    } else {
                        self.held.skip(b'\r');
                        self.at = HeaderPosition::Name(name, len);
                    }
                }
                HeaderPosition::EmptyCr => {
                    if *byte == b'\n' {
                        out.extend_from_slice(b"\r\n");
                        rest = next;
                        self.at = HeaderPosition::Body;
                    } else {
                        if self.first {
                            self.end_own_header(out);
                        } else {
                            self.at = HeaderPosition::Skipped;
                        }
                        out.push(b'\r');
                    }
                }
            }
        }
        rest
    }

    /// Appends what was withheld, at the end of a message that ends within its header.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        // A name without a colon is not a field; behind a colon nothing is withheld.
        self.held.flush(out);
        match self.at {
            HeaderPosition::EmptyCr | HeaderPosition::NameCr(..) => out.push(b'\r'),
            HeaderPosition::Separator { quotes, len } => begin_separator(quotes, len, out),
            _ => {}
        }
        self.at = HeaderPosition::Body;
    }

    /// Processes the first byte of a line. Returns false if it has to be processed again.
    fn start(&mut self, byte: u8, clean: bool, out: &mut Vec<u8>) -> bool {
        match byte {
            b'.' if self.dots && self.held.is_empty() => self.held.push(byte),
            // A continuation of the field. The last two bytes count as blanks for users of C's isspace().
            b' ' | b'\t' | b'\x0b' | b'\x0c' if self.dropping => {
                self.at = HeaderPosition::Line;
                self.held.clear();
            }
            // A reader that skips NUL sees the line begin behind it.
            0 if self.dropping => {}
            ..=b' ' | b'\x7f'.. if self.first && byte != b'\r' => {
                self.end_own_header(out);
                return false;
            }
            b' ' | b'\t' => {
                self.at = HeaderPosition::Line;
                self.held.flush(out);
                out.push(byte);
            }
            b'\r' if clean && self.held.is_empty() => {
                self.dropping = false;
                self.at = HeaderPosition::EmptyCr;
            }
            b'\r' | b'\n' => {
                self.release(out);
                self.dropping = false;
                out.push(byte);
                self.at = if byte == b'\r' {
                    HeaderPosition::Cr { skipped: true }
                } else {
                    HeaderPosition::Skipped
                };
            }
            // No name begins with these bytes, except for readers that trim names.
            ..=b' ' | b'\x7f'.. => {
                self.dropping = false;
                self.held.flush(out);
                out.push(byte);
                self.at = HeaderPosition::Skipped;
            }
            b'>' | b'F' if self.first || clean && self.separated => {
                self.dropping = false;
                self.at = HeaderPosition::Separator { quotes: 0, len: 0 };
                return false;
            }
            _ => {
                self.dropping = false;
                self.held.push(byte);
                let ours = [USER, HOP].into_iter().find(|name| name[0] == byte.to_ascii_lowercase());
                match ours {
                    Some(name) => self.at = HeaderPosition::Name(name, 1),
                    None => self.release(out),
                }
            }
        }
        true
    }

    /// Ends the header before content that has no header, but could be read as a continuation of Gatepost's fields.
    fn end_own_header(&mut self, out: &mut Vec<u8>) {
        if !self.clean {
            // An mbox separator was ended by a lone CR or LF.
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.release(out);
        self.dropping = false;
        self.at = HeaderPosition::Body;
    }

    /// Processes a byte of a name. Returns false if it has to be processed again.
    fn name(&mut self, byte: u8, name: &'static [u8], len: u8, out: &mut Vec<u8>) -> bool {
        if byte == 0 {
            self.held.skip(byte);
            return true;
        }
        if let Some(expected) = name.get(usize::from(len)) {
            if byte == b'\r' {
                self.at = HeaderPosition::NameCr(name, len);
                return true;
            }
            let plain = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            if plain != *expected {
                let anew = self.held.ends_a_line();
                self.release(out);
                if anew {
                    self.at = HeaderPosition::Start { clean: false };
                }
                return false;
            }
            self.held.push(byte);
            self.at = HeaderPosition::Name(name, len + 1);
            return true;
        }
        // The name is complete. It is the field's name unless more of a name follows; unprintable bytes are no part of a
        // name, and some readers trim them.
        let ends = byte == b':' || !byte.is_ascii_graphic();
        if ends && name == USER {
            self.dropping = true;
            self.held.clear();
            self.at = HeaderPosition::Line;
            return false;
        }
        self.hops += u32::from(ends && name == HOP);
        self.release(out);
        false
    }

    /// Processes a byte of a possible mbox separator. Returns false if it has to be processed again.
    fn separator(&mut self, byte: u8, quotes: u16, len: u8, out: &mut Vec<u8>) -> bool {
        if byte == b'>' && len == 0 && quotes < QUOTES {
            self.at = HeaderPosition::Separator { quotes: quotes + 1, len };
            return true;
        }
        if byte != SEPARATOR[usize::from(len)] {
            self.release(out);
            begin_separator(quotes, len, out);
            return false;
        }
        self.at = HeaderPosition::Separator { quotes, len: len + 1 };
        if usize::from(len) + 1 == SEPARATOR.len() {
            // A stuffed dot is not part of the line, and the name of the field needs none.
            self.held.clear();
            self.separated = true;
            out.extend_from_slice(MAILBOX_LINE);
            begin_separator(quotes, len + 1, out);
            self.at = HeaderPosition::Line;
        }
        true
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        self.first = false;
        self.separated &= !self.clean;
        self.held.flush(out);
        self.at = HeaderPosition::Line;
    }
}

/// Appends `quotes` times `>` and the first `len` bytes of `From `.
fn begin_separator(quotes: u16, len: u8, out: &mut Vec<u8>) {
    out.resize(out.len() + usize::from(quotes), b'>');
    out.extend_from_slice(&SEPARATOR[..usize::from(len)]);
}

#[cfg(test)]
mod tests;
