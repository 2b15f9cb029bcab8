//! The header of a message while it streams by: what claims to be ours is removed, and hops are counted.
//!
//! What isn't ours to judge is where a backend sees a line end. So a field begins after CR LF, but also after a CR or an LF
//! alone (BDAT may carry them), and behind a stuffed dot; and the header ends only at an empty line that nobody could miss.
//! In doubt a line too many is removed, and never one too few.

use memchr::memchr2;

/// The field that tells a backend who submitted; `_` stands for `-`, since some make no difference.
const USER: &[u8] = b"x-gatepost-user";
/// The field that each hop adds.
const HOP: &[u8] = b"received";

/// Passes a message's header on, without the lines that were forged.
#[derive(Clone, Debug)]
pub struct HeaderFilter {
    at: At,
    /// DATA: a dot at the beginning of a line isn't part of it.
    dots: bool,
    /// The field of this line is removed, with the lines that continue it.
    dropping: bool,
    /// Whether CR LF is the last of what was passed on before this line.
    clean: bool,
    hops: u32,
    held: Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the beginning of a line; whether CR LF ended the one before, for all that the backend gets to see.
    Start { clean: bool },
    /// Within a name that could be one of ours, of which so many bytes have come.
    Name(&'static [u8], u8),
    /// Anywhere behind that.
    Line,
    /// Behind a CR.
    Cr,
    /// Behind a CR at the beginning of a line that a CR LF came before.
    EmptyCr,
    /// Behind the header.
    Body,
}

/// The beginning of a line that isn't passed on yet: a dot and a name at most.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: [u8; 1 + USER.len()],
    len: u8,
}

impl Held {
    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..usize::from(self.len)]);
        self.len = 0;
    }
}

impl HeaderFilter {
    /// A filter at the end of a line that is ours, whose CR LF comes first. `dots` is whether the content is dot-stuffed.
    pub fn new(dots: bool) -> HeaderFilter {
        HeaderFilter { at: At::Line, dots, dropping: false, clean: true, hops: 0, held: Held::default() }
    }

    /// The `Received:` fields so far.
    pub const fn hops(&self) -> u32 {
        self.hops
    }

    /// Whether the header is over: everything passes now.
    pub fn is_over(&self) -> bool {
        self.at == At::Body
    }

