//! Which paths a route is for, and which paths send mail.

use std::borrow::Cow;

use crate::domain::PathPattern;
use crate::wire::percent::hex;

/// The paths of a route: `/status` exactly, `/public/*` with everything below, `/users/*/posts` and `/v1/*.json` with any
/// text in place of a `*` inside of one segment.
#[derive(Clone, Debug)]
pub struct RoutePattern {
    /// The literal text that each path of the pattern begins with, whatever case and escapes it is written in.
    start: Vec<u8>,
    segments: Vec<PatternSegment>,
    /// Ends in `/*`: whatever follows, at any depth.
    pub(super) and_below: bool,
}

#[derive(Clone, Debug)]
pub(super) enum PatternSegment {
    Exact(Vec<u8>),
    /// Any text between these two; a `*` on its own is never nothing.
    Around(Vec<u8>, Vec<u8>),
}

impl RoutePattern {
    /// Gets a pattern ready to be compared with paths.
    pub fn new(pattern: &PathPattern) -> RoutePattern {
        let mut segments: Vec<&str> = pattern.as_str().split('/').skip(1).collect();
        let and_below = segments.last() == Some(&"*");
        if and_below {
            segments.pop();
        }
        let named = segments.strip_suffix(&[""]).unwrap_or(&segments).join("/");
        let start = format!("/{}", named.split('*').next().unwrap_or_default()).into_bytes();
        RoutePattern { start, segments: segments.into_iter().map(PatternSegment::new).collect(), and_below }
    }

    /// Returns false if a normalized path neither is one of these nor extends one, which is told without a look at segments.
    pub fn may_concern(&self, path: &str) -> bool {
        let path = path.as_bytes();
        for (at, (given, named)) in path.iter().zip(&self.start).enumerate() {
            if given != named && !given.eq_ignore_ascii_case(named) {
                // Behind an escape, the bytes are others than those that were compared.
                return path[..=at].contains(&b'%');
            }
        }
        path.len() >= self.start.len() || path.contains(&b'%')
    }

    /// Whether a normalized path is exactly one of these. For routes that ask for less than others do: `public`.
    pub fn matches(&self, path: &str) -> bool {
        self.compare(path)
    }

    /// Whether a normalized path could be one of these to a lenient backend, which ignores ASCII case or a trailing `/`. For
    /// routes that ask for a permission of their own.
    pub fn covers(&self, path: &str) -> bool {
        count_steps(1);
        if !self.may_concern(path) {
            return false;
        }
        let mut given = path.trim_end_matches('/').split('/').skip(1);
        let named = self.named().iter();
        let mut all = named
            .map(|segment| given.next().is_some_and(|text| segment.matches(text, CaseRule::Insensitive)));
        all.all(|matches| matches) && (self.and_below || given.next().is_none())
    }

    /// The segments without the empty one after a last `/`.
    pub(super) fn named(&self) -> &[PatternSegment] {
        match self.segments.split_last() {
            Some((last, others)) if last.is_empty() => others,
            _ => &self.segments,
        }
    }

    fn compare(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut given = path.split('/');
        let mut all = self
            .segments
            .iter()
            .map(|segment| given.next().is_some_and(|t| segment.matches(t, CaseRule::Sensitive)));
        all.all(|matches| matches) && given.next().is_some() == self.and_below
    }
}

impl PatternSegment {
    fn new(text: &str) -> PatternSegment {
        match text.split_once('*') {
            None => PatternSegment::Exact(text.into()),
            Some((before, after)) => PatternSegment::Around(before.into(), after.into()),
        }
    }

    /// What stands after the last `/` of a pattern that ends in one.
    fn is_empty(&self) -> bool {
        matches!(self, PatternSegment::Exact(text) if text.is_empty())
    }

    /// Compares a segment of a normalized path. Of a long one, only the ends are decoded: many routes may be compared with it.
    pub(super) fn matches(&self, text: &str, case: CaseRule) -> bool {
        // An escape is three bytes.
        match self {
            PatternSegment::Exact(expected) if text.len() > 3 * expected.len() => false,
            PatternSegment::Around(before, after) if text.len() > 3 * (before.len() + after.len()).max(1) => {
                let start = text.get(..3 * before.len()).unwrap_or(text);
                let end = whole_escapes(text, text.len() - 3 * after.len());
                let (start, end) = (decoded(start), decoded(end));
                start.get(..before.len()).is_some_and(|start| case.same(start, before))
                    && end.len() >= after.len()
                    && case.same(&end[end.len() - after.len()..], after)
            }
            _ => self.matches_decoded(&decoded(text), case),
        }
    }

