//! A segment of the pattern of a route.

use std::borrow::Cow;

use crate::wire::percent::hex;

/// A segment of a pattern.
#[derive(Clone, Debug)]
pub(super) enum PatternSegment {
    Exact(Vec<u8>),
    /// Any text between these two. A `*` on its own matches no empty segment.
    Around(Vec<u8>, Vec<u8>),
}

impl PatternSegment {
    pub(super) fn new(text: &str) -> PatternSegment {
        match text.split_once('*') {
            None => PatternSegment::Exact(text.into()),
            Some((before, after)) => PatternSegment::Around(before.into(), after.into()),
        }
    }

    /// Returns true for the segment behind the last `/` of a pattern that ends in one.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, PatternSegment::Exact(text) if text.is_empty())
    }

    /// Compares with a segment of a path. Of a long one, only the ends are decoded, because it may be compared with many routes.
    pub(super) fn matches(&self, text: &[u8], case: CaseRule) -> bool {
        // An escape has three bytes.
        match self {
            PatternSegment::Exact(expected) if text.len() > 3 * expected.len() => false,
            PatternSegment::Around(before, after) if text.len() > 3 * (before.len() + after.len()).max(1) => {
                let start = &text[..3 * before.len()];
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

/// The end of a text from `at` or, if `at` is inside of an escape, from the end of that.
fn whole_escapes(text: &[u8], at: usize) -> &[u8] {
    let is_escape = |back: usize| at.checked_sub(back).is_some_and(|at| escaped(&text[at..]).is_some());
    let inside = if is_escape(1) { 2 } else { usize::from(is_escape(2)) };
    &text[(at + inside).min(text.len())..]
}

/// The byte of the escape with which a text begins.
pub(super) fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    Some(hex(*high)? << 4 | hex(*low)?)
}

/// Decodes the escapes of a path once. A `%` without two digits is itself.
pub(super) fn decoded(path: &[u8]) -> Cow<'_, [u8]> {
    count_steps(path.len());
    let Some(first) = memchr::memchr(b'%', path) else { return Cow::Borrowed(path) };
    let mut decoded = Vec::with_capacity(path.len());
    decoded.extend_from_slice(&path[..first]);
    let mut rest = &path[first..];
    while let Some((&byte, behind)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                decoded.push(byte);
                rest = &rest[3..];
            }
            None => {
                decoded.push(byte);
                rest = behind;
            }
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
pub use steps::{count_steps, steps_of};

/// Does nothing outside of tests.
#[cfg(not(test))]
pub(super) const fn count_steps(_: usize) {}

/// The work of a search for a route, so that tests can state bounds that don't depend on time.
#[cfg(test)]
mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts bytes that are examined.
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
    use super::*;

    #[test]
    fn a_long_segment_is_compared_like_a_short_one() {
        for text in ["*", "a*", "*a", "a*b", "ab*ba", "a:*", "*:a", ":*:", "a", ":"] {
            let segment = PatternSegment::new(text);
            for piece in ["a", "b", "%3A", "ab", "a%3A", "%3Ab", "%3A%3a", "b%3Aa", "%3", "%%3A", "a%"] {
                for middle in ["", "x", "%3A", "xxxxxxxxxxxx", "%3A%3A%3A%3A%3A", "x%3Ax%3Ax%3Ax"] {
                    for other in ["", "a", "%3A", "%3Aa", "b%3A", "ba", "a%3Ab", "%a", "%zb", "%%3A"] {
                        let given = format!("{piece}{middle}{other}");
                        let given = given.as_bytes();
                        let expected = segment.matches_decoded(&decoded(given), CaseRule::Sensitive);
                        let found = segment.matches(given, CaseRule::Sensitive);
                        assert_eq!(found, expected, "{text} {}", given.escape_ascii());
                    }
                }
            }
        }
    }
}
