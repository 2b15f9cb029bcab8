//! Paths that extend another one by a suffix, as `/send.php/x` extends `/send.php`: a backend may drop the suffix and serve
//! the base. Which route decides on such a path is a matter of how two patterns are related; the rule is in `edge::router`.

use super::route::{Case, RoutePattern, Segment, decoded};

impl RoutePattern {
    /// The bases of a normalized path: the parts of it, the longest first, that this pattern covers and that only a suffix
    /// follows. None where the pattern covers the whole path.
    ///
    /// A suffix begins with one of `/ . ; , : & \`, a control character or a trailing blank, encoded or not. The path `/` has
    /// no suffixes that begin with `/` or `.`: everything would be one.
    pub fn bases_of<'p>(&'p self, path: &'p str) -> impl Iterator<Item = &'p str> {
        let ends = self.last_segment_of(path).map(|(segment, at, text, is_last)| {
            let whole = !is_last && segment.matches(text, Case::Ignored);
            whole.then_some(text.len()).into_iter().chain(segment.bases_of(text)).map(move |end| at + end)
        });
        let root = self.named().is_empty().then(|| decoded(path.get(1..).unwrap_or_default()));
        let root = root.filter(|text| is_suffix(text) && !matches!(text[0], b'/' | b'.')).map(|_| 1);
        root.into_iter()
            .chain(ends.into_iter().flatten())
            .filter(|_| !self.covers(path))
            .map(|end| &path[..end])
    }

    /// The last segment of the pattern and its counterpart in a path that begins like the pattern: where that begins, and
    /// whether it is the path's last one as well.
    fn last_segment_of<'p>(&'p self, path: &'p str) -> Option<(&'p Segment, usize, &'p str, bool)> {
        let (last, before) = self.named().split_last()?;
        let mut rest = path.strip_prefix('/')?;
        for segment in before {
            let (text, more) = rest.split_once('/')?;
            if !segment.matches(text, Case::Ignored) {
                return None;
            }
            rest = more;
        }
        let text = rest.split('/').next().unwrap_or_default();
        Some((last, path.len() - rest.len(), text, text.len() == rest.len()))
    }

    /// Whether each path of this pattern is one of `base`, or extends one of it by a suffix: `/v1/send/*` and `/v1/send.json`
    /// lie below `/v1/send`, and `/v1/*` does not.
    pub fn lies_below(&self, base: &RoutePattern) -> bool {
        let named = self.named();
        let Some((last, before)) = base.named().split_last() else { return base.and_below };
        let Some(mine) = named.get(before.len()) else { return false };
        named.iter().zip(before).all(|(mine, theirs)| mine.is_within(theirs))
            && (mine.is_within(last) || mine.always_extends(last))
    }

    /// Whether each path of `other` is one of this pattern as well: `/v1/*` contains `/v1/send`.
    pub fn contains(&self, other: &RoutePattern) -> bool {
        let (named, others) = (self.named(), other.named());
        let depth = match self.and_below {
            true => others.len() >= named.len(),
            false => others.len() == named.len() && !other.and_below,
        };
        depth && named.iter().zip(others).all(|(mine, theirs)| theirs.is_within(mine))
    }

    /// Whether a path of this pattern could have its base in `other`; `true` where that is not easy to say.
    pub fn may_extend(&self, other: &RoutePattern) -> bool {
        let named = self.named();
        (self.and_below || named.len() >= other.named().len())
            && named.iter().zip(other.named()).all(|(mine, theirs)| mine.may_begin_as(theirs))
    }
}

