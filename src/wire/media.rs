//! What a Content-Type says about a body: whether it is a form, and of which kind.

use memchr::memmem;

use super::attributes::{Attributes, split};
use super::form::FormError;

/// RFC 2046, section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Urlencoded,
    Multipart { boundary: Vec<u8> },
    Other,
}

impl Media {
    /// Reads the value of the one Content-Type header; empty where there is none.
    ///
    /// A body without a type counts as urlencoded, since backends on Rack read it so. Text that some backends would take
    /// for a form and others not, or with another boundary, is refused.
    pub(crate) fn read(content_type: &[u8]) -> Result<Media, FormError> {
        let lower = content_type.trim_ascii().to_ascii_lowercase();
        let (kind, attributes) = split(content_type);
        match &*kind.to_ascii_lowercase() {
            b"" if lower.is_empty() => Ok(Media::Urlencoded),
            b"application/x-www-form-urlencoded" => {
                check_charset(&lower, attributes)?;
                Ok(Media::Urlencoded)
            }
            b"multipart/form-data" | b"multipart/mixed" | b"multipart/related" => {
                Ok(Media::Multipart { boundary: boundary(&lower, attributes)? })
            }
            _ if mentions(&lower, b"form-urlencoded") || mentions(&lower, b"multipart/form-data") => {
                Err(FormError::Malformed("Content-Type"))
            }
            _ => Ok(Media::Other),
        }
    }
}

/// Urlencoded text in a character set that isn't a superset of ASCII says something else than it seems to.
fn check_charset(lower: &[u8], attributes: Attributes<'_>) -> Result<(), FormError> {
    if !mentions(lower, b"charset") {
        return Ok(());
    }
    const HARMLESS: [&str; 6] = ["utf-8", "utf8", "us-ascii", "ascii", "latin1", "iso_8859-1"];
    for attribute in attributes {
        let attribute = attribute.map_err(|_| FormError::Malformed("Content-Type"))?;
        if attribute.is("charset") {
            let set = attribute.value.unwrap_or_default().to_ascii_lowercase();
            let set = std::str::from_utf8(set.trim_ascii()).unwrap_or("?");
            let family = ["iso-8859-", "windows-125", "cp125"].iter().any(|start| set.starts_with(start));
            if !family && !set.is_empty() && !HARMLESS.contains(&set) {
                return Err(FormError::Charset);
            }
        } else if attribute.is_extended("charset") {
            return Err(FormError::Malformed("Content-Type"));
        }
    }
    Ok(())
}

/// The boundary of a multipart type. PHP looks for the word anywhere in the header, so it may stand there only once.
fn boundary(lower: &[u8], attributes: Attributes<'_>) -> Result<Vec<u8>, FormError> {
    const BROKEN: FormError = FormError::Malformed("multipart boundary");
    if memmem::find_iter(lower, b"boundary").take(2).count() != 1 {
        return Err(BROKEN);
    }
    let mut found = None;
    for attribute in attributes {
        let attribute = attribute.map_err(|_| BROKEN)?;
        if attribute.is("boundary") {
            found = attribute.value;
        }
    }
    let boundary = found.ok_or(BROKEN)?;
    // RFC 2046's characters without comma and the inner space, at which some parsers cut a boundary.
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_-./:=?".contains(b);
    let good = !boundary.is_empty() && boundary.len() <= LONGEST_BOUNDARY && boundary.iter().all(allowed);
    if good { Ok(boundary.to_vec()) } else { Err(BROKEN) }
}

fn mentions(lower: &[u8], word: &[u8]) -> bool {
    memmem::find(lower, word).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(boundary: &str) -> Result<Media, FormError> {
        Ok(Media::Multipart { boundary: boundary.into() })
    }

    #[test]
    fn kinds() {
        let longest = "b".repeat(70);
        let cases = [
            ("", Ok(Media::Urlencoded)),
            ("application/x-www-form-urlencoded", Ok(Media::Urlencoded)),
            ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", Ok(Media::Urlencoded)),
            ("application/x-www-form-urlencoded; UTF-8", Ok(Media::Urlencoded)),
            ("application/x-www-form-urlencoded;charset=\"windows-1252\";", Ok(Media::Urlencoded)),
            ("application/json", Ok(Media::Other)),
            ("text/plain; boundary", Ok(Media::Other)),
            ("multipart/byteranges; boundary=x", Ok(Media::Other)),
            ("multipart/form-data; boundary=----=_Part_1.2'3", multipart("----=_Part_1.2'3")),
            ("Multipart/Form-Data;charset=utf-8;BOUNDARY=\"x:y\"", multipart("x:y")),
            (&format!("multipart/mixed; boundary={longest}"), multipart(&longest)),
        ];
        for (value, expected) in cases {
            assert_eq!(Media::read(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn refused() {
        let boundary = FormError::Malformed("multipart boundary");
        let kind = FormError::Malformed("Content-Type");
        let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
        let cases = [
            ("multipart/form-data", boundary),
            ("multipart/form-data; boundary=", boundary),
            ("multipart/form-data; boundary=\"\"", boundary),
            ("multipart/form-data; boundary=a; boundary=b", boundary),
            ("multipart/form-data; x=boundary=a; boundary=b", boundary),
            ("multipart/form-data; boundary*=utf-8''a", boundary),
            ("multipart/form-data; boundary*0=a", boundary),
            ("multipart/form-data; boundary=a,b", boundary),
            ("multipart/form-data; boundary=\"a b\"", boundary),
            ("multipart/form-data; boundary=\"a\\b\"", boundary),
            ("multipart/form-data; boundary=\"a", boundary),
            ("multipart/form-data; boundary =a", boundary),
            (&long, boundary),
            ("text/plain, application/x-www-form-urlencoded", kind),
            ("multipart/form-data, text/plain; boundary=x", kind),
            ("application/x-www-form-urlencoded; charset=utf-16", FormError::Charset),
            ("application/x-www-form-urlencoded; charset=ibm037", FormError::Charset),
            ("application/x-www-form-urlencoded; charset=utf-7", FormError::Charset),
            ("application/x-www-form-urlencoded; charset*=x''ibm037", kind),
        ];
        for (value, expected) in cases {
            assert_eq!(Media::read(value.as_bytes()), Err(expected), "{value}");
        }
    }
}
