//! Normalization of paths, so that the path that is judged is the path that is forwarded.

use std::borrow::Cow;
use std::ops::Range;

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

/// Normalizes a raw path: the form that is judged and forwarded. It is the client's, byte for byte, with two exceptions:
///
/// - Dot segments are removed (RFC 3986 section 5.2.4), encoded ones as well. `//` stays.
/// - Bytes that a path may not contain (RFC 3986 section 3.3) are percent-encoded.
///
/// A path that is normalized already is returned without allocation. The result is ASCII, begins with `/`, and normalizes to
/// itself. What backends make of it: see [`Readings`](super::readings::Readings).
///
/// # Errors
/// [`PathError`], a 400, for a path that begins with another character, and for an unencoded blank, control character, `?` or `#`.
pub fn normalize(raw: &[u8]) -> Result<Cow<'_, str>, PathError> {
    if raw.first() != Some(&b'/') {
        return Err(PathError::NotAPath);
    }
    if raw.iter().any(|byte| matches!(byte, 0..=b' ' | b'?' | b'#' | 0x7f)) {
        return Err(PathError::Character);
    }
    let path = encode(raw);
    if !path.split('/').any(is_dot_segment) {
        return Ok(path);
    }
    let mut kept = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match dots(segment.as_bytes()) {
            None => {
                kept.push('/');
                kept.push_str(segment);
                continue;
            }
            Some(1) => {}
            Some(_) => kept.truncate(kept.rfind('/').unwrap_or(0)),
        }
        if is_last {
            kept.push('/');
        }
    }
    Ok(Cow::Owned(kept))
}

/// Percent-encodes the bytes that neither a path nor a query may contain (RFC 3986 sections 3.3 and 3.4), except controls and
/// blanks. Everything else stays, also a `%` without digits.
///
/// # Errors
/// [`PathError::Character`] for an unencoded blank, control character or `#`.
pub fn encode_query(raw: &[u8]) -> Result<Cow<'_, [u8]>, PathError> {
    if raw.iter().all(|byte| may_stand(*byte)) {
        return Ok(Cow::Borrowed(raw));
    }
    if raw.iter().any(|byte| matches!(byte, 0..=b' ' | b'#' | 0x7f)) {
        return Err(PathError::Character);
    }
    Ok(Cow::Owned(encode(raw).into_owned().into_bytes()))
}

/// `raw`, which has neither controls nor blanks, with the other bytes encoded that a target may not contain.
fn encode(raw: &[u8]) -> Cow<'_, str> {
    if raw.iter().all(|byte| may_stand(*byte))
        && let Ok(text) = std::str::from_utf8(raw)
    {
        return Cow::Borrowed(text);
    }
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(raw.len() + 16);
    for byte in raw {
        if may_stand(*byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(text)
}

/// Returns true for the characters of a target as it is forwarded, except `#`.
fn may_stand(byte: u8) -> bool {
    // A table, because this is called for each byte of each request's query.
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = b'!' as usize;
        while byte < 127 {
            table[byte] =
                !matches!(byte as u8, b'"' | b'#' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'\\' | b'^');
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// The number of dots of a dot segment, encoded or not.
pub(super) fn dots(segment: &[u8]) -> Option<usize> {
    let mut rest = segment;
    let mut count = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] if count < 2 => rest,
            _ => return None,
        };
        count += 1;
    }
    (count > 0).then_some(count)
}

fn is_dot_segment(segment: &str) -> bool {
    segment.starts_with(['.', '%']) && dots(segment.as_bytes()).is_some()
}

