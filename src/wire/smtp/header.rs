//! The header of a message while it streams by: what claims to be ours is removed, and hops are counted.
//!
//! What isn't ours to judge is where a backend sees a line end. So a field begins after CR LF, but also after a CR or an LF
//! alone (BDAT may carry them), and behind a stuffed dot; and the header ends only at an empty line that nobody could miss.
//! In doubt a line too many is removed, and never one too few.
//!
//! Our own lines come first, so nothing of the client's may continue the last of them: content that begins with a blank, or
//! with what a backend might skip before one, has no header of its own, and an empty line ends ours before it.

mod held;

use memchr::memchr2;

use held::Held;

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
    /// Nothing was passed on yet: what comes next stands directly behind a line that is ours.
    first: bool,
    hops: u32,
    held: Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the beginning of a line; whether CR LF ended the one before, for all that the backend gets to see.
    Start { clean: bool },
    /// Within a name that could be one of ours, of which so many bytes have come.
    Name(&'static [u8], u8),
    /// Behind a CR in the middle of such a name, which isn't passed on yet.
    NameCr(&'static [u8], u8),
    /// Anywhere behind that.
    Line,
    /// Behind a CR.
    Cr,
    /// Behind a CR at the beginning of a line that a CR LF came before; it isn't passed on yet.
    EmptyCr,
    /// Behind the header.
    Body,
}

impl HeaderFilter {
    /// A filter at the end of a line that is ours, whose CR LF comes first. `dots` is whether the content is dot-stuffed.
    pub fn new(dots: bool) -> HeaderFilter {
        HeaderFilter {
            at: At::Line,
            dots,
            dropping: false,
            clean: true,
            first: true,
            hops: 0,
            held: Held::default(),
        }
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
                        b'\n' => self.at = At::Start { clean: self.dropping && self.clean },
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
                    self.at = At::Start { clean: if self.dropping { self.clean } else { *byte == b'\n' } };
                }
                At::Start { clean } => {
                    self.clean = clean;
                    if self.start(*byte, clean, out) {
                        rest = next;
                    }
                }
                At::Name(name, len) => {
                    if self.name(*byte, name, len, out) {
                        rest = next;
                    }
                }
                At::NameCr(name, len) => {
                    if *byte == b'\n' {
                        self.give_up(out);
                        self.at = At::Cr;
                        out.push(b'\r');
                    } else {
                        self.held.skip(b'\r');
                        self.at = At::Name(name, len);
                    }
                }
                At::EmptyCr => {
                    if *byte == b'\n' {
                        out.extend_from_slice(b"\r\n");
                        rest = next;
                        self.at = At::Body;
                    } else {
                        if self.first {
                            self.end_ours(out);
                        } else {
                            self.at = At::Start { clean: false };
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
        if matches!(self.at, At::EmptyCr | At::NameCr(..)) {
            out.push(b'\r');
        }
        self.at = At::Body;
    }

    /// The first byte of a line; false where it has to be looked at again.
    fn start(&mut self, byte: u8, clean: bool, out: &mut Vec<u8>) -> bool {
        match byte {
            b'.' if self.dots && self.held.is_empty() => self.held.push(byte),
            // It continues the field before; the last two do for those who ask the C library what a blank is.
            b' ' | b'\t' | b'\x0b' | b'\x0c' if self.dropping => {
                self.at = At::Line;
                self.held.clear();
            }
            // Who skips it sees a line begin with what is behind it.
            0 if self.dropping => {}
            ..=b'\x1f' | b' ' | b'\x7f' if self.first && byte != b'\r' => {
                self.end_ours(out);
                return false;
            }
            b' ' | b'\t' => {
                self.at = At::Line;
                self.held.flush(out);
                out.push(byte);
            }
            0 => {
                self.held.flush(out);
                out.push(byte);
                self.at = At::Start { clean: false };
            }
            b'\r' if clean && self.held.is_empty() => {
                self.dropping = false;
                self.at = At::EmptyCr;
            }
            b'\r' | b'\n' => {
                self.give_up(out);
                self.dropping = false;
                out.push(byte);
                self.at = if byte == b'\r' { At::Cr } else { At::Start { clean: false } };
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
        true
    }

    /// Ends the header that is ours, where what follows has none but could be read as more of it.
    fn end_ours(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.give_up(out);
        self.dropping = false;
        self.at = At::Body;
    }

    /// One more byte of a name; false where it has to be looked at again.
    fn name(&mut self, byte: u8, name: &'static [u8], len: u8, out: &mut Vec<u8>) -> bool {
        if byte == 0 {
            self.held.skip(byte);
            return true;
        }
        if let Some(expected) = name.get(usize::from(len)) {
            if byte == b'\r' {
                self.at = At::NameCr(name, len);
                return true;
            }
            let plain = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            if plain != *expected {
                let anew = self.held.ends_a_line();
                self.give_up(out);
                if anew {
                    self.at = At::Start { clean: false };
                }
                return false;
            }
            self.held.push(byte);
            self.at = At::Name(name, len + 1);
            return true;
        }
        // The whole name was there, and it is the field's where nothing else follows that could be part of it.
        let ends = matches!(byte, b':' | b' ' | b'\t' | b'\r' | b'\n');
        if ends && name == USER {
            self.dropping = true;
            self.held.clear();
            self.at = At::Line;
            return false;
        }
        self.hops += u32::from(ends && name == HOP);
        self.give_up(out);
        false
    }

    fn give_up(&mut self, out: &mut Vec<u8>) {
        self.first = false;
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
    fn nothing_continues_what_is_ours() {
        // By DATA and by BDAT.
        for start in [" root\r\n", "\troot\r\n\r\nx", "\x0broot\r\n", "\x0croot", " \r\n\r\nx"] {
            for dots in [false, true] {
                assert_eq!(whole(&format!("\r\n{start}"), dots), format!("\r\n\r\n{start}"), "{start:?}");
            }
            let forged = format!("\r\nX-Gatepost-User: x\r\n{start}");
            assert!(!whole(&forged, false).contains("root"), "{start:?}");
        }
        // By BDAT.
        for start in ["\0 root\r\n", "\r root", "\r\r\n", "\n root", "\r\0 root", "\n", "\x7f root"] {
            assert_eq!(whole(&format!("\r\n{start}"), false), format!("\r\n\r\n{start}"), "{start:?}");
        }
        for forged in ["X-Gatepost-User: x\r\n", "X-Gatepost-User: x\r\n\tx\n", "X-Gatepost-User:\r\n\0"] {
            for start in ["\r root", "\n root"] {
                assert_eq!(whole(&format!("\r\n{forged}{start}"), false), format!("\r\n\r\n{start}"));
            }
        }
        assert_eq!(whole("\r\nX-Gatepost-User: x\r\n\0 root\r\nA: b", false), "\r\nA: b");
        // An empty line is the end of the header, as always.
        assert_eq!(whole("\r\n\r\n root", true), "\r\n\r\n root");
        assert_eq!(whole("\r\n\r", false), "\r\n\r");
    }

    #[test]
    fn what_a_backend_may_skip_hides_no_name() {
        for name in [
            "X-Gatepost-\0User",
            "\0\0X-Gatepost-User\0",
            "X-\rGatepost\r\r-User",
            "\r\0X_Gate\0\r\0post-User",
        ] {
            let passed = whole(&format!("\r\nA: b\r\n{name}: root\r\nC: d\r\n"), false);
            let plain = passed.replace(['\0', '\r'], "");
            assert_eq!(plain.trim_start(), "A: b\nC: d\n", "{name:?}");
        }
        assert_eq!(whole("\r\nX-Gatepost\r\n-User: a", false), "\r\nX-Gatepost\r\n-User: a");
        assert_eq!(whole("\r\nX-Gatepost\r", false), "\r\nX-Gatepost\r");
        assert_eq!(whole("\r\nX\r\0X-Gatepost-User: x\r\nA: b", false), "\r\nX\r\0A: b");
        for good in ["X\rY: a\r\n", "X-\0\rGate: a\r\n", "\0\0A: b\r\n", "\0X-\0A: b\r\n"] {
            let text = format!("\r\nA: b\r\n{good}\r\n");
            assert_eq!(whole(&text, false), text);
        }
        let many = format!("X{}-Gatepost-User: root\r\n", "\0".repeat(99));
        assert_eq!(whole(&format!("\r\nA: b\r\n{many}"), false), "\r\nA: b\r\n");
        assert_eq!(pass(&[b"\r\nRe\0ceived: a\r\n\0received: b\r\n"], false).1, 2);
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
                "\r", "\n", "\r\n", "\r\n", ".", " ", "\t", "\0", ":", "a", "X-Gatepost-User", "x-gatepost-user:", "Received:", "_", "X-Gate", "post-User",
            ]), 0..20),
            cuts in proptest::collection::vec(0..200_usize, 0..6),
            dots in any::<bool>(),
        ) {
            let text = match dots {
                // What DATA lets through.
                true => words.concat().replace("\r\n", "\n").replace(['\r', '\0'], "").replace('\n', "\r\n"),
                false => words.concat(),
            };
            let text = format!("\r\n{text}");
            prop_assume!(!dots || !["\r\n. ", "\r\n.\t", "\r\n.\r"].iter().any(|fault| text.contains(fault)));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let passed = pass(&pieces, dots);
            prop_assert_eq!(&passed, &pass(&[text.as_bytes()], dots));
            // To a reader of whatever kind, nothing that is left in the header is ours, and nothing adds to what is.
            let ours = format!("X-Gatepost-User: joe{}", passed.0);
            let bare = ours.replace("\r\n", "\n").replace('\r', "");
            let readings = [
                ours.split("\r\n").map(str::to_owned).collect::<Vec<_>>(),
                ours.replace('\0', "").split("\r\n").map(str::to_owned).collect(),
                ours.replace("\r\n", "\n").split(['\r', '\n']).map(str::to_owned).collect(),
                bare.split('\n').map(str::to_owned).collect(),
                bare.replace('\0', "").split('\n').map(str::to_owned).collect(),
            ];
            for lines in readings {
                let mut header = lines.iter().map_while(|line| (!line.is_empty()).then_some(line.as_str()));
                prop_assert_eq!(header.next(), Some("X-Gatepost-User: joe"));
                for (at, line) in header.enumerate() {
                    let line = if dots { line.strip_prefix('.').unwrap_or(line) } else { line };
                    prop_assert!(at > 0 || !line.starts_with([' ', '\t']), "{:?}", passed.0);
                    prop_assert!(!line.to_ascii_lowercase().starts_with("x-gatepost-user:"), "{:?}", passed.0);
                }
            }
        }
    }
}
