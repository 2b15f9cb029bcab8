//! Normalization of paths, so that the path that is judged is the path that is forwarded.

use std::borrow::Cow;

use thiserror::Error;

use crate::wire::percent::hex;

/// A request target, split into path and query (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTarget<'a> {
    /// The raw path, not normalized; `/` if an absolute target has none.
    pub path: &'a [u8],
    /// The raw query without its `?`.
    pub query: Option<&'a [u8]>,
}

impl<'a> RequestTarget<'a> {
    /// Splits a target in origin form (`/path?query`) or absolute form (`http://host/path?query`).
    ///
    /// # Errors
    /// [`PathError::NotAPath`] for any other form: `*`, `host:port`, another scheme. [`PathError::Character`] for a fragment.
    pub fn split(target: &'a [u8]) -> Result<RequestTarget<'a>, PathError> {
        if target.contains(&b'#') {
            return Err(PathError::Character);
        }
        let end_of_path = memchr::memchr(b'?', target).unwrap_or(target.len());
        let query = target.get(end_of_path + 1..);
        let before = &target[..end_of_path];
        if before.first() == Some(&b'/') {
            return Ok(RequestTarget { path: before, query });
        }
        let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
            before.len() > scheme.len() && before[..scheme.len()].eq_ignore_ascii_case(scheme)
        });
        let authority_and_path = &before[scheme.ok_or(PathError::NotAPath)?.len()..];
        match memchr::memchr(b'/', authority_and_path) {
            Some(0) => Err(PathError::NotAPath),
            Some(at) => Ok(RequestTarget { path: &authority_and_path[at..], query }),
            None => Ok(RequestTarget { path: b"/", query }),
        }
    }
}

/// Normalizes a raw path. Each path has one normalized spelling, which is judged and forwarded.
///
/// - Percent-encoded letters, digits and `-._~` are decoded (RFC 3986 section 6.2.2.2). Other escapes stay, with digits in
///   upper case. A character that needs an escape and has none gets one.
/// - Dot segments are removed after decoding (RFC 3986 section 5.2.4); `//` becomes `/`.
/// - Case is kept. Backends may ignore it, and a trailing `/` as well: see [`RoutePattern`](super::route::RoutePattern).
///
/// A path that is normalized already is returned without allocation. The result is ASCII, begins with `/`, and normalizes to
/// itself.
///
/// # Errors
/// [`PathError`], a 400, for what a lenient backend could read as another path. That is an encoded slash, either backslash, a
/// control character, bytes that aren't UTF-8, or a broken or double escape (`%252e`). It is also a parameter (`;`, encoded as
/// well), or a segment that ends in a dot or a space.
pub fn normalize(raw: &[u8]) -> Result<Cow<'_, str>, PathError> {
    if raw.first() != Some(&b'/') {
        return Err(PathError::NotAPath);
    }
    if is_normalized(raw)
        && let Ok(path) = std::str::from_utf8(raw)
    {
        return Ok(Cow::Borrowed(path));
    }
    let mut path = String::with_capacity(raw.len() + 8);
    let mut segments = raw[1..].split(|b| *b == b'/').peekable();
    let mut plain = PathSegment::default();
    while let Some(raw) = segments.next() {
        let is_last = segments.peek().is_none();
        plain.read(raw)?;
        match &plain.decoded[..] {
            b"" | b"." => {}
            b".." => path.truncate(path.rfind('/').unwrap_or(0)),
            _ => {
                plain.check()?;
                path.push('/');
                path.push_str(&plain.text);
                continue;
            }
        }
        if is_last {
            path.push('/');
        }
    }
    Ok(Cow::Owned(path))
}

/// A segment that is being normalized.
#[derive(Default)]
struct PathSegment {
    decoded: Vec<u8>,
    text: String,
}

impl PathSegment {
    fn read(&mut self, raw: &[u8]) -> Result<(), PathError> {
        self.decoded.clear();
        self.text.clear();
        let mut bytes = raw.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let digits = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                let (Some(high), Some(low)) = digits else { return Err(PathError::Escape) };
                self.push(high << 4 | low, is_unreserved)?;
            } else if matches!(byte, b'?' | b'#' | b' ') {
                return Err(PathError::Character);
            } else {
                self.push(byte, is_literal)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, byte: u8, stays: fn(u8) -> bool) -> Result<(), PathError> {
        if byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b';') {
            return Err(PathError::Character);
        }
        self.decoded.push(byte);
        if stays(byte) {
            self.text.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            self.text.push('%');
            self.text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            self.text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Ok(())
    }

    /// Checks a complete segment, because its escapes may be combined from several bytes.
    fn check(&self) -> Result<(), PathError> {
        if std::str::from_utf8(&self.decoded).is_err() {
            return Err(PathError::NotText);
        }
        // A backend that decodes before it searches for the query ends the segment, and the path, there.
        let mut ends = self.decoded.split(|b| matches!(b, b'?' | b'#'));
        if ends.next().is_some_and(ends_loosely) || ends_loosely(&self.decoded) {
            return Err(PathError::TrailingDot);
        }
        let is_escape = |after: &[u8]| {
            let digits = |text: &[u8], n| text.len() >= n && text[..n].iter().all(u8::is_ascii_hexdigit);
            // The second form, %u002E, is specific to IIS.
            digits(after, 2) || after.first().is_some_and(|b| b | 32 == b'u') && digits(&after[1..], 4)
        };
        if self.text.split("%25").skip(1).any(|after| is_escape(after.as_bytes())) {
            return Err(PathError::Escape);
        }
        Ok(())
    }
}

/// Returns true for an end that Windows drops from a name.
fn ends_loosely(segment: &[u8]) -> bool {
    segment.ends_with(b".") || segment.ends_with(b" ")
}

