//! What a Content-Type says about a body: whether it is a form, and of which kind.

use memchr::memmem;

use super::attributes::{Attributes, is_token, split};
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
                Ok(Media::Multipart { boundary: boundary(content_type, attributes)? })
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

/// The boundary of a multipart type (RFC 2046, section 5.1.1).
///
/// Parsers differ in how they find it, so it has to be one that all of them find: the word, a `=` and a value in a form
/// that none of them cuts or unescapes.
fn boundary(text: &[u8], attributes: Attributes<'_>) -> Result<Vec<u8>, FormError> {
    const NOT_ONE: FormError = FormError::Malformed("Content-Type needs exactly one boundary");
    const CHARACTERS: FormError =
        FormError::Malformed("boundary with characters that parsers read differently");
    if !is_found_by_its_word(text) {
        return Err(NOT_ONE);
    }
    let mut found = None;
    for attribute in attributes {
        let attribute = attribute.map_err(|_| FormError::Malformed("Content-Type"))?;
        let again = attribute.is("boundary") && found.is_some();
        if again || attribute.is_extended("boundary") {
            return Err(NOT_ONE);
        }
        if attribute.is("boundary") {
            found = Some((attribute.value.ok_or(NOT_ONE)?, attribute.is_quoted));
        }
    }
    let (boundary, is_quoted) = found.ok_or(NOT_ONE)?;
    // Werkzeug ends a bare value where a token ends (RFC 9110, section 5.6.2), others at a `;`.
    if !is_quoted && !boundary.iter().all(is_token) {
        return Err(FormError::Malformed("boundary needs quotes"));
    }
    if is_read_alike(boundary) { Ok(boundary.to_vec()) } else { Err(CHARACTERS) }
}

