//! Paths that extend another one by a suffix, as `/send.php/x` extends `/send.php`. A backend may drop the suffix and serve the
//! base. Which route decides on such a path depends on the relation of two patterns; the rule is in `edge::http::router`.

use super::pattern_segment::{CaseRule, PatternSegment, count_steps, decoded, escaped};
use super::route::RoutePattern;

impl RoutePattern {
    /// The bases of a path: its starts, the longest first, that this pattern covers and that only a suffix
    /// follows. None if the pattern covers the whole path. The time for a fixed number of bases is linear in the path.
    ///
    /// A suffix begins with one of `/ . ; , : & \`, a control character or a trailing blank, encoded or not. The path `/` has
    /// no suffixes that begin with `/` or `.`, because every path would be one.
    pub fn bases_of<'p>(&'p self, path: &'p [u8]) -> impl Iterator<Item = &'p [u8]> {
        let ends = self.last_segment_of(path).map(|(segment, at, text, is_last)| {
            let whole = !is_last && segment.matches(text, CaseRule::Insensitive);
            whole.then_some(text.len()).into_iter().chain(segment.bases_of(text)).map(move |end| at + end)
        });
        let root = self.named().is_empty().then(|| decoded(path.get(1..).unwrap_or_default()));
        let root = root.filter(|text| is_suffix(text) && !matches!(text[0], b'/' | b'.')).map(|_| 1);
        let mut ends = root.into_iter().chain(ends.into_iter().flatten());
        // Most paths have no base. For the others the whole path is compared once, not for each base.
        let longest = ends.next().filter(|_| !self.covers(path));
        let others = longest.is_some().then_some(ends);
        longest.into_iter().chain(others.into_iter().flatten()).map(|end| &path[..end])
    }

    /// The last segment of the pattern and its counterpart in a path that begins like the pattern. The counterpart is given
    /// by its position, its text, and whether it is the last segment of the path.
    fn last_segment_of<'p>(&'p self, path: &'p [u8]) -> Option<(&'p PatternSegment, usize, &'p [u8], bool)> {
        let (last, before) = self.named().split_last()?;
        let mut rest = path.strip_prefix(b"/")?;
        for segment in before {
            let end = memchr::memchr(b'/', rest)?;
            if !segment.matches(&rest[..end], CaseRule::Insensitive) {
                return None;
            }
            rest = &rest[end + 1..];
        }
        let text = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        Some((last, path.len() - rest.len(), text, text.len() == rest.len()))
    }

    /// Returns true if each path of this pattern matches `base`, or extends a match by a suffix: `/v1/send/*` and
    /// `/v1/send.json` lie below `/v1/send`, `/v1/*` does not.
    pub fn lies_below(&self, base: &RoutePattern) -> bool {
        let named = self.named();
        let Some((last, before)) = base.named().split_last() else { return base.and_below };
        let Some(mine) = named.get(before.len()) else { return false };
        named.iter().zip(before).all(|(mine, theirs)| mine.is_within(theirs))
            && (mine.is_within(last) || mine.always_extends(last))
    }

    /// Returns true if a path of this pattern could have its base in `other`, also if that is hard to decide.
    pub fn may_extend(&self, other: &RoutePattern) -> bool {
        let named = self.named();
        (self.and_below || named.len() >= other.named().len())
            && named.iter().zip(other.named()).all(|(mine, theirs)| mine.may_begin_as(theirs))
    }
}

impl PatternSegment {
    /// The ends of the starts of `text`, the longest first, that this segment matches and that a suffix follows.
    fn bases_of<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = usize> {
        let bytes = decoded(text);
        let (shortest, longest) = match self {
            PatternSegment::Exact(expected) => (expected.len(), expected.len()),
            PatternSegment::Around(before, after) => ((before.len() + after.len()).max(1), bytes.len()),
        };
        let longest = longest.min(bytes.len());
        // The position of an end in the encoded text moves along with the end.
        let mut position = if bytes.len() == text.len() { longest } else { encoded_length(text, longest) };
        let ends = (shortest..=longest).rev().map(move |end| {
            let here = position;
            position = before_character(text, position);
            (end, here)
        });
        let fits = move |end: usize| {
            count_steps(1);
            is_suffix(&bytes[end..]) && self.matches_decoded(&bytes[..end], CaseRule::Insensitive)
        };
        ends.filter(move |(end, _)| fits(*end)).map(|(_, position)| position)
    }

