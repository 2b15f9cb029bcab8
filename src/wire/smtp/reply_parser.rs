//! A parser of the replies of backends (RFC 5321 section 4.2).
//!
//! The length of a reply has no limit, since a reply that says that a message was accepted counts, however long its text is.
//! Lines and replies that are too long are cut off: [`surplus`] finds it while the reply is incomplete, so that it need not be stored.

use std::ops::Range;

use memchr::{memchr, memchr2, memrchr};
use thiserror::Error;

use super::Reply;

/// The length at which a line of a reply is cut, in bytes with the code. RFC 5321 section 4.5.3.1.5 allows 512 with CR LF; some
/// servers exceed that.
pub const LONGEST_LINE: usize = 2048;
/// The length from which on the lines of a reply are left out, except for the last one. An EHLO reply of Postfix has about 300
/// bytes.
pub const LONGEST_REPLY: usize = 16 * 1024;

/// The reason why bytes of a backend are not a reply. Whatever the backend sends after them can't be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A line that doesn't start with a code from 200 to 599, and then a blank, a hyphen or the end of the line.
    #[error("a line without a reply code")]
    NoCode,
    /// A line with another code than the line before.
    #[error("a reply with two codes")]
    TwoCodes,
    /// A lone CR or LF, or a NUL.
    #[error("a lone CR or LF, or a NUL")]
    LoneLineEnd,
}

/// Parses the first reply in `bytes`. Returns it with its length in bytes, or `None` while it is incomplete.
///
/// # Errors
/// The bytes can't become a reply, whatever follows them.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut code = None;
    let (mut taken, mut kept) = (0, 0);
    loop {
        let rest = &bytes[taken..];
        let end = memchr(b'\n', rest);
        let line = &rest[..end.map_or(rest.len(), |end| end + 1)];
        let Some((text, last)) = split(line, &mut code)? else { return Ok(None) };
        taken += line.len();
        kept += kept_length(line);
        if !last {
            if kept <= LONGEST_REPLY {
                lines.push(text);
            }
            continue;
        }
        let code = code.map_or(0, |digits: [u8; 3]| {
            digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
        });
        return Ok(Some((Reply::received(code, lines.into_iter().chain([text])), taken)));
    }
}

/// The bytes of an incomplete reply that don't matter any more: the end of a line that is too long, or whole lines. Without
/// them, [`parse`] returns the same reply once it is complete, apart from its length. `None` if all of them matter.
pub fn surplus(bytes: &[u8]) -> Option<Range<usize>> {
    if bytes.len() <= LONGEST_LINE {
        // The usual case.
        return None;
    }
    let last = memrchr(b'\n', bytes).map_or(0, |end| end + 1);
    let (mut begin, mut kept) = (0, 0);
    while begin < last {
        if kept > LONGEST_REPLY {
            // The line that exceeds the limit stays, so that the following ones exceed it as well.
            return Some(begin..last);
        }
        let end = begin + memchr(b'\n', &bytes[begin..])? + 1;
        kept += kept_length(&bytes[begin..end]);
        if end - begin > LONGEST_LINE + 2 {
            return Some(begin + LONGEST_LINE..end - 2);
        }
        begin = end;
    }
    let text_ends = bytes.len() - usize::from(bytes.ends_with(b"\r"));
    (text_ends > last + LONGEST_LINE).then_some(last + LONGEST_LINE..text_ends)
}

/// The length of a line with its line end after it was cut.
const fn kept_length(line: &[u8]) -> usize {
    if line.len() > LONGEST_LINE + 2 { LONGEST_LINE + 2 } else { line.len() }
}

