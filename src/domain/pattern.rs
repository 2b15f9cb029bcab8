//! Path patterns of routes.

use std::fmt;

use thiserror::Error;

/// A path pattern that can match a normalized path.
///
/// The text begins with `/`, and contains only characters that a normalized path contains without an escape, no empty or dot
/// segment, and at most one `*` in each segment.
#[derive(Clone, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for a pattern that could never match, or that does not mean what it seems to.
    pub fn parse(text: &str) -> Result<PathPattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let path = text.strip_prefix('/').ok_or(PatternError::Start)?;
        if let Some(odd) = text.chars().find(|c| !(*c == '/' || is_plain(*c))) {
            return Err(match odd {
                '?' | '#' => PatternError::NotThePath(odd),
                '%' => PatternError::Escape,
                ' '..='~' => PatternError::NotNormalized(odd),
                _ => PatternError::Invisible(odd),
            });
        }
        let mut segments = path.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err(PatternError::Empties);
            }
            if matches!(segment, "." | "..") {
                return Err(PatternError::DotSegment);
            }
            if segment.ends_with('.') {
                return Err(PatternError::TrailingDot);
            }
            if segment.matches('*').count() > 1 {
                return Err(PatternError::TwoStars);
            }
        }
        Ok(PathPattern(text.to_owned()))
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns true for characters that a normalized path contains without an escape (RFC 3986, section 3.3, except `;`). `*`,
/// which stands for any text in a pattern, is one of them.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@".contains(c)
}

/// The reason for which a pattern is invalid. Except for [`PatternError::Empty`], it follows the pattern and a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// The pattern is empty.
    #[error("empty path: write /* for every path")]
    Empty,
    /// A pattern that does not begin with `/`.
    #[error("must begin with /")]
    Start,
    /// A pattern with a character that is not visible ASCII.
    #[error("contains '{}': only visible ASCII characters are allowed", .0.escape_debug())]
    Invisible(char),
    /// A pattern with a character that no path contains, or only with an escape.
    #[error("contains '{0}', which no normalized path contains")]
    NotNormalized(char),
    /// A pattern with a query or a fragment.
    #[error("contains '{0}': a pattern matches the path only")]
    NotThePath(char),
    /// A pattern with a `%`.
    #[error("contains '%': write the character itself")]
    Escape,
    /// A pattern with an empty segment.
    #[error("contains '//', which no normalized path contains")]
    Empties,
    /// A pattern with a segment `.` or `..`.
    #[error("contains a dot segment, which no normalized path contains")]
    DotSegment,
    /// A pattern with a segment that ends in a dot.
    #[error("contains a segment that ends in a dot, and such paths are refused")]
    TrailingDot,
    /// A pattern with more than one `*` in a segment.
    #[error("contains more than one * in a segment")]
    TwoStars,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules() {
        for good in ["/", "/*", "/v3/*/send", "/a.b/..c", "/api/mail.send.json", "/~x/$y=1", "/a/", "/a*/*b"]
        {
            assert_eq!(PathPattern::parse(good).as_ref().map(PathPattern::as_str), Ok(good));
        }
        let cases = [
            ("", PatternError::Empty),
            ("*", PatternError::Start),
            ("a/b", PatternError::Start),
            ("/a b", PatternError::NotNormalized(' ')),
            ("/a;b", PatternError::NotNormalized(';')),
            ("/a\\b", PatternError::NotNormalized('\\')),
            ("/{a}", PatternError::NotNormalized('{')),
            ("/ä", PatternError::Invisible('ä')),
            ("/a\n", PatternError::Invisible('\n')),
            ("/a?b", PatternError::NotThePath('?')),
            ("/a#b", PatternError::NotThePath('#')),
            ("/a%2fb", PatternError::Escape),
            ("//", PatternError::Empties),
            ("/a//b", PatternError::Empties),
            ("/.", PatternError::DotSegment),
            ("/a/../b", PatternError::DotSegment),
            ("/a./b", PatternError::TrailingDot),
            ("/...", PatternError::TrailingDot),
            ("/*.", PatternError::TrailingDot),
            ("/**", PatternError::TwoStars),
            ("/v1/*x*", PatternError::TwoStars),
        ];
        for (bad, reason) in cases {
            assert_eq!(PathPattern::parse(bad), Err(reason), "{bad}");
        }
    }
}