impl Segment {
    /// The ends of the parts of `text`, the longest first, that are this segment and that a suffix follows.
    fn bases_of<'t>(&'t self, text: &'t str) -> impl Iterator<Item = usize> {
        let bytes = decoded(text);
        let (shortest, longest) = match self {
            Segment::Exact(expected) => (expected.len(), expected.len()),
            Segment::Around(before, after) => ((before.len() + after.len()).max(1), bytes.len()),
        };
        let escapes = bytes.len() != text.len();
        let ends = (shortest..=longest.min(bytes.len())).rev();
        let fits = move |end: &usize| {
            is_suffix(&bytes[*end..]) && self.matches_decoded(&bytes[..*end], Case::Ignored)
        };
        ends.filter(fits).map(move |end| if escapes { encoded_length(text, end) } else { end })
    }

    /// Whether all that this segment matches is matched by `other`.
    fn is_within(&self, other: &Segment) -> bool {
        match (self, other) {
            (Segment::Exact(text), _) => other.matches_decoded(text, Case::Ignored),
            (Segment::Around(..), Segment::Exact(_)) => false,
            (Segment::Around(before, after), Segment::Around(outer_before, outer_after)) => {
                before.len() >= outer_before.len()
                    && after.len() >= outer_after.len()
                    && Case::Ignored.same(&before[..outer_before.len()], outer_before)
                    && Case::Ignored.same(&after[after.len() - outer_after.len()..], outer_after)
            }
        }
    }

    /// Whether all that this segment matches extends what `other` matches by a suffix.
    fn always_extends(&self, other: &Segment) -> bool {
        let start = self.literal_start();
        (1..start.len())
            .any(|end| is_suffix(&start[end..]) && other.matches_decoded(&start[..end], Case::Ignored))
    }

    fn may_begin_as(&self, other: &Segment) -> bool {
        let (mine, theirs) = (self.literal_start(), other.literal_start());
        let length = mine.len().min(theirs.len());
        Case::Ignored.same(&mine[..length], &theirs[..length])
    }

    fn literal_start(&self) -> &[u8] {
        match self {
            Segment::Exact(text) | Segment::Around(text, _) => text,
        }
    }
}

/// The length of the first `count` bytes of a text in its encoded form.
fn encoded_length(text: &str, count: usize) -> usize {
    let step = |at: usize| if text.as_bytes().get(at) == Some(&b'%') { 3 } else { 1 };
    (0..count).fold(0, |at, _| at + step(at)).min(text.len())
}

/// Whether decoded text is something that a backend may drop from the end of a path.
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
            assert_eq!(pattern(text).bases_of(path).next(), expected, "{text} {path}");
        }
        let star = pattern("/v1/*.b");
        assert_eq!(
            star.bases_of("/v1/a.b.b%2Eb/c").collect::<Vec<_>>(),
            ["/v1/a.b.b%2Eb", "/v1/a.b.b", "/v1/a.b"]
        );
    }

    #[test]
    fn a_long_path_is_searched_in_linear_time() {
        let long = format!("/v1/a{}", "%3A.".repeat(16_000));
        for text in ["/v1/*.json", "/v1/a", "/v1/*:"] {
            // A search that is quadratic takes seconds here.
            let _ = pattern(text).bases_of(&long).next();
        }
    }

    #[test]
    fn relations_of_two_patterns() {
        // Whether the first lies below the second, contains it, may extend it.
        let cases = [
            ("/v1/send/status", "/v1/send", true, false, true),
            ("/v1/send/*", "/v1/send", true, true, true),
            ("/v1/send.json", "/v1/send", true, false, true),
            ("/v1/send.*", "/V1/Send/", true, false, true),
            ("/v1/send:batch/x", "/v1/send", true, false, true),
            ("/v1/send*", "/v1/send", false, true, true),
            ("/v1/sender", "/v1/send", false, false, true),
            ("/v1/*", "/v1/send", false, true, true),
            ("/*", "/v1/send", false, true, true),
            ("/v1/*.json", "/v1/send", false, false, true),
            ("/v1/*/x", "/v1/send", false, false, true),
            ("/*/*", "/v1/send", false, true, true),
            ("/*/send", "/v1/send", false, true, true),
            ("/v1/*/send", "/v1/users", false, false, true),
            ("/v1/users/send", "/v1/*/send", true, false, true),
            ("/v1/users/*", "/v1/*/send", false, false, true),
            ("/v1/a*b/send/x", "/v1/a*/send", true, false, true),
            ("/v1/a*/send/x", "/v1/a*b/send", false, false, true),
            ("/v1/stats", "/v1/send", false, false, false),
            ("/v1", "/v1/send", false, false, false),
            ("/v2/*", "/v1/send", false, false, false),
            ("/v1.1/*", "/v1/*", true, false, true),
            ("/v1/*", "/*", true, false, true),
            ("/a", "/", false, false, true),
        ];
        for (one, other, below, contains, extends) in cases {
            let (one, other) = (pattern(one), pattern(other));
            let found = (one.lies_below(&other), one.contains(&other), one.may_extend(&other));
            assert_eq!(found, (below, contains, extends), "{one:?} {other:?}");
        }
    }
}
