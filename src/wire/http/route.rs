//! The pattern of a route, and the paths that match it.

use super::pattern_segment::{CaseRule, PatternSegment, count_steps};
use crate::domain::PathPattern;

/// The paths of a route: `/status` exactly, `/public/*` with everything below, `/users/*/posts` and `/v1/*.json` with any text
/// for a `*` inside of one segment.
#[derive(Clone, Debug)]
pub struct RoutePattern {
    /// The literal text at the start of each path that matches, without regard to case and escapes.
    start: Vec<u8>,
    segments: Vec<PatternSegment>,
    /// True if the pattern ends in `/*`, which matches anything at any depth.
    pub(super) and_below: bool,
}

impl RoutePattern {
    /// Compiles a pattern without its extension, which is returned with its dot: `/send` and `.php` for `/send.php`. `None` if its
    /// last segment has none, or a `*`.
    pub fn without_extension(pattern: &PathPattern) -> Option<(RoutePattern, Vec<u8>)> {
        let text = pattern.as_str().trim_end_matches('/');
        let dot = text.rfind('.')?;
        let last = &text[text.rfind('/')? + 1..];
        let is_name = !last.starts_with('.') && last.contains('.') && !last.contains('*');
        let stem = PathPattern::parse(&text[..dot]).ok().filter(|_| is_name)?;
        Some((RoutePattern::new(&stem), text[dot..].into()))
    }

    /// Compiles a pattern.
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

    /// Returns false if a path neither matches nor extends a match. A fast test of the start of the path.
    pub fn may_concern(&self, path: &[u8]) -> bool {
        for (at, (given, named)) in path.iter().zip(&self.start).enumerate() {
            if given != named && !given.eq_ignore_ascii_case(named) {
                // Behind an escape, the compared bytes don't correspond.
                return path[..=at].contains(&b'%');
            }
        }
        path.len() >= self.start.len() || path.contains(&b'%')
    }

    /// Returns true if a path matches exactly, decoded once. For routes that require less than others: `public`.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.compare(path)
    }

    /// Returns true if a path could match for a lenient backend, which ignores ASCII case or a trailing `/`. For
    /// routes that require a permission.
    pub fn covers(&self, path: &[u8]) -> bool {
        count_steps(1);
        if !self.may_concern(path) {
            return false;
        }
        let trimmed = path.len() - path.iter().rev().take_while(|byte| **byte == b'/').count();
        let mut given = path[..trimmed].split(|byte| *byte == b'/').skip(1);
        let named = self.named().iter();
        let mut all = named
            .map(|segment| given.next().is_some_and(|text| segment.matches(text, CaseRule::Insensitive)));
        all.all(|matches| matches) && (self.and_below || given.next().is_none())
    }

    /// Returns true if all paths match: `/*`.
    pub fn is_for_all(&self) -> bool {
        self.and_below && self.segments.is_empty()
    }

    /// The segments without the empty one behind a last `/`.
    pub(super) fn named(&self) -> &[PatternSegment] {
        match self.segments.split_last() {
            Some((last, others)) if last.is_empty() => others,
            _ => &self.segments,
        }
    }

    fn compare(&self, path: &[u8]) -> bool {
        let Some(path) = path.strip_prefix(b"/") else { return false };
        let mut given = path.split(|byte| *byte == b'/');
        let mut all = self
            .segments
            .iter()
            .map(|segment| given.next().is_some_and(|t| segment.matches(t, CaseRule::Sensitive)));
        all.all(|matches| matches) && given.next().is_some() == self.and_below
    }
}

#[cfg(test)]
mod tests;
