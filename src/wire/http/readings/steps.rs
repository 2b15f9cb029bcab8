//! The steps from one reading of a path to the next: each is what some servers do with a path before they look it up.
//!
//! A step returns `None` where it changes nothing. All are linear in the path.

use std::borrow::Cow;

use super::super::path::{dots, scripts};
use super::super::pattern_segment::decoded;
use crate::wire::percent::hex;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The client's own path, before dot segments were removed.
    Unresolved,
    /// Each `%HH` is a byte. nginx, Apache, PHP and most others; twice behind nginx with `proxy_pass http://app$uri`.
    Decode,
    /// Each `%uHHHH` is a character. Jetty 9.4, JavaScript's `unescape`.
    WideEscape,
    /// An overlong sequence is its ASCII character.
    Overlong,
    /// Bytes that aren't UTF-8 are dropped. Bottle.
    DropInvalid,
    /// `\` is `/`. Node's `new URL`, Sinatra, Windows.
    Backslash,
    /// A run of `/` is one. nginx, Apache, lighttpd, Tomcat, Sinatra.
    MergeSlashes,
    /// A run of `/` at the start is one. Flask, gunicorn, WEBrick.
    MergeFirst,
    /// Dot segments are removed; `..` above the root is dropped.
    Dots,
    /// The first dot segment is removed. A server that drops the end of a path may keep the others in it.
    FirstDots,
    /// All dot segments are removed, with `%2e` for a dot. Node's `new URL`.
    EncodedDots,
    /// Segments end at `;`. Tomcat, Jetty, Spring.
    Parameters,
    /// The path ends at `;`. Fastify 4.
    ParameterCut,
    /// The path ends at `?`. An application behind nginx with `$uri`.
    Query,
    /// The path ends at `#`.
    Fragment,
    /// The path ends at `&`. A path that is rewritten into a parameter of a query.
    Ampersand,
    /// The path ends at NUL.
    Nul,
    /// Blanks and controls at both ends are dropped. PHP's `trim`.
    Trim,
    /// A line feed at the end is dropped. Starlette, and other users of `$` in an expression.
    TrimLine,
    /// Tabs, line feeds and carriage returns are dropped everywhere. The WHATWG's URL parser (`new URL`), Python's `urlsplit`.
    Breaks,
    /// Form feeds are dropped everywhere.
    FormFeed,
    /// Dots and blanks at the end of segments are dropped. Windows.
    LooseEnds,
    /// `//host/path` is `/path`. PHP's `parse_url`, Python's `urlsplit`, Node's `new URL`.
    Authority,
    /// `/scheme:/path` is `/path`.
    Scheme,
    /// `/index.php/path` is `/path`. PHP frameworks and CGI.
    ScriptName,
    /// `ſ`, `K`, `ı` and `İ` are the letters that they become by case folding.
    UnicodeFold,
}

/// The steps that change which path it is. `ScriptName` is apart, since it has several results.
pub(super) const STRUCTURAL: [Step; 23] = [
    Step::Decode,
    Step::WideEscape,
    Step::Overlong,
    Step::DropInvalid,
    Step::Backslash,
    Step::MergeSlashes,
    Step::MergeFirst,
    Step::Dots,
    Step::FirstDots,
    Step::EncodedDots,
    Step::Parameters,
    Step::ParameterCut,
    Step::Query,
    Step::Fragment,
    Step::Ampersand,
    Step::Nul,
    Step::Trim,
    Step::TrimLine,
    Step::Breaks,
    Step::FormFeed,
    Step::LooseEnds,
    Step::Authority,
    Step::Scheme,
];

