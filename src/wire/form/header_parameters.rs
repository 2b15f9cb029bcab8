//! The parameters of Content-Type and Content-Disposition (RFC 9110 section 5.6.6, RFC 2045 section 5.1).

/// A `name=value` as written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeaderParameter<'a> {
    pub(crate) name: &'a [u8],
    /// The text between the quotes, or the bare word; `None` without `=`.
    pub(crate) value: Option<&'a [u8]>,
    /// True for a value in quotes.
    pub(crate) is_quoted: bool,
}

impl HeaderParameter<'_> {
    /// Compares the name without regard to ASCII case.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Returns true for `name` in its extended or continued form, `name*=` or `name*0=` (RFC 2231, RFC 8187).
    pub(crate) fn is_extended(&self, name: &str) -> bool {
        let star = self.name.iter().position(|b| *b == b'*');
        star.is_some_and(|at| self.name[..at].eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// The error for parameters that can be read in more than one way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AmbiguousHeaderParameter;

/// Splits a header value into its first word and its parameters.
pub(crate) fn split(value: &[u8]) -> (&[u8], HeaderParameters<'_>) {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    (value[..end].trim_ascii(), HeaderParameters(&value[end..]))
}

/// An iterator over parameters, which ends at the first error. A backslash in quotes escapes the next byte (RFC 9110 section
/// 5.6.4).
#[derive(Clone, Copy)]
pub(crate) struct HeaderParameters<'a>(&'a [u8]);

impl<'a> Iterator for HeaderParameters<'a> {
    type Item = Result<HeaderParameter<'a>, AmbiguousHeaderParameter>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.0 = self.0.trim_ascii_start();
            let (first, rest) = self.0.split_first()?;
            if *first != b';' {
                self.0 = &[];
                return Some(Err(AmbiguousHeaderParameter));
            }
            self.0 = rest.trim_ascii_start();
            if !self.0.is_empty() && self.0[0] != b';' {
                let attribute = self.attribute();
                if attribute.is_err() {
                    self.0 = &[];
                }
                return Some(attribute);
            }
        }
    }
}

impl<'a> HeaderParameters<'a> {
    /// The text that was not read yet.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    fn attribute(&mut self) -> Result<HeaderParameter<'a>, AmbiguousHeaderParameter> {
        let end = memchr::memchr2(b'=', b';', self.0).unwrap_or(self.0.len());
        let name = &self.0[..end];
        let has_value = self.0.get(end) == Some(&b'=');
        if has_value && !name.iter().all(u8::is_ascii_graphic) || name.contains(&b'"') {
            return Err(AmbiguousHeaderParameter);
        }
        if !has_value {
            self.0 = &self.0[end..];
            return Ok(HeaderParameter { name: name.trim_ascii_end(), value: None, is_quoted: false });
        }
        let after = &self.0[end + 1..];
        let value = match after.first() {
            Some(b'"') => {
                let len = quoted_len(&after[1..]).ok_or(AmbiguousHeaderParameter)?;
                self.0 = &after[len + 2..];
                &after[1..=len]
            }
            _ => {
                let len = memchr::memchr(b';', after).unwrap_or(after.len());
                self.0 = &after[len..];
                after[..len].trim_ascii()
            }
        };
        let is_quoted = after.first() == Some(&b'"');
        if !is_quoted && value.iter().any(|b| *b == b'"' || b.is_ascii_whitespace()) {
            return Err(AmbiguousHeaderParameter);
        }
        Ok(HeaderParameter { name, value: Some(value), is_quoted })
    }
}

/// Returns true for a byte of a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(byte: &u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~')
}

/// The number of bytes before the closing quote.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: &str) -> Result<Vec<(String, Option<String>)>, AmbiguousHeaderParameter> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let (_, attributes) = split(value.as_bytes());
        attributes.map(|a| a.map(|a| (text(a.name), a.value.map(text)))).collect()
    }

    #[test]
    fn well_formed() {
        let one = |name: &str, value: &str| vec![(name.to_owned(), Some(value.to_owned()))];
        assert_eq!(all("x; n=v"), Ok(one("n", "v")));
        assert_eq!(all("x;n=v ;; ;"), Ok(one("n", "v")));
        assert_eq!(all(r#"x; n="a;b=c""#), Ok(one("n", "a;b=c")));
        assert_eq!(all(r#"x; n="a\"b\\" ;"#), Ok(one("n", r#"a\"b\\"#)));
        assert_eq!(all(r#"x; n="""#), Ok(one("n", "")));
        assert_eq!(all("x; n="), Ok(one("n", "")));
        assert_eq!(all("x; utf-8"), Ok(vec![("utf-8".into(), None)]));
        assert_eq!(all("x"), Ok(vec![]));
    }

    #[test]
    fn broken() {
        let cases = [
            r#"x; n="a"#,
            r#"x; n="a\"#,
            r#"x; n="a\""#,
            r#"x; n="a"b"#,
            r#"x; n="a" b=c"#,
            r#"x; n=a"b"#,
            r#"x; n= "b""#,
            r#"x; n"="b""#,
            "x; n=a b",
            "x; n =b",
        ];
        for value in cases {
            assert_eq!(all(value), Err(AmbiguousHeaderParameter), "{value}");
        }
    }

    #[test]
    fn extended_names() {
        let (_, mut attributes) = split(b"x; NAME*0*=a");
        let attribute = attributes.next().unwrap().unwrap();
        assert!(attribute.is_extended("name") && !attribute.is("name") && !attribute.is_extended("filename"));
    }
}
