//! An SMTP reply as a value: code, enhanced status code, text (RFC 5321 section 4.2, RFC 2034, RFC 3463).

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use memchr::memchr;

use crate::domain::MailId;

/// The capacity for codes and line ends, in bytes: at most 18 on each line, and 6 on each line of an EHLO reply.
const ROOM: usize = 96;

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnhancedStatusCode(pub u8, pub u16, pub u16);

impl EnhancedStatusCode {
    /// Splits the code from the start of a line. Returns the code and what follows the blank after it; `None` without a code.
    pub fn split(line: &[u8]) -> Option<(EnhancedStatusCode, &[u8])> {
        if let [
            class @ (b'2' | b'4' | b'5'),
            b'.',
            subject @ b'0'..=b'9',
            b'.',
            detail @ b'0'..=b'9',
            b' ',
            rest @ ..,
        ] = line
        {
            // The usual case: three digits.
            let digit = |byte: &u8| byte - b'0';
            return Some((
                EnhancedStatusCode(digit(class), digit(subject).into(), digit(detail).into()),
                rest,
            ));
        }
        let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let mut parts = line[..end].split(|b| *b == b'.').map(number);
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        Some((EnhancedStatusCode(class as u8, subject, detail), line.get(end + 1..).unwrap_or_default()))
    }
}

/// Parses one to three digits.
fn number(digits: &[u8]) -> Option<u16> {
    if !(1..=3).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0')))
}

impl fmt::Display for EnhancedStatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A reply of Gatepost or of a backend. Its text contains no CR, NUL or other control character, and LF only between lines, so
/// that it can't add a reply of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedStatusCode>,
    text: Cow<'static, [u8]>,
    /// True for a backend's reply.
    received: bool,
}

impl Reply {
    /// A reply of Gatepost. `text` has a line feed between its lines.
    pub const fn new(code: u16, enhanced: EnhancedStatusCode, text: &'static str) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: Cow::Borrowed(text.as_bytes()), received: false }
    }

    /// A reply of Gatepost without an enhanced status code, as in greeting, EHLO and AUTH challenges. Control characters in
    /// `text` are dropped, except for line feeds between lines.
    pub fn plain(code: u16, text: String) -> Reply {
        let mut text = text.into_bytes();
        text.retain(|b| *b == b'\n' || !b.is_ascii_control());
        Reply { code, enhanced: None, text: Cow::Owned(text), received: false }
    }