impl Step {
    /// The path after this step.
    pub(super) fn take(self, path: &[u8]) -> Option<Vec<u8>> {
        match self {
            Step::Unresolved | Step::ScriptName => None,
            Step::Decode => owned(decoded(path)),
            Step::WideEscape => wide_escapes(path),
            Step::Overlong => overlong(path),
            Step::DropInvalid => valid(path),
            Step::Backslash => {
                let slashed = || path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
                path.contains(&b'\\').then(slashed)
            }
            Step::MergeSlashes => memchr::memmem::find(path, b"//").map(|_| {
                let mut merged = path.to_vec();
                merged.dedup_by(|one, other| *one == b'/' && *other == b'/');
                merged
            }),
            Step::MergeFirst => {
                path.starts_with(b"//").then(|| from_last_of_the_first_slashes(path).to_vec())
            }
            Step::Dots => without_dots(path, |segment| match segment {
                b"." => Some(1),
                b".." => Some(2),
                _ => None,
            }),
            Step::FirstDots => without_first_dots(path),
            Step::EncodedDots => without_dots(path, dots),
            Step::Parameters => by_segment(path, b';', |segment| {
                &segment[..memchr::memchr(b';', segment).unwrap_or(segment.len())]
            }),
            Step::ParameterCut => cut(path, b';'),
            Step::Query => cut(path, b'?'),
            Step::Fragment => cut(path, b'#'),
            Step::Ampersand => cut(path, b'&'),
            Step::Nul => cut(path, 0),
            Step::Trim => trimmed(path),
            Step::TrimLine => path.strip_suffix(b"\n").map(<[u8]>::to_vec),
            Step::Breaks => without(path, |byte| matches!(byte, b'\t' | b'\n' | b'\r')),
            Step::FormFeed => without(path, |byte| byte == 0x0c),
            Step::LooseEnds => loose_ends(path),
            Step::Authority => authority(path),
            Step::Scheme => scheme(path),
            Step::UnicodeFold => folded(path),
        }
    }
}

/// The rests behind a script's name: `/path` for `/index.php/path`. The script itself is what `/index.php/` is.
pub(super) fn behind_scripts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let rests = scripts(path).map(|script| &path[script.end..]);
    rests.filter(|rest| rest.iter().any(|byte| *byte != b'/'))
}

fn owned(path: Cow<'_, [u8]>) -> Option<Vec<u8>> {
    match path {
        Cow::Owned(path) => Some(path),
        Cow::Borrowed(_) => None,
    }
}

fn wide_escapes(path: &[u8]) -> Option<Vec<u8>> {
    let mut rest = path;
    let mut result = Vec::new();
    let mut found = false;
    while let Some((&byte, behind)) = rest.split_first() {
        if let [b'%', b'u' | b'U', a, b, c, d, behind @ ..] = rest
            && let [Some(a), Some(b), Some(c), Some(d)] = [a, b, c, d].map(|digit| hex(*digit))
        {
            let code = [a, b, c, d].iter().fold(0, |code, digit| code << 4 | u32::from(*digit));
            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            result.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            (rest, found) = (behind, true);
        } else {
            result.push(byte);
            rest = behind;
        }
    }
    found.then_some(result)
}

/// Takes a lead byte and what follows it for a character, without asking if that has a shorter form.
fn overlong(path: &[u8]) -> Option<Vec<u8>> {
    let mut rest = path;
    let mut result = Vec::new();
    let mut found = false;
    while let Some((&byte, behind)) = rest.split_first() {
        let (ascii, behind) = match rest {
            [0xc0 | 0xc1, next, behind @ ..] => (Some((byte & 1) << 6 | next & 0x3f), behind),
            [0xe0, middle @ 0x80..=0x81, next, behind @ ..] => {
                (Some((middle & 1) << 6 | next & 0x3f), behind)
            }
            [0xf0, 0x80, middle @ 0x80..=0x81, next, behind @ ..] => {
                (Some((middle & 1) << 6 | next & 0x3f), behind)
            }
            _ => (None, behind),
        };
        found |= ascii.is_some();
        result.push(ascii.unwrap_or(byte));
        rest = behind;
    }
    found.then_some(result)
}

fn valid(path: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(path).err()?;
    Some(path.utf8_chunks().flat_map(|chunk| chunk.valid().bytes()).collect())
}

fn from_last_of_the_first_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    &path[slashes.saturating_sub(1)..]
}

/// Removes the segments of which `dots` gives the number of dots.
fn without_dots(path: &[u8], dots: fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
    let is_candidate =
        |segment: &[u8]| matches!(segment.first(), Some(b'.' | b'%')) && dots(segment).is_some();
    let rest = path.strip_prefix(b"/")?;
    if !rest.split(|byte| *byte == b'/').any(is_candidate) {
        return None;
    }
    let mut kept = Vec::with_capacity(path.len());
    let mut segments = rest.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        match dots(segment) {
            None => {
                kept.push(b'/');
                kept.extend_from_slice(segment);
                continue;
            }
            Some(1) => {}
            Some(_) => kept.truncate(memchr::memrchr(b'/', &kept).unwrap_or(0)),
        }
        if segments.peek().is_none() {
            kept.push(b'/');
        }
    }
    Some(kept)
}

