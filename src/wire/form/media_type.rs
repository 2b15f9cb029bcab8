//! The media type of a body: whether it is a form, and of which kind.

use memchr::memmem;

use super::charset::{is_superset_of_ascii, spells_ascii_differently};
use super::error::FormError;
use super::header_parameters::{HeaderParameters, is_token, split};

/// The longest boundary in bytes (RFC 2046 section 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// The kind of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    Urlencoded,
    /// Text, which Bottle reads as an urlencoded form, and others as text.
    Text,
    Multipart {
        boundary: Boundary,
    },
    Other,
}

/// The boundary of a multipart body (RFC 2046 section 5.1.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    /// 1 to 70 characters.
    pub(crate) text: Vec<u8>,
    /// True for a quoted value, which no parser cuts.
    pub(crate) is_quoted: bool,
}

impl MediaType {
    /// Parses the value of the only Content-Type header; empty if there is none.
    ///
    /// A body without a type counts as urlencoded, because Rack reads it so. Formidable, Bottle, Go and Tomcat read any multipart
    /// type as a form. A type that only some backends take for a form, or that they read with different boundaries, is refused.
    pub(crate) fn read(content_type: &[u8]) -> Result<MediaType, FormError> {
        let (kind, attributes) = split(content_type);
        let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
        let has = |word: &[u8]| mentions(content_type, word);
        // Formidable searches for the words, wherever they are.
        let is_multipart_to_some = || has(b"multipart") && has(b"boundary");
        if is("application/x-www-form-urlencoded")
            && (content_type.len() == kind.len() || !is_multipart_to_some())
            || content_type.trim_ascii().is_empty()
        {
            check_charset(attributes, |set| !is_superset_of_ascii(set))?;
            return Ok(MediaType::Urlencoded);
        }
        if is("multipart/form-data") || is_multipart(kind) && has(b"boundary") {
            let boundary = boundary(content_type, attributes)?;
            check_charset(attributes, spells_ascii_differently)?;
            return Ok(MediaType::Multipart { boundary });
        }
        if has(b"form-urlencoded") || has(b"multipart/form-data") || is_multipart_to_some() {
            return Err(KIND);
        }
        let is_text = is("text/plain") || has(b"urlencoded");
        Ok(if is_text { MediaType::Text } else { MediaType::Other })
    }
}

/// Returns true for a type that is a multipart, such as `multipart/mixed`.
fn is_multipart(kind: &[u8]) -> bool {
    const START: &[u8] = b"multipart/";
    let subtype = kind.get(START.len()..).unwrap_or_default();
    let is_word = !subtype.is_empty() && subtype.iter().all(is_token);
    is_word && kind[..START.len()].eq_ignore_ascii_case(START)
}

/// Refuses character sets in which a form may not be what it seems to be.
fn check_charset(attributes: HeaderParameters<'_>, is_refused: fn(&[u8]) -> bool) -> Result<(), FormError> {
    if !mentions(attributes.rest(), b"charset") {
        return Ok(());
    }
    for attribute in attributes {
        let attribute = attribute.map_err(|_| PARAMETER)?;
        if attribute.is("charset") && is_refused(attribute.value.unwrap_or_default()) {
            return Err(FormError::Charset);
        }
        if attribute.is_extended("charset") {
            return Err(EXTENDED_CHARSET);
        }
    }
    Ok(())
}

const KIND: FormError = FormError::Malformed(
    "Content-Type must be one media type, with a `;` before each parameter, as in application/x-www-form-urlencoded; charset=utf-8",
);
const PARAMETER: FormError = FormError::Malformed(
    "Content-Type: write each parameter as name=value or name=\"value\", with a `;` between parameters",
);
const EXTENDED_CHARSET: FormError = FormError::Malformed("write charset= instead of charset*=");
const QUOTES: FormError = FormError::Malformed("put the boundary in quotes: boundary=\"…\"");
const NONE: FormError = FormError::Malformed("Content-Type names no boundary");
const TWO: FormError = FormError::Malformed("Content-Type names two boundaries");
const BLANK_AFTER: FormError = FormError::Malformed("remove the blank after boundary=");
const BLANK_BEFORE: FormError = FormError::Malformed("remove the blank between boundary and =");
const EXTENDED: FormError = FormError::Malformed("write boundary= instead of boundary*=");
const WORD_BEFORE: FormError = FormError::Malformed(
    "write boundary= in lower case, without the word boundary before it in Content-Type",
);
const EMPTY: FormError = FormError::Malformed("boundary is empty");
const LONG: FormError = FormError::Malformed("boundary is longer than 70 characters");
const CHARACTER: FormError =
    FormError::Malformed("boundary may contain letters, digits, blanks and '()*+_-./:=? only");
