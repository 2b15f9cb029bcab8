//! Path patterns of routes, as far as they can be judged by themselves.

use super::reader::shown;

/// A path pattern that is plain: what a request's path is made before it is compared with it.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    let fault = if text.is_empty() {
        "is empty: write /* for every path".to_owned()
    } else if !text.starts_with('/') {
        format!("'{}' must begin with /", shown(text))
    } else if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
        format!(
            "'{}' holds '{}': only visible ASCII characters are possible",
            shown(text),
            odd.escape_debug()
        )
    } else if let Some(mark) = text.chars().find(|c| matches!(c, '?' | '#')) {
        format!("'{}' holds '{mark}': a pattern is for the path alone", shown(text))
    } else if text.contains('%') {
        format!("'{}' holds '%': write the character itself", shown(text))
    } else if text.contains('\\') {
        format!("'{}' holds a backslash, which no path can", shown(text))
    } else if text.contains("//") {
        format!("'{}' holds '//', which no path does after it was made plain", shown(text))
    } else if text.split('/').any(|segment| segment == "." || segment == "..") {
        format!("'{}' holds a dot segment, which no path does after it was made plain", shown(text))
    } else {
        return Ok(text.to_owned());
    };
    Err(fault)
}

/// Whether a pattern could be for a path, without regard to case. For warnings: which route a request takes is found out
/// elsewhere, and more exactly.
pub(super) fn covers(pattern: &str, path: &str) -> bool {
    let mut given = path.split('/');
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
            assert!(covers(pattern, "/api/mail.send.json"), "{pattern}");
        }
        for pattern in ["/", "/api", "/api/mail.send.json/*", "/api/*.xml", "/v3/*", "/api/*/x"] {
            assert!(!covers(pattern, "/api/mail.send.json"), "{pattern}");
        }
    }

    #[test]
    fn the_rules() {
        for good in ["/", "/*", "/v3/*/send", "/a.b/..c", "/api/mail.send.json", "/~x/$y;z=1"] {
            assert_eq!(pattern(good).as_deref(), Ok(good));
        }
        for bad in [
            "", "*", "a/b", "/a b", "/ä", "/a?b", "/a#b", "/a%2fb", "/a\\b", "//", "/a//b", "/.", "/a/../b",
            "/a/..",
        ] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