/// Removes the first segment that is `.` or `..`, if others follow.
fn without_first_dots(path: &[u8]) -> Option<Vec<u8>> {
    let mut start = 0;
    let mut segments = path.split(|byte| *byte == b'/').map(|segment| {
        let here = start;
        start += segment.len() + 1;
        (here, segment)
    });
    let (at, segment) = segments.find(|(_, segment)| matches!(*segment, b"." | b".."))?;
    let rest = path.get(at + segment.len()..).filter(|rest| !rest.is_empty())?;
    let before = &path[..at.saturating_sub(1)];
    let kept = match segment {
        b".." => &before[..memchr::memrchr(b'/', before).unwrap_or(0)],
        _ => before,
    };
    Some([kept, rest].concat())
}

/// Replaces each segment by its part; `None` if the path doesn't contain `trigger`.
fn by_segment(path: &[u8], trigger: u8, part: fn(&[u8]) -> &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(trigger, path)?;
    let mut kept = Vec::with_capacity(path.len());
    for segment in path.split_inclusive(|byte| *byte == b'/') {
        match segment.split_last() {
            Some((b'/', text)) => {
                kept.extend_from_slice(part(text));
                kept.push(b'/');
            }
            _ => kept.extend_from_slice(part(segment)),
        }
    }
    Some(kept)
}

fn cut(path: &[u8], end: u8) -> Option<Vec<u8>> {
    memchr::memchr(end, path).map(|at| path[..at].to_vec())
}

/// The first slash doesn't count, since programs that trim a path often drop it before.
fn trimmed(path: &[u8]) -> Option<Vec<u8>> {
    let text = path.strip_prefix(b"/").unwrap_or(path);
    let blank = |byte: &&u8| **byte <= b' ';
    let start = text.iter().take_while(blank).count();
    let end = text[start..].iter().rev().take_while(blank).count();
    (start + end > 0).then(|| [b"/", &text[start..text.len() - end]].concat())
}

/// Removes the bytes of that kind.
fn without(path: &[u8], kind: fn(u8) -> bool) -> Option<Vec<u8>> {
    let any = path.iter().any(|byte| kind(*byte));
    any.then(|| path.iter().copied().filter(|byte| !kind(*byte)).collect())
}

fn loose_ends(path: &[u8]) -> Option<Vec<u8>> {
    fn kept(segment: &[u8]) -> &[u8] {
        let end = segment.iter().rev().take_while(|byte| matches!(byte, b'.' | b' ')).count();
        if matches!(segment, b"." | b"..") { segment } else { &segment[..segment.len() - end] }
    }
    let changes = |segment: &[u8]| kept(segment).len() < segment.len();
    if !path.split(|byte| *byte == b'/').any(changes) {
        return None;
    }
    let pieces: Vec<&[u8]> = path.split(|byte| *byte == b'/').map(kept).collect();
    Some(pieces.join(&b'/'))
}

fn authority(path: &[u8]) -> Option<Vec<u8>> {
    if !path.starts_with(b"//") {
        return None;
    }
    let host = &from_last_of_the_first_slashes(path)[1..];
    Some(memchr::memchr(b'/', host).map_or(&b"/"[..], |end| &host[end..]).to_vec())
}

fn scheme(path: &[u8]) -> Option<Vec<u8>> {
    let text = &path[path.iter().take_while(|byte| **byte == b'/').count()..];
    let end = memchr::memchr(b':', text)?;
    let (name, rest) = (&text[..end], &text[end + 1..]);
    let is_name = name.first()?.is_ascii_alphabetic()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-'));
    let is_http = name.eq_ignore_ascii_case(b"http") || name.eq_ignore_ascii_case(b"https");
    match rest.first() {
        Some(b'/') if is_name => Some(rest.to_vec()),
        _ if is_http => Some([b"/", rest].concat()),
        _ => None,
    }
}

fn folded(path: &[u8]) -> Option<Vec<u8>> {
    let mut rest = path;
    let mut result = Vec::with_capacity(path.len());
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match rest {
            [0xc5, 0xbf, behind @ ..] => (b's', behind),
            [0xe2, 0x84, 0xaa, behind @ ..] => (b'k', behind),
            [0xc4, 0xb0 | 0xb1, behind @ ..] => (b'i', behind),
            _ => (byte, behind),
        };
        result.push(byte);
        rest = behind;
    }
    (result.len() < path.len()).then_some(result)
}