    pub(super) fn matches_decoded(&self, text: &[u8], case: CaseRule) -> bool {
        match self {
            PatternSegment::Exact(expected) => case.same(text, expected),
            PatternSegment::Around(before, after) => {
                text.len() >= (before.len() + after.len()).max(1)
                    && case.same(&text[..before.len()], before)
                    && case.same(&text[text.len() - after.len()..], after)
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum CaseRule {
    Sensitive,
    Insensitive,
}

impl CaseRule {
    pub(super) fn same(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            CaseRule::Sensitive => one == other,
            CaseRule::Insensitive => one.eq_ignore_ascii_case(other),
        }
    }
}

/// The shorter paths that a normalized path is to a backend that decodes it and then ends it at the first `?`, or at the
/// first `#`: none for most paths.
pub fn cut_short(path: &str) -> impl Iterator<Item = &str> {
    let escape = memchr::memchr(b'%', path.as_bytes());
    let end = move |end: &str| escape.and_then(|at| path[at..].find(end).map(|more| &path[..at + more]));
    ["%3F", "%23"].into_iter().filter_map(end)
}

/// Whether a normalized path is one of those of the API that send mail, which need the permission `email`:
/// `/api/mail.send.FORMAT` and `/v3/mail/send`. CaseRule, format and whatever else follows don't matter, since they may not
/// matter to a backend; nothing else of the API lives under these names.
pub fn sends_mail(path: &str) -> bool {
    const NAMES: [&[u8]; 3] = [b"/api/mail.send", b"/api/mail/send", b"/v3/mail/send"];
    let path = decoded(path);
    NAMES.into_iter().any(|name| {
        path.len() >= name.len()
            && path[..name.len()].eq_ignore_ascii_case(name)
            && path.get(name.len()).is_none_or(|b| !(b.is_ascii_alphanumeric() || b"-_".contains(b)))
    })
}

/// The end of a normalized text from `at`, or from the end of the escape that `at` stands in.
fn whole_escapes(text: &str, at: usize) -> &str {
    let is_escape = |back: usize| at.checked_sub(back).is_some_and(|at| text.as_bytes()[at] == b'%');
    let inside = if is_escape(1) { 2 } else { usize::from(is_escape(2)) };
    text.get((at + inside).min(text.len())..).unwrap_or(text)
}

/// Undoes the escapes that a normalized path still has.
pub(super) fn decoded(plain: &str) -> Cow<'_, [u8]> {
    count_steps(plain.len());
    if memchr::memchr(b'%', plain.as_bytes()).is_none() {
        return Cow::Borrowed(plain.as_bytes());
    }
    let mut bytes = plain.bytes();
    let mut decoded = Vec::with_capacity(plain.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
        } else if let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
            decoded.push(high << 4 | low);
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
pub use steps::{count_steps, steps_of};

/// Counts nothing outside of tests.
#[cfg(not(test))]
pub(super) const fn count_steps(_: usize) {}

/// The work that a search for a route takes, so that tests can state bounds that don't depend on the time.
#[cfg(test)]
mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts bytes that are looked at.
    pub fn count_steps(count: usize) {
        STEPS.set(STEPS.get() + count);
    }

    /// The number of steps that `work` takes on this thread.
    pub fn steps_of(work: impl FnOnce()) -> usize {
        let before = STEPS.get();
        work();
        STEPS.get() - before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::normalize;

    fn pattern(text: &str) -> RoutePattern {
        RoutePattern::new(&PathPattern::parse(text).unwrap())
    }

    #[test]
    fn matching() {
        let cases = [
            ("/", "/", true),
            ("/", "/a", false),
            ("/*", "/", true),
            ("/*", "/a/b", true),
            ("/status", "/status", true),
            ("/status", "/status/", false),
            ("/status", "/Status", false),
            ("/status/", "/status/", true),
            ("/public/*", "/public/", true),
            ("/public/*", "/public/a/b/", true),
            ("/public/*", "/public", false),
            ("/public/*", "/publicity/a", false),
            ("/public*", "/publicity", true),
            ("/public*", "/public/a", false),
            ("/users/*/posts", "/users/4/posts", true),
            ("/users/*/posts", "/users//posts", false),
            ("/users/*/posts", "/users/4/5/posts", false),
            ("/users/*/posts/*", "/users/4/posts/5", true),
            ("/v1/*.json", "/v1/a.json", true),
            ("/v1/*.json", "/v1/.json", true),
            ("/v1/a*a", "/v1/a", false),
            ("/v1/things:send", "/v1/things%3Asend", true),
            ("/v1/*", "/v1/%C3%BC", true),
        ];
        for (text, path, expected) in cases {
            assert_eq!(pattern(text).matches(path), expected, "{text} {path}");
            assert!(!expected || pattern(text).covers(path), "{text} {path}");
        }
    }

    #[test]
    fn covering() {
        for path in ["/Admin/SEND", "/admin/send/"] {
            assert!(pattern("/admin/send").covers(path), "{path}");
            assert!(!pattern("/admin/send").matches(path), "{path}");
        }
        assert!(!pattern("/admin/send").covers("/admin/sends"));
        assert!(pattern("/admin/*").covers("/ADMIN"));
        assert!(!pattern("/admin/*").covers("/administration"));
        assert!(pattern("/admin/").covers("/admin"));
        assert!(pattern("/a/*.json").covers("/a/b%3F.json"));
        assert!(!pattern("/admin/send").covers("/admin/send%3Fx"));
    }

    #[test]
    fn a_long_segment_is_compared_like_a_short_one() {
        for text in ["*", "a*", "*a", "a*b", "ab*ba", "a:*", "*:a", ":*:", "a", ":"] {
            let segment = PatternSegment::new(text);
            for piece in ["a", "b", "%3A", "ab", "a%3A", "%3Ab", "%3A%3a", "b%3Aa"] {
                for middle in ["", "x", "%3A", "xxxxxxxxxxxx", "%3A%3A%3A%3A%3A", "x%3Ax%3Ax%3Ax"] {
                    for other in ["", "a", "%3A", "%3Aa", "b%3A", "ba", "a%3Ab"] {
                        let given = format!("{piece}{middle}{other}");
                        let expected = segment.matches_decoded(&decoded(&given), CaseRule::Sensitive);
                        assert_eq!(segment.matches(&given, CaseRule::Sensitive), expected, "{text} {given}");
                    }
                }
            }
        }
    }

    #[test]
    fn cutting_short() {
        let cases: [(&str, &[&str]); 7] = [
            ("/a/b", &[]),
            ("/a%20b%C3%BC%3", &[]),
            ("/a%3Fb", &["/a"]),
            ("/a/%23", &["/a/"]),
            ("/a%20b%3Fc%3Fd", &["/a%20b"]),
            ("/a%23b%3Fc", &["/a%23b", "/a"]),
            ("/%3F%23", &["/", "/%3F"]),
        ];
        for (path, expected) in cases {
            assert_eq!(cut_short(path).collect::<Vec<_>>(), expected, "{path}");
        }
    }

    #[test]
    fn what_sends_mail() {
        for path in [
            "/api/mail.send.json",
            "/api/mail.send.xml",
            "/API/Mail.Send.JSON",
            "/api/mail.send.json/",
            "/api/mail.send.json/x",
            "/api/mail.send.json%3Fx",
            "/api/mail.send.json::$DATA",
            "/api/mail.send",
            "/api/mail/send.json",
            "/v3/mail/send",
            "/v3/mail/send/beta",
            "/V3/mail/send.json",
        ] {
            assert!(sends_mail(path), "{path}");
        }
        for path in [
            "/",
            "/api/mail.sender",
            "/api/mail.send_later",
            "/v3/mail/send-times",
            "/v3/mail",
            "/x/api/mail.send.json",
        ] {
            assert!(!sends_mail(path), "{path}");
        }
    }

    /// What the most lenient of backends could make of a raw path.
    fn lenient(raw: &str, times: usize, parameters: bool, backslashes: bool) -> String {
        let mut bytes = raw.as_bytes().to_vec();
        for _ in 0..times {
            bytes = percent_encoding::percent_decode(&bytes).collect();
        }
        let mut text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if backslashes {
            text = text.replace('\\', "/");
        }
        let mut segments = Vec::new();
        let end = text.find(['?', '#', '\0']).unwrap_or(text.len());
        for segment in text[..end].split('/') {
            let segment = if parameters { segment.split(';').next().unwrap_or_default() } else { segment };
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                _ => segments.push(segment.trim_end_matches(['.', ' '])),
            }
        }
        format!("/{}", segments.join("/"))
    }

    proptest! {
        #[test]
        fn normal_is_normal(raw in "/[%./a-c0-9;éB]{0,16}|/(%2[0-9e-f]|%25|/|\\.|[a-c%é;]){0,8}") {
            if let Ok(plain) = normalize(raw.as_bytes()) {
                prop_assert!(plain.starts_with('/') && plain.is_ascii());
                prop_assert!(!plain.contains("//") && !plain.contains("/../") && !plain.contains("/./"));
                prop_assert_eq!(normalize(plain.as_bytes()), Ok(plain.clone()));
                // The same to a backend that decodes once and doesn't cut at what was an encoded `?` or `#`.
                if !["%23", "%3f", "%3F"].iter().any(|cut| raw.contains(cut)) {
                    prop_assert_eq!(lenient(&raw, 1, false, false), lenient(&plain, 1, false, false));
                }
            }
        }

        /// A pattern is what a plain path is without escapes, so that each can match what it says, and none is refused that
        /// could.
        #[test]
        fn a_pattern_is_a_plain_path(text in "/([ -~]|[/.*;a]){0,12}") {
            let plain = normalize(text.as_bytes()).is_ok_and(|plain| plain == text) && !text.contains('%');
            let stars = text.split('/').any(|segment| segment.matches('*').count() > 1);
            prop_assert_eq!(PathPattern::parse(&text).is_ok(), plain && !stars, "{}", text);
        }

        #[test]
        fn nothing_sends_mail_unseen(
            before in proptest::collection::vec(prop::sample::select(TRICKS), 0..4),
            seams in proptest::collection::vec(prop::sample::select(TRICKS), 3),
            times in 0..4usize,
            parameters in any::<bool>(),
            backslashes in any::<bool>(),
            words in prop::sample::select(vec![["api", "mail.send.json"], ["API", "mail%2esend.%6ason"], ["v3", "mail/send"]]),
        ) {
            let [slash, end, other] = &seams[..] else { unreachable!() };
            let raw = format!("/{}/{}{slash}/{}{end}{other}", before.concat(), words[0], words[1]);
            let Ok(plain) = normalize(raw.as_bytes()) else { return Ok(()) };
            let seen = lenient(&plain, times, parameters, backslashes);
            if ["/api/mail.send.json", "/v3/mail/send"].contains(&&*seen) {
                prop_assert!(sends_mail(&plain), "{} is {} and could be {}", raw, plain, seen);
            }
            let routes = [pattern("/api/mail.send.json"), pattern("/v3/mail/*")];
            let covered = |route: &RoutePattern| route.covers(&plain) || cut_short(&plain).any(|p| route.covers(p));
            prop_assert!(seen != "/api/mail.send.json" || covered(&routes[0]), "{}", plain);
            prop_assert!(seen != "/v3/mail/send" || covered(&routes[1]), "{}", plain);
        }
    }

    const TRICKS: &[&str] = &[
        "",
        "/",
        "//",
        "/.",
        "/..",
        "/x/..",
        "%2e",
        "%2E%2e",
        "%252e",
        "/%252e%252e/",
        "%2f",
        "%5c",
        "\\",
        ";x",
        "%3b",
        ".",
        "%20",
        "%00",
        "%3f",
        "%23",
        "/x",
        "public",
        "/public/..",
        "%25",
        "%2525",
        "..",
        "/%2e%2e",
        "\t",
        "%c0%ae",
        "é",
    ];
}