    /// Appends what passes of `content` to `out`, up to the end of the header; what is left is the body's.
    pub fn pass<'i>(&mut self, content: &'i [u8], out: &mut Vec<u8>) -> &'i [u8] {
        let mut rest = content;
        while let Some((byte, next)) = rest.split_first() {
            match self.at {
                At::Body => return rest,
                At::Line => {
                    let end = memchr2(b'\r', b'\n', rest).map_or(rest.len(), |at| at + 1);
                    let (line, behind) = rest.split_at(end);
                    if !self.dropping {
                        out.extend_from_slice(line);
                    }
                    match line[end - 1] {
                        b'\r' => self.at = At::Cr,
                        b'\n' => self.at = At::Start { clean: false },
                        _ => {}
                    }
                    rest = behind;
                }
                At::Cr => {
                    if *byte == b'\n' {
                        if !self.dropping {
                            out.push(b'\n');
                        }
                        rest = next;
                    }
                    // Without the line that is removed, the line end before it and the next one meet.
                    self.at = At::Start { clean: *byte == b'\n' && (self.clean || !self.dropping) };
                }
                At::Start { clean } => {
                    self.clean = clean;
                    self.start(*byte, clean, out);
                    rest = next;
                }
                At::Name(name, len) => {
                    if self.name(*byte, name, len, out) {
                        rest = next;
                    }
                }
                At::EmptyCr => {
                    if *byte == b'\n' {
                        out.push(b'\n');
                        rest = next;
                        self.at = At::Body;
                    } else {
                        self.at = At::Start { clean: false };
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
        self.at = At::Body;
    }

    /// The first byte of a line.
    fn start(&mut self, byte: u8, clean: bool, out: &mut Vec<u8>) {
        match byte {
            b'.' if self.dots && self.held.len == 0 => self.held.push(byte),
            b' ' | b'\t' => {
                // It continues the field before.
                self.at = At::Line;
                if self.dropping {
                    self.held.len = 0;
                } else {
                    self.held.flush(out);
                    out.push(byte);
                }
            }
            b'\r' | b'\n' => {
                let empty = clean && self.held.len == 0 && byte == b'\r';
                self.dropping = false;
                self.held.flush(out);
                out.push(byte);
                self.at = match byte {
                    b'\r' if empty => At::EmptyCr,
                    b'\r' => At::Cr,
                    _ => At::Start { clean: false },
                };
            }
            _ => {
                self.dropping = false;
                self.held.push(byte);
                let ours = [USER, HOP].into_iter().find(|name| name[0] == byte.to_ascii_lowercase());
                match ours {
                    Some(name) => self.at = At::Name(name, 1),
                    None => self.give_up(out),
                }
            }
        }
    }

    /// One more byte of a name; false where it has to be looked at again.
    fn name(&mut self, byte: u8, name: &'static [u8], len: u8, out: &mut Vec<u8>) -> bool {
        if let Some(expected) = name.get(usize::from(len)) {
            let plain = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            if plain != *expected {
                self.give_up(out);
                return false;
            }
            self.held.push(byte);
            self.at = At::Name(name, len + 1);
            return true;
        }
        // The whole name was there, and it is the field's where nothing else follows that could be part of it.
        let ends = matches!(byte, b':' | b' ' | b'\t' | b'\r' | b'\n' | 0);
        if ends && name == USER {
            self.dropping = true;
            self.held.len = 0;
            self.at = At::Line;
            return false;
        }
        self.hops += u32::from(ends && name == HOP);
        self.give_up(out);
        false
    }

    fn give_up(&mut self, out: &mut Vec<u8>) {
        self.held.flush(out);
        self.at = At::Line;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(pieces: &[&[u8]], dots: bool) -> (String, u32) {
        let mut filter = HeaderFilter::new(dots);
        let mut out = Vec::new();
        for piece in pieces {
            let body = filter.pass(piece, &mut out);
            assert!(body.is_empty() || filter.is_over());
            out.extend_from_slice(body);
        }
        filter.finish(&mut out);
        (String::from_utf8(out).unwrap(), filter.hops())
    }

    fn whole(text: &str, dots: bool) -> String {
        pass(&[text.as_bytes()], dots).0
    }

    #[test]
    fn what_claims_to_be_ours_is_removed() {
        let forged = [
            "X-Gatepost-User: root\r\n",
            "x-gatepost-user:root\r\n",
            "X_Gatepost_User : root\r\n",
            "X-Gatepost-User\t:\r\n root\r\n\troot\r\n",
            "X-Gatepost-User: a\r\n.\troot\r\n",
            ".X-Gatepost-User: root\r\n",
            "X-Gatepost-User: root\n",
            "X-Gatepost-User: root\r",
            "X-Gatepost-User\r\n: root\r\n",
            "X-Gatepost-User: a\r\nX-Gatepost-User: b\r\n",
        ];
        for line in forged {
            // The name on a line of its own leaves a line behind that begins with a colon, and names nobody.
            let left = if line.contains("\r\n: ") { ": root\r\n" } else { "" };
            let text = format!("\r\nA: b\r\n{line}Subject: c\r\n\r\nbody\r\n");
            assert_eq!(
                whole(&text, true),
                format!("\r\nA: b\r\n{left}Subject: c\r\n\r\nbody\r\n"),
                "{line:?}"
            );
        }
        assert_eq!(whole("\r\nA: b\nX-Gatepost-User: x\nC: d\n\n", false), "\r\nA: b\nC: d\n\n");
        assert_eq!(whole("\r\nA: b\rX-Gatepost-User: x\rC: d", false), "\r\nA: b\rC: d");
        assert_eq!(whole("\r\nX-Gatepost-User: x", false), "\r\n");
        // What was the empty line at the end of the header is none any more once the line before it is gone.
        assert_eq!(whole("\r\nA: b\rX-Gatepost-User: x\r\n\r\nX-Gatepost-User: y", false), "\r\nA: b\r\r\n");
        // A lenient backend's header ends here, and a strict one's doesn't.
        assert_eq!(whole("\r\nA: b\n\nX-Gatepost-User: x\r\n\r\nc", false), "\r\nA: b\n\n\r\nc");
    }

    #[test]
    fn what_does_not_stays() {
        let good = [
            "X-Gatepost-Users: a\r\n",
            "X-Gatepost-Use: a\r\n",
            "X-Gatepost: a\r\n",
            "X-: a\r\n",
            " X-Gatepost-User: folded\r\n",
            "..X-Gatepost-User: a\r\n",
            "X\r\n",
            "\r\nX-Gatepost-User: in the body\r\n",
            "\r\n\r\nX-Gatepost-User: in the body\r\n",
            ".",
        ];
        for line in good {
            let text = format!("\r\nA: b\r\n{line}Subject: c\r\n\r\nbody\r\n");
            assert_eq!(whole(&text, true), text, "{line:?}");
        }
        assert_eq!(whole("\r\n.X-Gatepost-User: a\r\n", false), "\r\n.X-Gatepost-User: a\r\n");
        assert_eq!(whole("\r\nX-Gatepost-User", true), "\r\nX-Gatepost-User");
    }

    #[test]
    fn hops_are_counted() {
        let text = "\r\nReceived: a\r\nreceived : b\r\n\tReceived: c\r\nReceived-SPF: d\r\n.RECEIVED: e\r\n\r\nReceived: f\r\n";
        assert_eq!(pass(&[text.as_bytes()], true), (text.to_owned(), 3));
    }

    proptest! {
        #[test]
        fn any_split_passes_the_same(
            words in proptest::collection::vec(prop::sample::select(vec![
                "\r", "\n", "\r\n", "\r\n", ".", " ", ":", "a", "X-Gatepost-User", "x-gatepost-user:", "Received:", "_", "X-Gate", "post-User",
            ]), 0..20),
            cuts in proptest::collection::vec(0..200_usize, 0..6),
            dots in any::<bool>(),
        ) {
            let text = format!("\r\n{}", words.concat());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let passed = pass(&pieces, dots);
            prop_assert_eq!(&passed, &pass(&[text.as_bytes()], dots));
            // Whatever is left in the header isn't ours, to a reader of the most lenient kind.
            let header = passed.0.split("\r\n\r\n").next().unwrap();
            for line in header.split(['\r', '\n']) {
                let line = if dots { line.strip_prefix('.').unwrap_or(line) } else { line };
                prop_assert!(!line.to_ascii_lowercase().starts_with("x-gatepost-user:"), "{:?}", passed.0);
            }
        }
    }
}