const BLANK_AT_END: FormError = FormError::Malformed("remove the blank at the start or end of the boundary");
const APOSTROPHES: FormError = FormError::Malformed("put the boundary in quotes instead of apostrophes");
const ENCODED: FormError = FormError::Malformed("boundary contains the start of an encoded word: =?");

/// The boundary of a multipart type.
///
/// Parsers differ in how they find it. Accepted is what all of them find: the word, a `=`, and a value that none of them
/// unescapes. Some cut an unquoted value; the scanner of the body watches for the consequences.
fn boundary(text: &[u8], attributes: HeaderParameters<'_>) -> Result<Boundary, FormError> {
    let written = find_by_word(text)?;
    let mut found = None;
    for attribute in attributes {
        let Ok(attribute) = attribute else {
            let end = memchr::memchr(b';', written).unwrap_or(written.len());
            let needs_quotes = written[..end].trim_ascii().contains(&b' ') && written[0] != b'"';
            return Err(if needs_quotes { QUOTES } else { PARAMETER });
        };
        if attribute.is_extended("boundary") {
            return Err(EXTENDED);
        }
        if attribute.is("boundary") {
            let value = attribute.value.ok_or(NONE)?;
            if found.replace((value, attribute.is_quoted)).is_some() {
                return Err(TWO);
            }
        }
    }
    let (text, is_quoted) = found.ok_or(NONE)?;
    check_characters(text)?;
    Ok(Boundary { text: text.to_vec(), is_quoted })
}