/// Whether those who look for the boundary by its word, wherever that stands, find the one parameter of that name.
///
/// Rack, formidable, Mojolicious and CGI.pm look for the word with a `=` after it, some for the first one, some for the
/// last. PHP takes the first word, in lower case if there is one in lower case, and then the next `=`.
fn is_found_by_its_word(text: &[u8]) -> bool {
    const WORD: &[u8] = b"boundary";
    let lower = text.to_ascii_lowercase();
    let equals_after = |at: usize| {
        let blanks = lower[at + WORD.len()..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        Some(at + WORD.len() + blanks).filter(|at| lower.get(*at) == Some(&b'='))
    };
    let mut named = memmem::find_iter(&lower, WORD).filter_map(equals_after);
    let (Some(equals), None) = (named.next(), named.next()) else { return false };
    // Some strip a blank there, and to PHP and Rack it is the first character of the boundary.
    if lower.get(equals + 1).is_some_and(u8::is_ascii_whitespace) {
        return false;
    }
    let first = memmem::find(text, WORD).or_else(|| memmem::find(&lower, WORD)).unwrap_or_default();
    memchr::memchr(b'=', &text[first..]).is_none_or(|at| first + at == equals)
}

/// Whether all parsers take these bytes for the boundary as they stand, once they know where the value begins and ends.
fn is_read_alike(boundary: &[u8]) -> bool {
    // RFC 2046's characters without the comma, at which Rack and CGI.pm end it also in quotes.
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_-./:=? ".contains(b);
    let (first, last) = (boundary.first(), boundary.last());
    boundary.len() <= LONGEST_BOUNDARY
        && boundary.iter().all(allowed)
        // aiohttp strips blanks, and RFC 2046 has none at the end.
        && first.is_some_and(|b| *b != b' ')
        && last != Some(&b' ')
        // Jetty takes apostrophes for quotes.
        && !(first == Some(&b'\'') && last == Some(&b'\''))
        // Tomcat decodes encoded words (RFC 2047).
        && !boundary.split(|b| *b == b' ').any(|word| word.starts_with(b"=?"))
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
            ("Multipart/Form-Data;charset=utf-8;BOUNDARY=\"x:y\"", multipart("x:y")),
            (&format!("multipart/mixed; boundary={longest}"), multipart(&longest)),
        ];
        for (value, expected) in cases {
            assert_eq!(Media::read(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn refused() {
        let kind = FormError::Malformed("Content-Type");
        let cases = [
            ("text/plain, application/x-www-form-urlencoded", kind),
            ("multipart/form-data, text/plain; boundary=x", kind),
            ("multipart/form-data boundary=x", kind),
            ("multipart/form-data; boundary =x", kind),
            ("multipart/form-data; boundary=x; y=a b", kind),
            ("multipart/form-data; boundary=\"a", kind),
            ("application/x-www-form-urlencoded; charset=utf-16", FormError::Charset),
            ("application/x-www-form-urlencoded; charset=ibm037", FormError::Charset),
            ("application/x-www-form-urlencoded; charset=utf-7", FormError::Charset),
            ("application/x-www-form-urlencoded; charset*=x''ibm037", kind),
        ];
        for (value, expected) in cases {
            assert_eq!(Media::read(value.as_bytes()), Err(expected), "{value}");
        }
    }

    #[test]
    fn boundaries_that_all_parsers_find() {
        let cases = [
            ("boundary=----WebKitFormBoundaryX", "----WebKitFormBoundaryX"),
            ("charset=x; boundary=----WebKitFormBoundaryX", "----WebKitFormBoundaryX"),
            ("boundary=----geckoformboundaryX", "----geckoformboundaryX"),
            ("boundary=dart-http-boundary-x", "dart-http-boundary-x"),
            ("boundary=Boundary-X", "Boundary-X"),
            ("boundary=alamofire.boundary.x", "alamofire.boundary.x"),
            ("boundary=axios-1.21.1-boundary-x", "axios-1.21.1-boundary-x"),
            ("boundary=boundary", "boundary"),
            ("boundary=\"boundary\"", "boundary"),
            ("boundary=BOUNDARY; charset=utf-8", "BOUNDARY"),
            ("Boundary=----WebKitFormBoundaryX; charset=utf-8", "----WebKitFormBoundaryX"),
            // PHP finds no `=` after the word in lower case, and reads no form at all.
            ("BOUNDARY=----geckoformboundaryX", "----geckoformboundaryX"),
            ("x=boundary; boundary=BB", "BB"),
            ("boundary=BB; x=boundary", "BB"),
            ("boundary=\"a b\"", "a b"),
            ("boundary=\"a  b\"; charset=utf-8", "a  b"),
            ("boundary=\"----=_Part_1.2'3\"", "----=_Part_1.2'3"),
            ("boundary=\"a'()+_-./:=?z\"", "a'()+_-./:=?z"),
            ("boundary=a'+_-.z", "a'+_-.z"),
            ("boundary=\"BB\" ; charset=utf-8", "BB"),
            // PHP, Rack, formidable and CGI.pm read `BB `. Whatever they take for a delimiter is one of ours, too, so they
            // may see fewer fields than we do, and none that we don't.
            ("boundary=BB ;", "BB"),
            ("boundary=BB \t; charset=utf-8", "BB"),
            (" ;; boundary=BB;; ;", "BB"),
        ];
        for (attributes, expected) in cases {
            let value = format!("multipart/form-data; {attributes}");
            assert_eq!(Media::read(value.as_bytes()), multipart(expected), "{value}");
        }
    }

    /// With what other parsers find, where it isn't nothing.
    #[test]
    fn boundaries_that_parsers_find_differently() {
        let one = "Content-Type needs exactly one boundary";
        let quotes = "boundary needs quotes";
        let characters = "boundary with characters that parsers read differently";
        let long = format!("boundary={}", "b".repeat(71));
        let cases = [
            ("x=y", one),
            ("boundary", one),
            ("boundary=", characters),
            ("boundary=\"\"", characters),
            (&long, characters),
            // The first or the last, or the one in lower case.
            ("boundary=AA; boundary=BB", one),
            ("boundary=AA; boundary=AA", one),
            ("BOUNDARY=AA; boundary=BB", one),
            ("boundary; boundary=BB", one),
            ("boundary=BB; Boundary", one),
            // Go, Tomcat, Werkzeug and Django: AA.
            ("boundary=BB; boundary*=utf-8''AA", one),
            ("boundary*=utf-8''AA", one),
            ("boundary*0=A; boundary*1=A", one),
            // PHP, formidable, Jetty, CGI.pm: AA.
            ("xboundary=AA; boundary=BB", one),
            ("x=boundary=AA; boundary=BB", one),
            ("x=\"boundary=AA; \"; boundary=BB", one),
            ("x=\"a\\\"; boundary=AA; y=\\\"\"; boundary=BB", one),
            // PHP: AA, the value after the word.
            ("boundaryx=AA; boundary=BB", one),
            ("x=\"boundary y=AA;\"; boundary=BB", one),
            ("BOUNDARY=geckoboundaryX; charset=AA", one),
            // Mojolicious: AA, the last one.
            ("boundary=BB; xboundary=AA", one),
            ("boundary=BB; x=\"boundary = AA\"", one),
            ("boundary=\"xboundary=AA\"", one),
            ("boundary=xboundary=AA", one),
            // PHP and Rack: a blank and BB; Werkzeug and busboy: none.
            ("boundary= BB", one),
            // Werkzeug ends it at the first of these.
            ("boundary=----=_Part_1", quotes),
            ("boundary=a:b", quotes),
            ("boundary=a/b", quotes),
            ("boundary=a,b", quotes),
            // Rack, CGI.pm: a.
            ("boundary=\"a,b\"", characters),
            // Werkzeug: ab.
            ("boundary=\"a\\b\"", characters),
            // aiohttp: a.
            ("boundary=\" a\"", characters),
            ("boundary=\"a \"", characters),
            // Jetty: a.
            ("boundary='a'", characters),
            // Tomcat: a.
            ("boundary=\"=?utf-8?Q?a?=\"", characters),
            ("boundary=\"b =?utf-8?Q?a?=\"", characters),
            ("boundary=a%b", characters),
        ];
        for (attributes, expected) in cases {
            let value = format!("multipart/form-data; {attributes}");
            let outcome = Media::read(value.as_bytes());
            assert_eq!(outcome, Err(FormError::Malformed(expected)), "{value}");
        }
    }
}
