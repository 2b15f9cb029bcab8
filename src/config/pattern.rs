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

#[cfg(test)]
mod tests {
    use super::*;

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
