//! What a backend says to us as its client: replies out of bytes, and what it can do out of its answer to EHLO.

use memchr::{memchr, memchr2};
use thiserror::Error;

use super::Reply;

/// The longest line of a reply in bytes, with its CR LF. RFC 5321, 4.5.3.1.5, allows 512; some write longer ones.
pub const LONGEST_LINE: usize = 2048;
/// The longest reply in bytes. An EHLO answer of Postfix has some 300.
pub const LONGEST_REPLY: usize = 16 * 1024;

/// Why bytes of a backend are no reply. After this, nothing that it sends can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A line that doesn't begin with a code from 200 to 599 and then a blank, a hyphen or its end.
    #[error("a line without a reply code")]
    NoCode,
    /// A line with another code than the line before it.
    #[error("a reply with two codes")]
    TwoCodes,
    /// A CR without LF, an LF without CR, or a NUL.
    #[error("a stray CR, LF or NUL")]
    Stray,
    /// A line over [`LONGEST_LINE`], or a reply over [`LONGEST_REPLY`].
    #[error("a reply that is too long")]
    TooLong,
}

/// The first reply in `bytes` and how many of them it takes; `None` where its end isn't there yet.
///
/// # Errors
/// Where the bytes can't become a reply, whatever follows them.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut code = None;
    let mut taken = 0;
    loop {
        let rest = &bytes[taken..];
        let end = memchr(b'\n', rest);
        let line = &rest[..end.map_or(rest.len(), |end| end + 1)];
        if line.len() > LONGEST_LINE || taken + line.len() > LONGEST_REPLY {
            return Err(ReplyError::TooLong);
        }
        let Some((text, last)) = split(line, &mut code)? else { return Ok(None) };
        taken += line.len();
        if !last {
            lines.push(text);
            continue;
        }
        let code = code.map_or(0, |digits: [u8; 3]| {
            digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
        });
        return Ok(Some((Reply::received(code, lines.into_iter().chain([text])), taken)));
    }
}

/// A line's text, and whether it is the last one; `None` where its end isn't there yet. What can be judged of an
/// unfinished line is judged.
fn split<'a>(line: &'a [u8], code: &mut Option<[u8; 3]>) -> Result<Option<(&'a [u8], bool)>, ReplyError> {
    let (content, ended) = match line {
        [content @ .., b'\r', b'\n'] => (content, true),
        [.., b'\n'] => return Err(ReplyError::Stray),
        [content @ .., b'\r'] => (content, false),
        content => (content, false),
    };
    if memchr2(b'\r', 0, content).is_some() {
        return Err(ReplyError::Stray);
    }
    let complete = ended || line.len() > content.len();
    let own = match *content {
        [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9']
        | [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ' | b'-', ..] => [a, b, c],
        [] | [b'2'..=b'5'] | [b'2'..=b'5', b'0'..=b'9'] if !complete => return Ok(None),
        _ => return Err(ReplyError::NoCode),
    };
    if *code.get_or_insert(own) != own {
        return Err(ReplyError::TwoCodes);
    }
    let text = content.get(4..).unwrap_or_default();
    Ok(ended.then_some((text, content.get(3) != Some(&b'-'))))
}

/// What a server can do for those who submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// `SIZE` (RFC 1870): the longest message in bytes, 0 where there is no fixed bound; `None` where it isn't offered.
    pub size: Option<u64>,
    /// `PIPELINING` (RFC 2920).
    pub pipelining: bool,
    /// `8BITMIME` (RFC 6152).
    pub eight_bit_mime: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub smtp_utf8: bool,
    /// `CHUNKING` (RFC 3030).
    pub chunking: bool,
    /// `DSN` (RFC 3461).
    pub dsn: bool,
    /// `ENHANCEDSTATUSCODES` (RFC 2034).
    pub enhanced_status_codes: bool,
}

impl Capabilities {
    /// Whether a server that can do this can do all of `needs`, and doesn't refuse a message for being that long.
    pub fn cover(self, needs: Capabilities) -> bool {
        let limit = self.size.filter(|limit| *limit > 0);
        let size = needs.size.zip(limit).is_none_or(|(size, limit)| size <= limit);
        let has = |offered: bool, needed: bool| offered || !needed;
        size && has(self.pipelining, needs.pipelining)
            && has(self.eight_bit_mime, needs.eight_bit_mime)
            && has(self.smtp_utf8, needs.smtp_utf8)
            && has(self.chunking, needs.chunking)
            && has(self.dsn, needs.dsn)
            && has(self.enhanced_status_codes, needs.enhanced_status_codes)
    }

    /// What it takes for both; the larger size.
    pub fn either(self, other: Capabilities) -> Capabilities {
        Capabilities {
            size: self.size.max(other.size),
            pipelining: self.pipelining || other.pipelining,
            eight_bit_mime: self.eight_bit_mime || other.eight_bit_mime,
            smtp_utf8: self.smtp_utf8 || other.smtp_utf8,
            chunking: self.chunking || other.chunking,
            dsn: self.dsn || other.dsn,
            enhanced_status_codes: self.enhanced_status_codes || other.enhanced_status_codes,
        }
    }

    /// What both can do; the smaller size.
    pub fn both(self, other: Capabilities) -> Capabilities {
        let size = match (self.size, other.size) {
            (Some(0), size) | (size, Some(0)) => size,
            (Some(one), Some(other)) => Some(one.min(other)),
            _ => None,
        };
        Capabilities {
            size,
            pipelining: self.pipelining && other.pipelining,
            eight_bit_mime: self.eight_bit_mime && other.eight_bit_mime,
            smtp_utf8: self.smtp_utf8 && other.smtp_utf8,
            chunking: self.chunking && other.chunking,
            dsn: self.dsn && other.dsn,
            enhanced_status_codes: self.enhanced_status_codes && other.enhanced_status_codes,
        }
    }
}

/// The attributes of `XCLIENT` that a backend takes (Postfix, XCLIENT_README).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct XclientAttributes {
    /// The client's IP address.
    pub addr: bool,
    /// The client's host name.
    pub name: bool,
    /// `SMTP` or `ESMTP`.
    pub proto: bool,
    /// What the client said in EHLO or HELO.
    pub helo: bool,
    /// The login.
    pub login: bool,
}