/// Returns true if a path has nothing unusual in it, so that it has one reading, as most have: no escape, no separator that some
/// servers know, no empty or dot segment, no blank or dot at the end of a segment, no script's name in the middle.
pub fn is_ordinary(raw: &[u8]) -> bool {
    let mut previous = 0;
    let mut segment = 0;
    let mut dotted = false;
    for (at, &byte) in raw.iter().enumerate() {
        match byte {
            b'/' => {
                if matches!(previous, b'/' | b'.') || dotted && is_script(raw, segment..at) {
                    return false;
                }
                (segment, dotted) = (at + 1, false);
            }
            b'.' if previous == b'/' => return false,
            b'.' => dotted = true,
            // It could end a scheme.
            b':' if segment <= 1 => return false,
            _ if !is_literal(byte) => return false,
            _ => {}
        }
        previous = byte;
    }
    previous != b'.' && raw.first() == Some(&b'/')
}

/// Returns true for the name of a file that servers run, as in `/index.php/users`. `segment` is its range in the path. Some
/// extensions are also those of other names (`discord.py`, `example.pl`). They count only where such a file most often is: in the
/// first segment, and behind `cgi-bin`.
pub(super) fn is_script(path: &[u8], segment: Range<usize>) -> bool {
    const EXTENSIONS: [&[u8]; 18] = [
        b"php", b"php3", b"php4", b"php5", b"php7", b"php8", b"phtml", b"phar", b"cgi", b"fcgi", b"fpl",
        b"asp", b"aspx", b"ashx", b"asmx", b"jsp", b"jspx", b"cfm",
    ];
    const COMMON: [&[u8]; 8] = [b"pl", b"py", b"wsgi", b"rb", b"lua", b"do", b"exe", b"dll"];
    const DIRECTORY: &[u8] = b"/cgi-bin/";
    let (before, name) = (&path[..segment.start], &path[segment]);
    let Some(dot) = memchr::memrchr(b'.', name) else { return false };
    let extension = &name[dot + 1..];
    let is_one_of = |known: &[&[u8]]| known.iter().any(|known| extension.eq_ignore_ascii_case(known));
    let start_of_directory = before.len().saturating_sub(DIRECTORY.len());
    let is_common_place =
        || before.len() <= 1 || before[start_of_directory..].eq_ignore_ascii_case(DIRECTORY);
    // An address as `jan@example.pl` is no script.
    !name.contains(&b'@') && (is_one_of(&EXTENSIONS) || is_one_of(&COMMON) && is_common_place())
}

/// The ranges of the segments of a path that are scripts and that a slash follows.
pub(super) fn scripts(path: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let segments = memchr::memchr_iter(b'/', path).map(move |end| {
        let segment = start..end;
        start = end + 1;
        segment
    });
    segments.filter(|segment| is_script(path, segment.clone()))
}

/// Decodes the escapes of unreserved characters, which are equivalent to the characters (RFC 3986 section 6.2.2.2).
pub fn unreserved(path: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return Cow::Borrowed(path);
    }
    let mut pieces = path.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = |at: usize| piece.as_bytes().get(at).copied().and_then(hex);
        match digits(0).zip(digits(1)).map(|(high, low)| high << 4 | low) {
            Some(byte) if is_unreserved(byte) => {
                text.push(char::from(byte));
                text.push_str(&piece[2..]);
            }
            _ => {
                text.push('%');
                text.push_str(piece);
            }
        }
    }
    Cow::Owned(text)
}

/// Returns true for unreserved characters (RFC 3986 section 2.3).
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Returns true for characters that a segment may contain unescaped (RFC 3986 section 3.3), except `;` and `&`.
fn is_literal(byte: u8) -> bool {
    // A table, because this is called for each byte of each request's path.
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            table[byte as usize] = is_unreserved(byte)
                || matches!(
                    byte,
                    b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@'
                );
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// The reason why a target is refused, with the text for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// The path does not begin with `/`.
    #[error("Invalid request target: it must be a path that begins with `/`, or an http URL")]
    NotAPath,
    /// A control character, a blank or a `#` that is not percent-encoded.
    #[error("Invalid request target: a blank, a control character and `#` must be percent-encoded")]
    Character,
}

#[cfg(test)]
mod tests;