    /// Returns true if `other` matches all that this segment matches.
    fn is_within(&self, other: &PatternSegment) -> bool {
        match (self, other) {
            (PatternSegment::Exact(text), _) => other.matches_decoded(text, CaseRule::Insensitive),
            (PatternSegment::Around(..), PatternSegment::Exact(_)) => false,
            (PatternSegment::Around(before, after), PatternSegment::Around(outer_before, outer_after)) => {
                before.len() >= outer_before.len()
                    && after.len() >= outer_after.len()
                    && CaseRule::Insensitive.same(&before[..outer_before.len()], outer_before)
                    && CaseRule::Insensitive.same(&after[after.len() - outer_after.len()..], outer_after)
            }
        }
    }

    /// Returns true if all that this segment matches extends what `other` matches by a suffix.
    fn always_extends(&self, other: &PatternSegment) -> bool {
        let start = self.literal_start();
        (1..start.len()).any(|end| {
            is_suffix(&start[end..]) && other.matches_decoded(&start[..end], CaseRule::Insensitive)
        })
    }

    fn may_begin_as(&self, other: &PatternSegment) -> bool {
        let (mine, theirs) = (self.literal_start(), other.literal_start());
        let length = mine.len().min(theirs.len());
        CaseRule::Insensitive.same(&mine[..length], &theirs[..length])
    }

    fn literal_start(&self) -> &[u8] {
        match self {
            PatternSegment::Exact(text) | PatternSegment::Around(text, _) => text,
        }
    }
}

/// The length of the first `count` bytes of a text in its encoded form.
fn encoded_length(text: &[u8], count: usize) -> usize {
    count_steps(count);
    let step = |at: usize| if text.get(at..).and_then(escaped).is_some() { 3 } else { 1 };
    (0..count).fold(0, |at, _| at + step(at)).min(text.len())
}

/// The start of the character, or of the escape, that ends at `end`.
fn before_character(text: &[u8], end: usize) -> usize {
    let escape = end.checked_sub(3).filter(|at| escaped(&text[*at..end]).is_some());
    escape.unwrap_or(end.saturating_sub(1))
}

