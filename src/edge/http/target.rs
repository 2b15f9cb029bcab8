//! The target of a request: its query, and its normalized path, which is both judged and forwarded.

use std::borrow::Cow;

use super::error::Refusal;
use crate::wire::{self, AmbiguousPath, PathError, Readings};

/// The target of a request with its path normalized.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The normalized path, which begins with `/`.
    pub path: Cow<'a, str>,
    /// The query without `?`, as the client wrote it, but for the characters that must be percent-encoded.
    pub query: Option<Cow<'a, [u8]>>,
    /// The client's path, if it has anything unusual in it.
    unusual: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// Parses the origin form and the absolute form (RFC 9112 section 3.2).
    ///
    /// # Errors
    /// 400 if the target has another form, or contains a character that must be percent-encoded.
    pub fn parse(raw: &'a [u8]) -> Result<Target<'a>, Refusal> {
        let malformed = |e: PathError| Refusal::Malformed(e.to_string().into());
        let wire::RequestTarget { path, query } = wire::RequestTarget::split(raw).map_err(malformed)?;
        let query = query.map(wire::encode_query).transpose().map_err(malformed)?;
        if wire::is_ordinary(path)
            && let Ok(path) = std::str::from_utf8(path)
        {
            return Ok(Target { path: Cow::Borrowed(path), query, unusual: None });
        }
        let normalized = wire::normalize(path).map_err(malformed)?;
        Ok(Target { path: normalized, query, unusual: Some(path) })
    }

    /// The readings of the path. Most paths have no other than the path itself, and nothing is computed for them.
    ///
    /// # Errors
    /// 400 if there are too many.
    pub fn readings(&self) -> Result<Readings, Refusal> {
        match self.unusual {
            Some(raw) => Readings::of(raw, &self.path).map_err(ambiguous),
            None => Ok(Readings::default()),
        }
    }

    /// Returns true if a backend that rewrites the path into a query would find a credential in it.
    pub fn has_credential_in_path(&self) -> bool {
        self.unusual.is_some_and(wire::path_has_credential)
    }
}

/// The refusal of a path that backends read in different ways.
pub fn ambiguous(error: AmbiguousPath) -> Refusal {
    Refusal::Malformed(error.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_path() {
        for raw in
            ["/a/b?x=1", "http://host/a/b?x=1", "HTTPS://host:1/a/b?x=1", "/a/./b?x=1", "/a/c/../b?x=1"]
        {
            let target = Target::parse(raw.as_bytes()).unwrap();
            assert_eq!((&*target.path, target.query.as_deref()), ("/a/b", Some(&b"x=1"[..])), "{raw}");
        }
        assert_eq!(Target::parse(b"http://host").unwrap().path, "/");
        assert_eq!(Target::parse(b"http://host?q").unwrap().query.as_deref(), Some(&b"q"[..]));
        assert_eq!(Target::parse(b"/a?").unwrap().query.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn other_forms_are_refused() {
        for raw in ["*", "host:80", "", "a/b", "/a#b", "ftp://host/a"] {
            assert!(Target::parse(raw.as_bytes()).is_err(), "{raw}");
        }
    }
}