    /// A backend's reply, from the text of its lines: what follows the code and the hyphen or blank. Control characters become
    /// blanks. If each line begins with the same enhanced status code, and its class is that of `code`, it is the reply's.
    pub fn received<'a>(code: u16, lines: impl IntoIterator<Item = &'a [u8]>) -> Reply {
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_default();
        let Some(second) = lines.next() else { return Reply::from_line(code, first) };
        let lines: Vec<&[u8]> = [first, second].into_iter().chain(lines).collect();
        let fits = |found: &EnhancedStatusCode| u16::from(found.0) == code / 100;
        let first = lines
            .first()
            .and_then(|line| EnhancedStatusCode::split(line))
            .map(|(found, _)| found)
            .filter(fits);
        let enhanced = first.filter(|first| {
            lines.iter().all(|line| EnhancedStatusCode::split(line).is_some_and(|l| l.0 == *first))
        });
        let mut text = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                text.push(b'\n');
            }
            let line = match (enhanced, EnhancedStatusCode::split(line)) {
                (Some(_), Some((_, rest))) => rest,
                _ => line,
            };
            text.extend(line.iter().map(|b| if b.is_ascii_control() { b' ' } else { *b }));
        }
        Reply { code, enhanced, text: Cow::Owned(text), received: true }
    }

    /// A backend's reply of one line, the usual case.
    fn from_line(code: u16, line: &[u8]) -> Reply {
        let found = EnhancedStatusCode::split(line).filter(|(found, _)| u16::from(found.0) == code / 100);
        let (enhanced, text) = found.map_or((None, line), |(found, rest)| (Some(found), rest));
        let mut text = text.to_vec();
        for byte in &mut text {
            *byte = if byte.is_ascii_control() { b' ' } else { *byte };
        }
        Reply { code, enhanced, text: Cow::Owned(text), received: true }
    }

    /// The reply code, 200 to 599.
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code.
    pub const fn enhanced(&self) -> Option<EnhancedStatusCode> {
        self.enhanced
    }

    /// The text of each line, without codes. There is at least one line, which may be empty.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|b| *b == b'\n')
    }

    /// The text of all lines in one, for the log.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).replace('\n', " ")
    }

    /// The code and the enhanced status code, for the log.
    pub fn codes(&self) -> String {
        match self.enhanced {
            Some(enhanced) => format!("{} {enhanced}", self.code),
            None => self.code.to_string(),
        }
    }

    /// Returns true for 2yz: completed.
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Returns true for 3yz: more input is expected.
    pub const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Returns true for 250, 251 and 252: what RFC 5321 section 4.3.2 allows as an acceptance of MAIL, RCPT, RSET, or a message.
    pub const fn is_acceptance(&self) -> bool {
        matches!(self.code, 250..=252)
    }

    /// Returns true for 4yz: a transient failure.
    pub const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// Returns true for 5yz: a permanent failure.
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Returns true for a refusal: 4yz or 5yz.
    pub const fn is_refusal(&self) -> bool {
        self.is_transient() || self.is_permanent()
    }

    /// Returns true for a reply of a backend, false for one of Gatepost.
    pub const fn is_received(&self) -> bool {
        self.received
    }

    /// Appends the reply as it goes over the wire, with an ID at the end of its text.
    pub fn write_with_id(&self, id: MailId, out: &mut Vec<u8>) {
        self.write(out);
        out.truncate(out.len() - 2);
        // Writing to a vector can't fail.
        let _ = write!(out, " (id {id})\r\n");
    }

    /// Appends the reply as it goes over the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + ROOM);
        let mut rest = &self.text[..];
        loop {
            let end = memchr(b'\n', rest);
            let digit_at = |place: u16| b'0' + (self.code / place % 10) as u8;
            let separator = if end.is_some() { b'-' } else { b' ' };
            out.extend_from_slice(&[digit_at(100), digit_at(10), digit_at(1), separator]);
            match self.enhanced {
                // The usual case: three digits.
                Some(EnhancedStatusCode(class @ 0..=9, subject @ 0..=9, detail @ 0..=9)) => {
                    let digit = |number: u16| b'0' + number as u8;
                    let text = [digit(class.into()), b'.', digit(subject), b'.', digit(detail), b' '];
                    out.extend_from_slice(&text);
                }
                Some(enhanced) => out.extend_from_slice(format!("{enhanced} ").as_bytes()),
                None => {}
            }
            out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            out.extend_from_slice(b"\r\n");
            let Some(end) = end else { return };
            rest = &rest[end + 1..];
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Formats the reply in one line, for the log.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in self.lines() {
            write!(f, " {}", String::from_utf8_lossy(line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RequestId;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_has_its_codes() {
        const TWO: Reply = Reply::new(214, EnhancedStatusCode(2, 0, 0), "one\ntwo");
        assert_eq!(written(&TWO), "214-2.0.0 one\r\n214 2.0.0 two\r\n");
        assert_eq!(written(&Reply::plain(250, "a\nb\r\0".into())), "250-a\r\n250 b\r\n");
        assert_eq!(written(&Reply::plain(334, String::new())), "334 \r\n");
    }

    #[test]
    fn replies_of_backends_are_repeated() {
        let cases: [(u16, &[&str], &str); 8] = [
            (250, &["2.1.5 Ok"], "250 2.1.5 Ok\r\n"),
            (250, &["Ok"], "250 Ok\r\n"),
            (250, &[], "250 \r\n"),
            (550, &["5.7.1"], "550 5.7.1 \r\n"),
            (550, &["5.7.1 no", "5.7.1 never"], "550-5.7.1 no\r\n550 5.7.1 never\r\n"),
            (550, &["5.7.1 no", "never"], "550-5.7.1 no\r\n550 never\r\n"),
            (550, &["2.7.1 odd"], "550 2.7.1 odd\r\n"),
            (250, &["2.0.0 a\rb\0c", "2.0.0 "], "250-2.0.0 a b c\r\n250 2.0.0 \r\n"),
        ];
        for (code, lines, expected) in cases {
            let reply = Reply::received(code, lines.iter().map(|line| line.as_bytes()));
            assert_eq!(written(&reply), expected);
        }
    }

    #[test]
    fn enhanced_codes_are_three_numbers() {
        assert_eq!(
            EnhancedStatusCode::split(b"4.4.2 lost"),
            Some((EnhancedStatusCode(4, 4, 2), &b"lost"[..]))
        );
        assert_eq!(
            EnhancedStatusCode::split(b"2.100.999"),
            Some((EnhancedStatusCode(2, 100, 999), &b""[..]))
        );
        for line in ["", "3.0.0 x", "2.0 x", "2.0.0.0 x", "2..0 x", "2.0.1000 x", "2.0.0x", "10.0.0 x"] {
            assert_eq!(EnhancedStatusCode::split(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn an_id_ends_the_text() {
        let id = MailId { session: RequestId::from_bits(7), transaction: 2 };
        let mut out = Vec::new();
        Reply::new(550, EnhancedStatusCode(5, 6, 0), "one\ntwo").write_with_id(id, &mut out);
        assert_eq!(out, b"550-5.6.0 one\r\n550 5.6.0 two (id 0000000000000007.2)\r\n");
    }

    #[test]
    fn classes() {
        let reply = |code| Reply::received(code, [&b""[..]]);
        assert!(reply(250).is_positive() && reply(354).is_intermediate());
        assert!(reply(250).is_acceptance() && reply(252).is_acceptance());
        assert!(!reply(221).is_acceptance() && !reply(235).is_acceptance() && !reply(253).is_acceptance());
        assert!(reply(451).is_transient() && reply(550).is_permanent() && !reply(450).is_permanent());
    }
}