/// Returns true if a backend may drop this decoded text from the end of a path.
fn is_suffix(text: &[u8]) -> bool {
    let separates = |byte: &u8| b"/.;,:&\\".contains(byte) || byte.is_ascii_control();
    match text {
        [b' ', rest @ ..] => rest.first().is_none_or(|next| *next == b' ' || separates(next)),
        [first, ..] => separates(first),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PathPattern;

    fn pattern(text: &str) -> RoutePattern {
        RoutePattern::new(&PathPattern::parse(text).unwrap())
    }

    #[test]
    fn the_base_of_a_path() {
        let cases = [
            ("/v1/send", "/v1/send/x", Some("/v1/send")),
            ("/v1/send", "/V1/SEND/x/y", Some("/V1/SEND")),
            ("/v1/send/", "/v1/send.json", Some("/v1/send")),
            ("/v1/send", "/v1/send.json/x", Some("/v1/send")),
            ("/v1/send", "/v1/send;a=b/c", Some("/v1/send")),
            ("/v1/send", "/v1/send,1", Some("/v1/send")),
            ("/v1/send", "/v1/send::$DATA", Some("/v1/send")),
            ("/v1/send", "/v1/send&x", Some("/v1/send")),
            ("/v1/send", "/v1/send.", Some("/v1/send")),
            ("/v1/send", "/v1/send\\x", Some("/v1/send")),
            ("/v1/send", "/v1/se%6Ed%2Fx", Some("/v1/se%6Ed")),
            ("/v1/send", "/v1/send%2ex", Some("/v1/send")),
            ("/v1/send", "/v1/send%3b", Some("/v1/send")),
            ("/v1/send", "/v1/send%2c%3A", Some("/v1/send")),
            ("/v1/send", "/v1/send%00.txt", Some("/v1/send")),
            ("/v1/send", "/v1/send%0a", Some("/v1/send")),
            ("/v1/send", "/v1/send%20", Some("/v1/send")),
            ("/v1/send", "/v1/send%20%20/x", Some("/v1/send")),
            ("/v1/send", "/v1/send%20.php", Some("/v1/send")),
            ("/v1/send", "/v1/send%20it", None),
            ("/v1/send", "/v1/send", None),
            ("/v1/send", "/v1/send/", None),
            ("/v1/send", "/v1/sender", None),
            ("/v1/send", "/v1/send-it", None),
            ("/v1/send", "/v1/send@x", None),
            ("/v1/send", "/v1", None),
            ("/v1/send", "/v2/send/x", None),
            ("/v1/*/send", "/v1/a.b/send.x", Some("/v1/a.b/send")),
            ("/v1/*/send", "/v1/send/x", None),
            ("/v1/send*", "/v1/sender/x", Some("/v1/sender")),
            ("/v1/send*", "/v1/sender.x", None),
            ("/v1/*.json", "/v1/a.json.json.b", Some("/v1/a.json.json")),
            ("/v1/*.json", "/v1/%C3%BC.json%3Bb", Some("/v1/%C3%BC.json")),
            ("/v1/*.json", "/v1/a.json/b", Some("/v1/a.json")),
            ("/v1/*", "/v1.json/x", Some("/v1")),
            ("/v1/*", "/v1;a/x", Some("/v1")),
            ("/v1/*", "/v1/x;a", None),
            ("/", "/;a", Some("/")),
            ("/", "/%3Aa/b", Some("/")),
            ("/", "/a", None),
            ("/", "/.well-known/a", None),
            ("/*", "/;a", None),
        ];
        for (text, path, expected) in cases {
            let (pattern, bytes) = (pattern(text), path.as_bytes());
            let found = pattern.bases_of(bytes).next();
            assert_eq!(found, expected.map(str::as_bytes), "{text} {path}");
            assert!(expected.is_none() || pattern.may_concern(bytes), "{text} {path}");
        }
        let star = pattern("/v1/*.b");
        assert_eq!(
            star.bases_of(b"/v1/a.b.b%2Eb/c").collect::<Vec<_>>(),
            [&b"/v1/a.b.b%2Eb"[..], b"/v1/a.b.b", b"/v1/a.b"]
        );
    }

    #[test]
    fn relations_of_two_patterns() {
        // The first lies below the second; the first may extend it.
        let cases = [
            ("/v1/send/status", "/v1/send", true, true),
            ("/v1/send/*", "/v1/send", true, true),
            ("/v1/send.json", "/v1/send", true, true),
            ("/v1/send.*", "/V1/Send/", true, true),
            ("/v1/send:batch/x", "/v1/send", true, true),
            ("/v1/send*", "/v1/send", false, true),
            ("/v1/sender", "/v1/send", false, true),
            ("/v1/*", "/v1/send", false, true),
            ("/*", "/v1/send", false, true),
            ("/v1/*.json", "/v1/send", false, true),
            ("/v1/*/x", "/v1/send", false, true),
            ("/*/*", "/v1/send", false, true),
            ("/*/send", "/v1/send", false, true),
            ("/v1/*/send", "/v1/users", false, true),
            ("/v1/users/send", "/v1/*/send", true, true),
            ("/v1/users/*", "/v1/*/send", false, true),
            ("/v1/a*b/send/x", "/v1/a*/send", true, true),
            ("/v1/a*/send/x", "/v1/a*b/send", false, true),
            ("/v1/stats", "/v1/send", false, false),
            ("/v1", "/v1/send", false, false),
            ("/v2/*", "/v1/send", false, false),
            ("/v1.1/*", "/v1/*", true, true),
            ("/v1/*", "/*", true, true),
            ("/a", "/", false, true),
        ];
        for (one, other, below, extends) in cases {
            let (one, other) = (pattern(one), pattern(other));
            let found = (one.lies_below(&other), one.may_extend(&other));
            assert_eq!(found, (below, extends), "{one:?} {other:?}");
        }
    }
}
