//! The header of a message while it streams by: what claims to be ours is removed, and hops are counted.
//!
//! What isn't ours to judge is where a backend sees a line end. So a field begins after CR LF, but also after a CR or an LF
//! alone (BDAT may carry them), and behind a stuffed dot; and the header ends only at an empty line that nobody could miss. Nor
//! is it ours to judge what a backend trims of a name: control characters beside one, and bytes beyond ASCII, hide none.
//! In doubt a line too many is removed, and never one too few.
//!
//! Our own lines come first, so nothing of the client's may continue the last of them: content that begins with a blank, or
//! with what a backend might skip before one, has no header of its own, and an empty line ends ours before it.
//!
//! A message that a program took from an mbox begins with the line that separates messages there, `From joe Sat Nov 28 ...`,
//! maybe quoted with `>`. Behind our lines, a backend takes it for the end of the header. It becomes a field,
//! `X-Mailbox-Line: From joe ...`, and so does each such line directly behind it, as Postfix does it (smtpd.c).

mod line_start;

use memchr::memchr2;

use line_start::{LONGEST_NAME, LineStart};

/// The field that tells a backend who submitted; `_` stands for `-`, since some make no difference.
const USER: &[u8] = b"x-gatepost-user";
/// The field that each hop adds.
const HOP: &[u8] = b"received";
const _: () = assert!(USER.len() <= LONGEST_NAME && HOP.len() <= LONGEST_NAME);
/// The beginning of the line that separates messages in an mbox.
const SEPARATOR: &[u8] = b"From ";
/// The field that such a line becomes.
const MAILBOX_LINE: &[u8] = b"X-Mailbox-Line: ";
/// The most `>` that may quote a separator: with more, Postfix (`line_length_limit`) doesn't see the rest of the line.
const QUOTES: u16 = 2048 - SEPARATOR.len() as u16;

/// Passes a message's header on, without the lines that were forged.
#[derive(Clone, Debug)]
pub struct HeaderFilter {
    at: HeaderPosition,
    /// DATA: a dot at the beginning of a line isn't part of it.
    dots: bool,
    /// The field of this line is removed, with the lines that continue it.
    dropping: bool,
    /// Whether CR LF is the last of what was passed on before this line.
    clean: bool,
    /// Nothing was passed on yet but separators of an mbox: what comes next stands directly behind a line that is ours.
    first: bool,
    /// The line before the last CR LF began as a separator of an mbox, however many lines a CR or an LF alone makes of it.
    separated: bool,
    hops: u32,
    held: LineStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderPosition {
    /// HeaderPosition the beginning of a line; whether CR LF ended the one before, for all that the backend gets to see.
    Start { clean: bool },
    /// Behind what some skip at the beginning of a line, and others don't: a blank continues nothing here.
    Skipped,
    /// Within a name that could be one of ours, of which so many bytes have come.
    Name(&'static [u8], u8),
    /// Behind a CR in the middle of such a name, which isn't passed on yet.
    NameCr(&'static [u8], u8),
    /// Within what may be a separator of an mbox: so many `>` have come, and so many bytes of `From `. None of it is passed
    /// on yet.
    Separator { quotes: u16, len: u8 },
    /// Anywhere behind that.
    Line,
    /// Behind a CR; whether nothing but what some skip came before it in its line.
    Cr { skipped: bool },
    /// Behind a CR at the beginning of a line that a CR LF came before; it isn't passed on yet.
    EmptyCr,
    /// Behind the header.
    Body,
}

impl HeaderFilter {
    /// A filter at the end of a line that is ours, whose CR LF comes first. `dots` is whether the content is dot-stuffed.
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

    /// The `Received:` fields so far.
    pub const fn hops(&self) -> u32 {
        self.hops
    }

    /// Whether the header is over: everything passes now.
    pub fn is_over(&self) -> bool {
        self.at == HeaderPosition::Body
    }

    /// Appends what passes of `content` to `out`, up to the end of the header; what is left is the body's.
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
                        // Without the line that is removed, the line end before it and the next one meet.
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
                        self.give_up(out);
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
                            self.end_ours(out);
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

    /// Appends what was held back, since no more comes.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        // A field of ours without a colon is none; one with its colon isn't held any more.
        self.held.flush(out);
        match self.at {
            HeaderPosition::EmptyCr | HeaderPosition::NameCr(..) => out.push(b'\r'),
            HeaderPosition::Separator { quotes, len } => begin_separator(quotes, len, out),
            _ => {}
        }
        self.at = HeaderPosition::Body;
    }

    /// The first byte of a line; false where it has to be looked at again.
    fn start(&mut self, byte: u8, clean: bool, out: &mut Vec<u8>) -> bool {
        match byte {
            b'.' if self.dots && self.held.is_empty() => self.held.push(byte),
            // It continues the field before; the last two do for those who ask the C library what a blank is.
            b' ' | b'\t' | b'\x0b' | b'\x0c' if self.dropping => {
                self.at = HeaderPosition::Line;
                self.held.clear();
            }
            // Who skips it sees a line begin with what is behind it.
            0 if self.dropping => {}
            ..=b' ' | b'\x7f'.. if self.first && byte != b'\r' => {
                self.end_ours(out);
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
                self.give_up(out);
                self.dropping = false;
                out.push(byte);
                self.at = if byte == b'\r' {
                    HeaderPosition::Cr { skipped: true }
                } else {
                    HeaderPosition::Skipped
                };
            }
            // No name begins with it, but for who trims names.
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
                    None => self.give_up(out),
                }
            }
        }
        true
    }

