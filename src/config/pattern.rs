//! Path patterns of routes in the configuration.

use super::wording::shown;
use crate::domain::{PathPattern, PatternError};

/// Parses a path pattern. The error repeats it.
pub(super) fn pattern(text: &str) -> Result<PathPattern, String> {
    PathPattern::parse(text).map_err(|reason| match reason {
        PatternError::Empty => reason.to_string(),
        _ => format!("invalid path '{}': {reason}", shown(text)),
    })
}

/// Returns true if a pattern may match a path, ignoring case. For warnings only: the router decides more exactly.
pub(super) fn covers(pattern: &PathPattern, path: &str) -> bool {
    let (pattern, mut given) = (pattern.as_str(), path.split('/'));
    let (named, and_below) = pattern.strip_suffix("/*").map_or((pattern, false), |named| (named, true));
    let same = |expected: &str, text: &str| match expected.split_once('*') {
        None => expected.eq_ignore_ascii_case(text),
        Some((before, after)) => {
            let text = text.to_ascii_lowercase();
            text.len() >= before.len() + after.len()
                && text.starts_with(&before.to_ascii_lowercase())
                && text.ends_with(&after.to_ascii_lowercase())
        }
    };
    named.split('/').all(|expected| given.next().is_some_and(|text| same(expected, text)))
        && given.next().is_some() == and_below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_paths_a_pattern_could_be_for() {
        for pattern in
            ["/*", "/api/*", "/API/mail.*", "/api/*.json", "/*/mail.send.json", "/api/mail.send.json"]
        {
            assert!(covers(&PathPattern::parse(pattern).unwrap(), "/api/mail.send.json"), "{pattern}");
        }
        for pattern in ["/", "/api", "/api/mail.send.json/*", "/api/*.xml", "/v3/*", "/api/*/x"] {
            assert!(!covers(&PathPattern::parse(pattern).unwrap(), "/api/mail.send.json"), "{pattern}");
        }
    }
}
