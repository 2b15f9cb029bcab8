//! The last line of a message so far, for a client that ends its message otherwise than by CR LF . CR LF and believes that it has
//! ended it.

use memchr::memchr2;

/// The bytes at the end of a piece of content that are looked at.
const WINDOW: usize = 512;

/// The last line of the content so far, for a reader to whom CR and LF end a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastLine(LinePart);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinePart {
    Empty,
    Dot,
    /// Only line ends and lines that look like commands follow a single dot.
    DotEnded,
    /// The first letters of a line behind that dot, in upper case.
    Verb([u8; 4], usize),
    /// A line behind that dot which begins like a command with arguments.
    Command,
    Other,
}

impl LastLine {
    /// The line before any content.
    pub const fn new() -> LastLine {
        LastLine(LinePart::Empty)
    }

    /// Returns true if a client may take the content so far for a complete message: it ends in a line with a single dot, between
    /// line ends of any kind, and at most commands follow.
    pub fn may_be_end(self) -> bool {
        self.0 == LinePart::DotEnded
    }

    /// Follows the content. Of a long piece, only its end counts.
    pub fn follow(&mut self, content: &[u8]) {
        let mut at = 0;
        while let Some(byte) = content.get(at) {
            if self.0 == LinePart::Other {
                let from = at.max(content.len().saturating_sub(WINDOW));
                let Some(found) = memchr2(b'\r', b'\n', &content[from..]) else { return };
                at = from + found + 1;
                self.0 = LinePart::Empty;
                continue;
            }
            self.0 = self.0.after(*byte);
            at += 1;
        }
    }
}

impl LinePart {
    const fn after(self, byte: u8) -> LinePart {
        let ends = matches!(byte, b'\r' | b'\n');
        match self {
            LinePart::Empty | LinePart::DotEnded if byte == b'.' => LinePart::Dot,
            LinePart::Dot | LinePart::DotEnded | LinePart::Command if ends => LinePart::DotEnded,
            LinePart::Verb(verb, 4) if ends && stands_alone(verb) => LinePart::DotEnded,
            LinePart::Verb(verb, 4) if byte == b' ' && has_arguments(verb) => LinePart::Command,
            LinePart::Verb(mut verb, length @ 1..=3) if byte.is_ascii_alphabetic() => {
                verb[length] = byte.to_ascii_uppercase();
                LinePart::Verb(verb, length + 1)
            }
            LinePart::DotEnded if byte.is_ascii_alphabetic() => {
                LinePart::Verb([byte.to_ascii_uppercase(), 0, 0, 0], 1)
            }
            LinePart::Command => LinePart::Command,
            _ if ends => LinePart::Empty,
            _ => LinePart::Other,
        }
    }
}

const fn stands_alone(verb: [u8; 4]) -> bool {
    matches!(&verb, b"QUIT" | b"RSET" | b"NOOP" | b"DATA")
}

const fn has_arguments(verb: [u8; 4]) -> bool {
    matches!(&verb, b"MAIL" | b"RCPT" | b"EHLO" | b"HELO" | b"BDAT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_be_end(pieces: &[&[u8]]) -> bool {
        let mut line = LastLine::new();
        pieces.iter().for_each(|piece| line.follow(piece));
        line.may_be_end()
    }

    // Case D6: an end that is none may be followed by the next commands at once.
    #[test]
    fn commands_may_follow_the_dot() {
        let long = "x".repeat(5 * WINDOW);
        let ended = [
            ".\n",
            "a\n.\r\n",
            "a\r.\r",
            ".\nQUIT\n",
            ".\r\nquit\r\n",
            ".\nRSET\nMAIL FROM:<a@b>\nRCPT TO:<b@c>\nDATA\n",
            ".\n\n.\nQUIT\n",
            &format!("{long}\n.\nQUIT\n"),
        ];
        let open = [
            "",
            ".",
            "QUIT\n",
            "a\nQUIT\n",
            ".\nQUIT",
            ".\nQUITS\n",
            ".\nmail\n",
            ".\nquit now\n",
            ".\na\nQUIT\n",
        ];
        for (texts, expected) in [(&ended[..], true), (&open[..], false)] {
            for text in texts {
                assert_eq!(may_be_end(&[text.as_bytes()]), expected, "{text:?}");
                let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
                assert_eq!(may_be_end(&single), expected, "{text:?}");
            }
        }
        assert!(!may_be_end(&[format!(".\n{long}\n").as_bytes()]));
    }
}