    /// Ends the header that is ours, where what follows has none but could be read as more of it.
    fn end_ours(&mut self, out: &mut Vec<u8>) {
        if !self.clean {
            // A separator of an mbox was ended by a CR or an LF alone.
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.give_up(out);
        self.dropping = false;
        self.at = HeaderPosition::Body;
    }

    /// One more byte of a name; false where it has to be looked at again.
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
                self.give_up(out);
                if anew {
                    self.at = HeaderPosition::Start { clean: false };
                }
                return false;
            }
            self.held.push(byte);
            self.at = HeaderPosition::Name(name, len + 1);
            return true;
        }
        // The whole name was there, and it is the field's where nothing else follows that could be part of it. What isn't
        // printed can't, and there are those who trim it.
        let ends = byte == b':' || !byte.is_ascii_graphic();
        if ends && name == USER {
            self.dropping = true;
            self.held.clear();
            self.at = HeaderPosition::Line;
            return false;
        }
        self.hops += u32::from(ends && name == HOP);
        self.give_up(out);
        false
    }

    /// One more byte of what may be a separator of an mbox; false where it has to be looked at again.
    fn separator(&mut self, byte: u8, quotes: u16, len: u8, out: &mut Vec<u8>) -> bool {
        if byte == b'>' && len == 0 && quotes < QUOTES {
            self.at = HeaderPosition::Separator { quotes: quotes + 1, len };
            return true;
        }
        if byte != SEPARATOR[usize::from(len)] {
            self.give_up(out);
            begin_separator(quotes, len, out);
            return false;
        }
        self.at = HeaderPosition::Separator { quotes, len: len + 1 };
        if usize::from(len) + 1 == SEPARATOR.len() {
            // A stuffed dot isn't part of the line, and nothing needs one before the name of the field.
            self.held.clear();
            self.separated = true;
            out.extend_from_slice(MAILBOX_LINE);
            begin_separator(quotes, len + 1, out);
            self.at = HeaderPosition::Line;
        }
        true
    }

    fn give_up(&mut self, out: &mut Vec<u8>) {
        self.first = false;
        self.separated &= !self.clean;
        self.held.flush(out);
        self.at = HeaderPosition::Line;
    }
}

/// Appends so many `>` and so many bytes of `From `.
fn begin_separator(quotes: u16, len: u8, out: &mut Vec<u8>) {
    out.resize(out.len() + usize::from(quotes), b'>');
    out.extend_from_slice(&SEPARATOR[..usize::from(len)]);
}

#[cfg(test)]
mod tests;