/// Returns true if the path is normalized already, as most are.
fn is_normalized(raw: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in raw {
        let starts_badly = previous == b'/' && matches!(byte, b'/' | b'.');
        let ends_badly = previous == b'.' && byte == b'/';
        if starts_badly || ends_badly || !(byte == b'/' || is_literal(byte)) {
            return false;
        }
        previous = byte;
    }
    previous != b'.'
}

/// Returns true for unreserved characters (RFC 3986 section 2.3).
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Returns true for characters that a segment may contain unescaped (RFC 3986 section 3.3), except `;`.
fn is_literal(byte: u8) -> bool {
    // A table, because this is called for each byte of each request's path.
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            table[byte as usize] = is_unreserved(byte)
                || matches!(
                    byte,
                    b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@'
                );
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// The reason why a path is refused, with the text for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// The path does not begin with `/`.
    #[error("the request target must be a path")]
    NotAPath,
    /// A control character, a backslash, a `;`, `?` or `#`, or an encoded `/`.
    #[error("the path contains a character that is not allowed")]
    Character,
    /// A `%` without two hexadecimal digits, or an escape that is itself escaped.
    #[error("the path contains an invalid percent-encoding")]
    Escape,
    /// Not UTF-8.
    #[error("the path must be UTF-8 text")]
    NotText,
    /// A segment that ends in a dot or a space, or does so before an encoded `?` or `#`.
    #[error("a segment of the path ends in a dot or a space")]
    TrailingDot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalized_paths() {
        let cases = [
            ("/", "/"),
            ("//", "/"),
            ("/a//b///", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/../../a", "/a"),
            ("/..", "/"),
            ("/%2e/%2E%2e/.%2e/a", "/a"),
            ("/a//../b", "/b"),
            ("/api/mail%2esend%2Ejson", "/api/mail.send.json"),
            ("/%61pi/%6D%61il.send.json", "/api/mail.send.json"),
            ("/a%3ab%2b%40", "/a%3Ab%2B%40"),
            ("/a:b+@!$&'()*,=", "/a:b+@!$&'()*,="),
            ("/%c3%bc", "/%C3%BC"),
            ("/\u{fc}{}|\"<>^`", "/%C3%BC%7B%7D%7C%22%3C%3E%5E%60"),
            ("/a%20b", "/a%20b"),
            ("/100%25", "/100%25"),
            ("/100%25/ab", "/100%25/ab"),
            ("/5%25up", "/5%25up"),
            ("/.well-known/...x/x..y", "/.well-known/...x/x..y"),
            ("/a%3fb%23", "/a%3Fb%23"),
        ];
        for (raw, plain) in cases {
            assert_eq!(normalize(raw.as_bytes()).as_deref(), Ok(plain), "{raw}");
        }
    }

    #[test]
    fn normalized_paths_are_borrowed() {
        for path in ["/", "/api/mail.send.json", "/v3/a-b_c~d/", "/a:b@c"] {
            assert!(matches!(normalize(path.as_bytes()), Ok(Cow::Borrowed(same)) if same == path), "{path}");
        }
    }

    #[test]
    fn refused() {
        use PathError::*;
        let cases: [(&[u8], PathError); 36] = [
            (b"", NotAPath),
            (b"*", NotAPath),
            (b"a/b", NotAPath),
            (b"http://h/a", NotAPath),
            (b"/a%2Fb", Character),
            (b"/a%2f..%2fb", Character),
            (b"/a\\b", Character),
            (b"/a%5cb", Character),
            (b"/a%00", Character),
            (b"/a\0", Character),
            (b"/a%0d%0a", Character),
            (b"/a\tb", Character),
            (b"/a%7f", Character),
            (b"/a b", Character),
            (b"/a;b", Character),
            (b"/a%3Bb", Character),
            (b"/a?b", Character),
            (b"/a#b", Character),
            (b"/a%", Escape),
            (b"/a%4", Escape),
            (b"/a%zz", Escape),
            (b"/a%u002e", Escape),
            (b"/a%252eb", Escape),
            (b"/a%25%32%65b", Escape),
            (b"/a%25252e", Escape),
            (b"/a%25u002e", Escape),
            (b"/%ff", NotText),
            (b"/\xff", NotText),
            (b"/%c0%ae%c0%ae/", NotText),
            (b"/%ed%a0%80", NotText),
            (b"/a./b", TrailingDot),
            (b"/a/...", TrailingDot),
            (b"/a%20", TrailingDot),
            (b"/a/..%3f", TrailingDot),
            (b"/a/.%23/b", TrailingDot),
            (b"/a%20%3Fb", TrailingDot),
        ];
        for (raw, expected) in cases {
            assert_eq!(normalize(raw), Err(expected), "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn targets() {
        let cases: [(&str, &str, Option<&str>); 7] = [
            ("/a?b?c", "/a", Some("b?c")),
            ("/a", "/a", None),
            ("/?", "/", Some("")),
            ("http://h:1/a?b", "/a", Some("b")),
            ("HTTPS://h/a//b", "/a//b", None),
            ("http://h?b/c", "/", Some("b/c")),
            ("//h/a", "//h/a", None),
        ];
        for (target, path, query) in cases {
            let expected = RequestTarget { path: path.as_bytes(), query: query.map(str::as_bytes) };
            assert_eq!(RequestTarget::split(target.as_bytes()), Ok(expected), "{target}");
        }
        for target in ["", "*", "host:443", "ftp://h/a", "http:///a", "http://", "a"] {
            assert_eq!(RequestTarget::split(target.as_bytes()), Err(PathError::NotAPath), "{target}");
        }
        assert_eq!(RequestTarget::split(b"/a#b"), Err(PathError::Character));
    }
}