/// Splits a line into its text and whether it is the last one. `None` while it is incomplete, unless it is invalid already.
fn split<'a>(line: &'a [u8], code: &mut Option<[u8; 3]>) -> Result<Option<(&'a [u8], bool)>, ReplyError> {
    let (content, ended) = match line {
        [content @ .., b'\r', b'\n'] => (content, true),
        [.., b'\n'] => return Err(ReplyError::LoneLineEnd),
        [content @ .., b'\r'] => (content, false),
        content => (content, false),
    };
    if memchr2(b'\r', 0, content).is_some() {
        return Err(ReplyError::LoneLineEnd);
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
    let text = content.get(4..content.len().min(LONGEST_LINE)).unwrap_or_default();
    Ok(ended.then_some((text, content.get(3) != Some(&b'-'))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::smtp::extensions::ServiceExtensions;

    fn read(text: &str) -> Result<Option<(String, usize)>, ReplyError> {
        Ok(parse(text.as_bytes())?.map(|(reply, taken)| (reply.to_string(), taken)))
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
    fn invalid_replies_are_errors_at_once() {
        let cases = [
            ("hello\r\n", ReplyError::NoCode),
            ("h", ReplyError::NoCode),
            ("199 x\r\n", ReplyError::NoCode),
            ("600 x\r\n", ReplyError::NoCode),
            ("25x", ReplyError::NoCode),
            ("250x", ReplyError::NoCode),
            ("25\r\n", ReplyError::NoCode),
            ("\r\n", ReplyError::NoCode),
            ("250 a\n", ReplyError::LoneLineEnd),
            ("250 a\rb", ReplyError::LoneLineEnd),
            ("250 a\r\r\n", ReplyError::LoneLineEnd),
            ("250 a\0", ReplyError::LoneLineEnd),
            ("250-a\r\n550 b\r\n", ReplyError::TwoCodes),
            ("250-a\r\n550", ReplyError::TwoCodes),
        ];
        for (text, error) in cases {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
    }

    // Case D14: a reply counts, however long it is
    #[test]
    fn what_is_too_long_of_a_reply_is_cut_off() {
        let text = |length: usize| "x".repeat(length);
        for length in [LONGEST_LINE - 4, LONGEST_LINE - 3, LONGEST_LINE, 1_000_000] {
            let line = format!("250 {}\r\n", text(length));
            let cut = format!("250 {}", text(length.min(LONGEST_LINE - 4)));
            assert_eq!(read(&line), Ok(Some((cut.clone(), line.len()))), "{length}");
            let replies = read_in_pieces(line.as_bytes().chunks(1000));
            assert_eq!((replies.0[0].to_string(), replies.1, replies.2), (cut, None, vec![]), "{length}");
        }
        let reply = format!("{}250 2.0.0 queued\r\n", "250-2.0.0 x\r\n".repeat(100_000));
        let (whole, _) = parse(reply.as_bytes()).unwrap().unwrap();
        assert_eq!(whole.lines().count(), LONGEST_REPLY / 13 + 1);
        assert_eq!(whole.lines().last(), Some(&b"queued"[..]));
        let replies = read_in_pieces(reply.as_bytes().chunks(1000));
        assert_eq!((replies.0, replies.1), (vec![whole], None));
    }

    /// All replies in `pieces`, read as they come.
    fn read_in_pieces<'a>(
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> (Vec<Reply>, Option<ReplyError>, Vec<u8>) {
        let (mut buffer, mut replies) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match parse(&buffer) {
                    Ok(Some((reply, taken))) => {
                        replies.push(reply);
                        buffer.drain(..taken);
                    }
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error), Vec::new()),
                }
            }
            while let Some(surplus) = surplus(&buffer) {
                buffer.drain(surplus);
            }
            assert!(buffer.len() <= LONGEST_REPLY + 2 * LONGEST_LINE + 4);
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
        fn any_split_of_a_long_reply_reads_the_same(
            lengths in prop::collection::vec(prop_oneof![0..20_usize, 2000..2100_usize, 3000..9000_usize], 1..20),
            step in 1..5000_usize,
        ) {
            let mut text = String::new();
            for (at, length) in lengths.iter().enumerate() {
                let separator = if at + 1 == lengths.len() { ' ' } else { '-' };
                text += &format!("250{separator}{}\r\n", "x".repeat(*length));
            }
            let whole = parse(text.as_bytes()).unwrap().unwrap();
            let pieces = read_in_pieces(text.as_bytes().chunks(step));
            prop_assert_eq!(pieces.0, vec![whole.0]);
            prop_assert_eq!(pieces.2, Vec::<u8>::new());
        }

        #[test]
        fn no_bytes_panic_and_a_reply_holds_no_line_end_of_its_own(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((reply, taken))) = parse(&bytes) {
                prop_assert!(taken <= bytes.len());
                let mut written = Vec::new();
                reply.write(&mut written);
                prop_assert_eq!(bytecount(&written, b'\r'), reply.lines().count());
                prop_assert!((200..600).contains(&reply.code()));
                let _ = ServiceExtensions::parse(&reply);
            }
        }
    }

    fn bytecount(bytes: &[u8], byte: u8) -> usize {
        bytes.iter().filter(|b| **b == byte).count()
    }
}
