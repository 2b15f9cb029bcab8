//! Path patterns of routes: what one may be.

use std::fmt;

use thiserror::Error;

/// A path pattern that some request's path can match, once that one is made plain: begins with `/`, holds only characters
/// that a plain path holds without an escape, no empty or dot segment, and one `*` at most in each segment.
#[derive(Clone, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Takes a pattern as it is written.
    ///
    /// # Errors
    /// [`PatternError`] for one that could never match, or that means something else than it says.
    pub fn parse(text: &str) -> Result<PathPattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let path = text.strip_prefix('/').ok_or(PatternError::Start)?;
        if let Some(odd) = text.chars().find(|c| !(*c == '/' || is_plain(*c))) {
            return Err(match odd {
                '?' | '#' => PatternError::NotThePath(odd),
                '%' => PatternError::Escape,
                ' '..='~' => PatternError::NeverPlain(odd),
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

    /// As it was written.
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

/// What a plain path holds without an escape (RFC 3986, section 3.3, but for `;`); `*` is what stands for any text, too.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@".contains(c)
}

/// Why a pattern is none; follows its text in quotes, but for [`PatternError::Empty`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Nothing at all.
    #[error("is empty: write /* for every path")]
    Empty,
    /// Doesn't begin with `/`.
    #[error("must begin with /")]
    Start,
    /// Neither visible nor ASCII.
    #[error("holds '{}': only visible ASCII characters are possible", .0.escape_debug())]
    Invisible(char),
    /// A character that no path holds, or only with an escape.
    #[error("holds '{0}', which no path does after it was made plain")]
    NeverPlain(char),
    /// A query or a fragment.
    #[error("holds '{0}': a pattern is for the path alone")]
    NotThePath(char),
    /// A `%`.
    #[error("holds '%': write the character itself")]
    Escape,
    /// An empty segment.
    #[error("holds '//', which no path does after it was made plain")]
    Empties,
    /// `.` or `..`.
    #[error("holds a dot segment, which no path does after it was made plain")]
    DotSegment,
    /// A segment that ends in a dot.
    #[error("has a segment that ends in a dot, and such paths are refused")]
    TrailingDot,
    /// More than one `*` in a segment.
    #[error("holds more than one * in a segment")]
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
            ("/a b", PatternError::NeverPlain(' ')),
            ("/a;b", PatternError::NeverPlain(';')),
            ("/a\\b", PatternError::NeverPlain('\\')),
            ("/{a}", PatternError::NeverPlain('{')),
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