/// All that matters of a backend's answer to EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ServiceExtensions {
    /// What those who submit can use.
    pub capabilities: Capabilities,
    /// `STARTTLS`.
    pub starttls: bool,
    /// `AUTH PLAIN`.
    pub auth_plain: bool,
    /// `AUTH LOGIN`.
    pub auth_login: bool,
    /// `XCLIENT`, with any attribute.
    pub xclient: Option<XclientAttributes>,
}

impl ServiceExtensions {
    /// Reads the answer to EHLO: its first line is the server's name, each other one is an extension. What isn't known,
    /// or isn't as its RFC has it, isn't offered.
    pub fn read(answer: &Reply) -> ServiceExtensions {
        let mut offer = ServiceExtensions::default();
        // A reply whose every line begins with an enhanced code is no answer to EHLO that anybody gives.
        for line in answer.lines().skip(1) {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            offer.note(keyword, words);
        }
        offer
    }

    fn note<'a>(&mut self, keyword: &'a str, mut words: impl Iterator<Item = &'a str>) {
        let capabilities = &mut self.capabilities;
        match keyword {
            "SIZE" => capabilities.size = words.next().map_or(Some(0), |size| size.parse().ok()),
            "PIPELINING" => capabilities.pipelining = true,
            "8BITMIME" => capabilities.eight_bit_mime = true,
            "SMTPUTF8" => capabilities.smtp_utf8 = true,
            "CHUNKING" => capabilities.chunking = true,
            "DSN" => capabilities.dsn = true,
            "ENHANCEDSTATUSCODES" => capabilities.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => words.for_each(|mechanism| self.note_mechanism(mechanism)),
            "XCLIENT" => {
                let xclient = self.xclient.get_or_insert_default();
                for attribute in words {
                    match attribute {
                        "ADDR" => xclient.addr = true,
                        "NAME" => xclient.name = true,
                        "PROTO" => xclient.proto = true,
                        "HELO" => xclient.helo = true,
                        "LOGIN" => xclient.login = true,
                        _ => {}
                    }
                }
            }
            // Old servers write AUTH=LOGIN PLAIN as well.
            _ => {
                if let Some(first) = keyword.strip_prefix("AUTH=") {
                    self.note_mechanism(first);
                    words.for_each(|mechanism| self.note_mechanism(mechanism));
                }
            }
        }
    }

    fn note_mechanism(&mut self, mechanism: &str) {
        match mechanism {
            "PLAIN" => self.auth_plain = true,
            "LOGIN" => self.auth_login = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Option<(String, usize)>, ReplyError> {
        Ok(reply(text.as_bytes())?.map(|(reply, taken)| (reply.to_string(), taken)))
    }

    #[test]
    fn replies_are_read_one_by_one() {
        assert_eq!(read("250 Ok\r\n354 go\r\n"), Ok(Some(("250 Ok".into(), 8))));
        assert_eq!(read("250\r\n"), Ok(Some(("250 ".into(), 5))));
        assert_eq!(read("250-a\r\n250-\r\n250 b\r\n"), Ok(Some(("250 a  b".into(), 20))));
        assert_eq!(read("550-5.7.1 no\r\n550 5.7.1 way\r\n"), Ok(Some(("550 5.7.1 no way".into(), 29))));
        for part in
            ["", "2", "25", "250", "250 ", "250 Ok", "250 Ok\r", "250-a\r\n", "250-a\r\n250 b\r", "250\r"]
        {
            assert_eq!(read(part), Ok(None), "{part:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error_at_once() {
        let cases = [
            ("hello\r\n", ReplyError::NoCode),
            ("h", ReplyError::NoCode),
            ("199 x\r\n", ReplyError::NoCode),
            ("600 x\r\n", ReplyError::NoCode),
            ("25x", ReplyError::NoCode),
            ("250x", ReplyError::NoCode),
            ("25\r\n", ReplyError::NoCode),
            ("\r\n", ReplyError::NoCode),
            ("250 a\n", ReplyError::Stray),
            ("250 a\rb", ReplyError::Stray),
            ("250 a\r\r\n", ReplyError::Stray),
            ("250 a\0", ReplyError::Stray),
            ("250-a\r\n550 b\r\n", ReplyError::TwoCodes),
            ("250-a\r\n550", ReplyError::TwoCodes),
        ];
        for (text, error) in cases {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
        assert_eq!(read(&format!("250 {}", "x".repeat(LONGEST_LINE))), Err(ReplyError::TooLong));
        assert_eq!(read(&"250-x\r\n".repeat(LONGEST_REPLY / 7 + 1)), Err(ReplyError::TooLong));
    }

    #[test]
    fn offers_are_read() {
        let text = "250-mail.test at your service\r\n250-PIPELINING\r\n250-size 1000\r\n250-AUTH PLAIN CRAM-MD5\r\n\
                    250-AUTH=LOGIN\r\n250-XCLIENT NAME ADDR LOGIN\r\n250-STARTTLS\r\n250-\r\n250 DSN\r\n";
        let (answer, _) = reply(text.as_bytes()).unwrap().unwrap();
        let offer = ServiceExtensions::read(&answer);
        let capabilities =
            Capabilities { size: Some(1000), pipelining: true, dsn: true, ..Capabilities::default() };
        let xclient =
            XclientAttributes { name: true, addr: true, login: true, ..XclientAttributes::default() };
        assert_eq!(
            offer,
            ServiceExtensions {
                capabilities,
                starttls: true,
                auth_plain: true,
                auth_login: true,
                xclient: Some(xclient)
            }
        );
    }

    #[test]
    fn a_name_that_looks_like_an_extension_is_a_name() {
        let (answer, _) = reply(b"250-CHUNKING\r\n250 SIZE\r\n").unwrap().unwrap();
        let offer = ServiceExtensions::read(&answer);
        assert!(!offer.capabilities.chunking);
        assert_eq!(offer.capabilities.size, Some(0));
    }

    #[test]
    fn the_smaller_size_counts_and_none_where_one_has_none() {
        let with = |size| Capabilities { size, chunking: true, ..Capabilities::default() };
        let both = |one, other| with(one).both(with(other)).size;
        assert_eq!(both(Some(10), Some(20)), Some(10));
        assert_eq!(both(Some(0), Some(20)), Some(20));
        assert_eq!(both(Some(10), Some(0)), Some(10));
        assert_eq!(both(Some(0), Some(0)), Some(0));
        assert_eq!(both(None, Some(20)), None);
        assert!(with(None).both(with(None)).chunking);
        assert!(!with(None).both(Capabilities::default()).chunking);
    }

    /// All replies in `pieces`, read as they come.
    fn read_in_pieces<'a>(
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> (Vec<Reply>, Option<ReplyError>, Vec<u8>) {
        let (mut buffer, mut replies) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match reply(&buffer) {
                    Ok(Some((reply, taken))) => {
                        replies.push(reply);
                        buffer.drain(..taken);
                    }
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error), Vec::new()),
                }
            }
        }
        (replies, None, buffer)
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(
            text in "((2[0-9]{2}|354|[0-9]{3})(-[ -~]{0,9}|[ -~]{0,9})?(\r\n|\r\n|\r\n|\n|\r|\0))*",
            step in 1..9_usize,
        ) {
            let whole = read_in_pieces(std::iter::once(text.as_bytes()));
            let pieces = read_in_pieces(text.as_bytes().chunks(step));
            prop_assert_eq!(whole.0, pieces.0);
            prop_assert_eq!(whole.1.is_some(), pieces.1.is_some());
            prop_assert_eq!(whole.2, pieces.2);
        }

        #[test]
        fn no_bytes_panic_and_a_reply_holds_no_line_end_of_its_own(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((reply, taken))) = reply(&bytes) {
                prop_assert!(taken <= bytes.len());
                let mut written = Vec::new();
                reply.write(&mut written);
                prop_assert_eq!(bytecount(&written, b'\r'), reply.lines().count());
                prop_assert!((200..600).contains(&reply.code()));
                let _ = ServiceExtensions::read(&reply);
            }
        }
    }

    fn bytecount(bytes: &[u8], byte: u8) -> usize {
        bytes.iter().filter(|b| **b == byte).count()
    }
}