/// Finds the boundary as parsers do that search for its word at any position. Returns what follows the `=`.
///
/// Rack, formidable, Mojolicious and CGI.pm search for the word with a `=` behind it: some for the first one, some for the
/// last. PHP takes the first word, in lower case if there is one, and then the next `=`.
///
/// # Errors
/// These parsers would find something else than the only parameter of that name, or a value with a blank.
fn find_by_word(text: &[u8]) -> Result<&[u8], FormError> {
    const WORD: &[u8] = b"boundary";
    let lower = text.to_ascii_lowercase();
    let equals_after = |at: usize| {
        let blanks = lower[at + WORD.len()..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        Some((at + WORD.len() + blanks, blanks)).filter(|(at, _)| lower.get(*at) == Some(&b'='))
    };
    let mut named = memmem::find_iter(&lower, WORD).filter_map(equals_after);
    let Some((equals, blanks)) = named.next() else {
        return Err(if mentions(&lower, b"boundary*") { EXTENDED } else { NONE });
    };
    if named.next().is_some() {
        return Err(TWO);
    }
    if blanks > 0 {
        return Err(BLANK_BEFORE);
    }
    // Some parsers strip a blank there; to PHP and Rack it is the first character of the boundary.
    if lower.get(equals + 1).is_some_and(u8::is_ascii_whitespace) {
        return Err(BLANK_AFTER);
    }
    let first = memmem::find(text, WORD).or_else(|| memmem::find(&lower, WORD)).unwrap_or_default();
    if memchr::memchr(b'=', &text[first..]).is_some_and(|at| first + at != equals) {
        return Err(WORD_BEFORE);
    }
    Ok(&text[equals + 1..])
}

/// Checks that all parsers take these bytes unchanged for the boundary, once they have found the value.
fn check_characters(boundary: &[u8]) -> Result<(), FormError> {
    // The characters of RFC 2046, and the asterisk that Android clients send. Without the comma, at which Rack and CGI.pm end
    // even a quoted boundary.
    let is_allowed = |b: &u8| b.is_ascii_alphanumeric() || b"'()*+_-./:=? ".contains(b);
    let (Some(first), Some(last)) = (boundary.first(), boundary.last()) else { return Err(EMPTY) };
    if boundary.len() > LONGEST_BOUNDARY {
        return Err(LONG);
    }
    if !boundary.iter().all(is_allowed) {
        return Err(CHARACTER);
    }
    // aiohttp strips blanks, and RFC 2046 allows none at the end.
    if *first == b' ' || *last == b' ' {
        return Err(BLANK_AT_END);
    }
    // Jetty takes apostrophes for quotes.
    if *first == b'\'' && *last == b'\'' {
        return Err(APOSTROPHES);
    }
    // Tomcat decodes encoded words (RFC 2047).
    if boundary.split(|b| *b == b' ').any(|word| word.starts_with(b"=?")) {
        return Err(ENCODED);
    }
    Ok(())
}

/// Returns true if the word occurs, which is in lower case, without regard to case.
fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|at| at.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(boundary: &str, is_quoted: bool) -> Result<MediaType, FormError> {
        Ok(MediaType::Multipart { boundary: Boundary { text: boundary.into(), is_quoted } })
    }

    #[test]
    fn kinds() {
        let longest = "b".repeat(70);
        let cases = [
            ("", Ok(MediaType::Urlencoded)),
            ("application/x-www-form-urlencoded", Ok(MediaType::Urlencoded)),
            ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", Ok(MediaType::Urlencoded)),
            ("application/x-www-form-urlencoded; UTF-8", Ok(MediaType::Urlencoded)),
            ("application/x-www-form-urlencoded;charset=\"windows-1252\";", Ok(MediaType::Urlencoded)),
            ("application/json", Ok(MediaType::Other)),
            ("text/plain; boundary", Ok(MediaType::Text)),
            ("text/PLAIN;charset=x", Ok(MediaType::Text)),
            ("application/x-www-urlencoded", Ok(MediaType::Text)),
            ("text/html", Ok(MediaType::Other)),
            ("multipart/byteranges", Ok(MediaType::Other)),
            ("multipart/byteranges; boundary=x", multipart("x", false)),
            ("multipart/form-dataX; boundary=x", multipart("x", false)),
            ("multipart/form-data; boundary=x; charset=koi8-r", multipart("x", false)),
            ("application/x-www-form-urlencoded; charset=koi8-r", Ok(MediaType::Urlencoded)),
            ("multipart/form-data; boundary=----=_Part_1.2'3", multipart("----=_Part_1.2'3", false)),
            ("Multipart/Form-Data;charset=utf-8;BOUNDARY=\"x:y\"", multipart("x:y", true)),
            (&format!("multipart/mixed; boundary={longest}"), multipart(&longest, false)),
        ];
        for (value, expected) in cases {
            assert_eq!(MediaType::read(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn refused() {
        let cases = [
            ("text/plain, application/x-www-form-urlencoded", KIND),
            ("multipart/form-data, text/plain; boundary=x", KIND),
            ("multipart/form-data boundary=x", KIND),
            ("multipart/form-data; boundary =x", BLANK_BEFORE),
            ("multipart/form-data; boundary=x; y=a b", PARAMETER),
            ("multipart/form-data; boundary=\"a", PARAMETER),
            ("application/x-www-form-urlencoded; charset=utf-16", FormError::Charset),
            ("application/x-www-form-urlencoded; charset=ibm037", FormError::Charset),
            ("application/x-www-form-urlencoded; charset=utf-7", FormError::Charset),
            ("multipart/form-data; boundary=x; charset=utf-16", FormError::Charset),
            ("text/plain; x=multipart; boundary=x", KIND),
            ("application/x-www-form-urlencodedX", KIND),
            ("application/x-www-form-urlencoded charset=utf-8", KIND),
            ("application/x-www-form-urlencoded; charset = utf-8", PARAMETER),
            ("application/x-www-form-urlencoded; x=multipart; boundary=x", KIND),
            ("application/x-www-form-urlencoded; charset*=x''ibm037", EXTENDED_CHARSET),
        ];
        for (value, expected) in cases {
            assert_eq!(MediaType::read(value.as_bytes()), Err(expected), "{value}");
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
            ("boundary=a'()+_-./:=?z", "a'()+_-./:=?z"),
            ("boundary=----=_Part_0_123.456", "----=_Part_0_123.456"),
            ("boundary====1419161730====; charset=utf-8", "===1419161730===="),
            ("boundary=*****", "*****"),
            ("boundary=*****1419161730*****", "*****1419161730*****"),
            ("boundary=\"*****\"", "*****"),
            ("boundary=a:b", "a:b"),
            ("boundary=a/b", "a/b"),
            ("boundary=\"BB\" ; charset=utf-8", "BB"),
            // PHP, Rack, formidable and CGI.pm read `BB `. Everything that they take for a delimiter is a delimiter here as
            // well, so they may see fewer fields, and none in addition.
            ("boundary=BB ;", "BB"),
            ("boundary=BB \t; charset=utf-8", "BB"),
            (" ;; boundary=BB;; ;", "BB"),
        ];
        for (attributes, expected) in cases {
            let value = format!("multipart/form-data; {attributes}");
            let is_quoted = attributes.contains('"');
            assert_eq!(MediaType::read(value.as_bytes()), multipart(expected, is_quoted), "{value}");
        }
    }

    /// Each case with the boundary that other parsers find, if they find one.
    #[test]
    fn boundaries_that_parsers_find_differently() {
        let long = format!("boundary={}", "b".repeat(71));
        let cases = [
            ("x=y", NONE),
            ("boundary", NONE),
            ("boundary=", EMPTY),
            ("boundary=\"\"", EMPTY),
            (&long, LONG),
            // The first or the last, or the one in lower case.
            ("boundary=AA; boundary=BB", TWO),
            ("boundary=AA; boundary=AA", TWO),
            ("BOUNDARY=AA; boundary=BB", TWO),
            ("boundary; boundary=BB", NONE),
            ("boundary=BB; Boundary", NONE),
            // Go, Tomcat, Werkzeug and Django: AA.
            ("boundary=BB; boundary*=utf-8''AA", EXTENDED),
            ("boundary*=utf-8''AA", EXTENDED),
            ("boundary*0=A; boundary*1=A", EXTENDED),
            // PHP, formidable, Jetty, CGI.pm: AA.
            ("xboundary=AA; boundary=BB", TWO),
            ("x=boundary=AA; boundary=BB", TWO),
            ("x=\"boundary=AA; \"; boundary=BB", TWO),
            ("x=\"a\\\"; boundary=AA; y=\\\"\"; boundary=BB", TWO),
            // PHP: AA, the value after the word.
            ("boundaryx=AA; boundary=BB", WORD_BEFORE),
            ("x=\"boundary y=AA;\"; boundary=BB", WORD_BEFORE),
            ("BOUNDARY=geckoboundaryX; charset=AA", WORD_BEFORE),
            // Mojolicious: AA, the last one.
            ("boundary=BB; xboundary=AA", TWO),
            ("boundary=BB; x=\"boundary = AA\"", TWO),
            ("boundary=\"xboundary=AA\"", TWO),
            ("boundary=xboundary=AA", TWO),
            // PHP and Rack: a blank and BB; Werkzeug and busboy: none.
            ("boundary= BB", BLANK_AFTER),
            ("boundary =BB", BLANK_BEFORE),
            ("boundary=a b", QUOTES),
            // Rack, CGI.pm: a, also in quotes.
            ("boundary=a,b", CHARACTER),
            ("boundary=\"a,b\"", CHARACTER),
            // Werkzeug: ab.
            ("boundary=\"a\\b\"", CHARACTER),
            // aiohttp: a.
            ("boundary=\" a\"", BLANK_AT_END),
            ("boundary=\"a \"", BLANK_AT_END),
            // Jetty: a.
            ("boundary='a'", APOSTROPHES),
            // Tomcat: a.
            ("boundary=\"=?utf-8?Q?a?=\"", ENCODED),
            ("boundary=\"b =?utf-8?Q?a?=\"", ENCODED),
            ("boundary=a%b", CHARACTER),
        ];
        for (attributes, expected) in cases {
            let value = format!("multipart/form-data; {attributes}");
            let outcome = MediaType::read(value.as_bytes());
            assert_eq!(outcome, Err(expected), "{value}");
        }
    }
}
