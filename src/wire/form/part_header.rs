//! The header of one part of a multipart body (RFC 7578 section 4).

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::charset::is_superset_of_ascii;
use super::encoded_word;
use super::error::FormError;
use super::header_parameters::{is_token, split};
use super::key::CredentialKey;
use super::part_refusal::*;
use crate::wire::percent::{self, PercentDecoder};

/// The header of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartHeader<'a> {
    /// The name of the field without the backslashes of quoting; `None` if the part has none.
    pub(crate) name: Option<Cow<'a, [u8]>>,
    /// True for a file.
    pub(crate) is_file: bool,
    /// True for a multipart in a part.
    pub(crate) is_nested: bool,
    /// The half of a credential that the part carries.
    pub(crate) credential: Option<CredentialKey>,
}

impl<'a> PartHeader<'a> {
    /// Parses a block of lines that each end in CR LF.
    ///
    /// Refuses what two parsers could read as different fields: folded lines, lone CR or LF, control characters, a name that is
    /// repeated or continued. Also refuses any credential that is not a plain field.
    pub(crate) fn parse(block: &'a [u8]) -> Result<PartHeader<'a>, FormError> {
        let mut disposition = None;
        let mut content_id = None;
        let mut content_type = None;
        let mut encoding = None;
        let mut rest = block;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).and_then(|end| end.checked_sub(1)).ok_or(LINE)?;
            if rest[end] != b'\r' {
                return Err(LINE);
            }
            let (name, value) = split_line(&rest[..end])?;
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let is_disposition = is("content-disposition");
            let slot = match () {
                () if is_disposition => Some(&mut disposition),
                () if is("content-id") => Some(&mut content_id),
                () if is("content-type") => Some(&mut content_type),
                () if is("content-transfer-encoding") => Some(&mut encoding),
                () => None,
            };
            // Rack also finds a Content-Disposition inside of another header.
            if !is_disposition && mentions(value, b"content-") && mentions_key(value) {
                return Err(UNUSUAL);
            }
            if slot.is_some_and(|slot| slot.replace(value).is_some()) {
                return Err(REPEATED);
            }
            rest = &rest[end + 2..];
        }
        let (head, nameless) = match disposition {
            Some(value) => read(value)?,
            None => (PartHeader { name: None, is_file: false, is_nested: false, credential: None }, true),
        };
        let identity = ["7bit", "8bit", "binary"].map(str::as_bytes);
        let encoded = encoding.is_some_and(|e| !identity.iter().any(|i| e.eq_ignore_ascii_case(i)));
        if head.credential.is_some() && encoded {
            return Err(UNUSUAL);
        }
        // Rack names a part by its Content-ID, and a part without a name by its file name or its type.
        let other_names =
            [Some(&content_id), nameless.then_some(&disposition), nameless.then_some(&content_type)];
        if other_names.into_iter().flatten().flatten().any(|value| mentions_key(value)) {
            return Err(UNUSUAL);
        }
        let is_nested = content_type.is_some_and(|kind| mentions(kind, b"multipart"));
        if is_nested && head.credential.is_some() {
            return Err(UNUSUAL);
        }
        Ok(PartHeader { is_nested, ..head })
    }
}

fn split_line(line: &[u8]) -> Result<(&[u8], &[u8]), FormError> {
    if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(CONTROL);
    }
    let colon = memchr(b':', line).ok_or(LINE)?;
    let name = &line[..colon];
    // This also refuses a folded line, which begins with white space.
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(LINE);
    }
    Ok((name, line[colon + 1..].trim_ascii()))
}

/// Parses the value of Content-Disposition. Returns true as well if something else in it may name the part.
fn read(value: &[u8]) -> Result<(PartHeader<'_>, bool), FormError> {
    let (disposition_type, parameters) = split(value);
    let mut name = None;
    let mut extended_name = None;
    let mut file_names = 0;
    let mut is_file = false;
    let mut is_file_name_near = false;
    for parameter in parameters {
        let parameter = parameter.map_err(|_| PARAMETER)?;
        if parameter.is("name") {
            let written = parameter.value.ok_or(NO_VALUE)?;
            if name.replace(written).is_some() {
                return Err(TWO_NAMES);
            }
        } else if parameter.is("name*") {
            let written = parameter.value.ok_or(NO_VALUE)?;
            if extended_name.replace(of_extended(written)?).is_some() {
                return Err(TWO_NAMES);
            }
        } else if parameter.is_extended("name") {
            return Err(CONTINUED);
        } else if parameter.is("filename") || parameter.is_extended("filename") {
            file_names += usize::from(parameter.is("filename"));
            is_file = true;
            is_file_name_near |= parameter.value.is_some_and(mentions_key);
        } else if !parameter.name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.*".contains(b)) {
            // PHP takes an apostrophe for a quote.
            return Err(PARAMETER_NAME);
        }
    }
    if file_names > 1 {
        return Err(TWO_FILE_NAMES);
    }
    // PHP reads parameters from the start of the value and needs no type before them.
    if !disposition_type.iter().all(is_token) {
        return Err(TYPE);
    }
    let has_name = name.is_some();
    let credential = name.map_or(Ok(None), credential)?;
    if credential.is_some() && (is_file || !disposition_type.eq_ignore_ascii_case(b"form-data")) {
        return Err(UNUSUAL);
    }
    // Some parsers prefer the extended name to the plain one.
    if credential.is_some() && extended_name.is_some() {
        return Err(UNUSUAL);
    }
    // A parser that does not know the backslash ends a quoted string earlier and reads what follows as parameters. Other
    // parsers search for `name=` at any position: formidable for the first one, Rack for the last.
    let hides_name = || memchr(b'\\', value).is_some() || count_names(value) != usize::from(has_name);
    if credential.is_none() && mentions_key(value) && hides_name() {
        return Err(HIDDEN);
    }
    let is_nameless = name.is_none_or(<[u8]>::is_empty);
    let may_have_other_name = is_nameless && (extended_name.is_none() || is_file_name_near);
    let name = name.map(unescaped).or(extended_name.map(Cow::Owned));
    Ok((PartHeader { name, is_file, is_nested: false, credential }, may_have_other_name))
}

/// The decoded name of `name*=` (RFC 8187), which old clients send if a name is not ASCII.
///
/// # Errors
/// It is a credential's: only some parsers read it. Or they would decode it differently.
fn of_extended(written: &[u8]) -> Result<Vec<u8>, FormError> {
    let mut parts = written.splitn(3, |b| *b == b'\'');
    let (Some(charset), Some(_), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(EXTENDED_NAME);
    };
    if !is_superset_of_ascii(charset) || memchr(b'\\', written).is_some() {
        return Err(EXTENDED_NAME);
    }
    let mut name = Vec::with_capacity(text.len());
    let mut decoder = PercentDecoder::default();
    text.iter().for_each(|byte| decoder.feed(*byte, |b| name.push(b)));
    decoder.finish(|b| name.push(b));
    match credential(&name)?.or(credential(written)?).or(credential(text)?) {
        Some(_) => Err(UNUSUAL),
        None => Ok(name),
    }
}

/// The key that a name is, by any of the ways in which parsers undo the quoting of clients.
fn credential(written: &[u8]) -> Result<Option<CredentialKey>, FormError> {
    // MIME libraries decode RFC 2047 words here as well; only a name that is not ASCII needs one.
    if has(written, b"=?") {
        let name = encoded_word::decode(written).ok_or(WORD)?;
        let is_credential = plain_credential(&name).is_some() || mentions_key(&name);
        // An empty name would be taken from elsewhere by some.
        let is_odd = has(&name, b"=?") || without_quotes(&name).is_empty();
        return if is_credential || is_odd { Err(UNUSUAL) } else { Ok(None) };
    }
    if memchr(b'\t', written).is_some() {
        return Err(TAB);
    }
    Ok(plain_credential(written))
}

/// The same of a name that isn't an encoded word.
fn plain_credential(written: &[u8]) -> Option<CredentialKey> {
    // No backend decodes percent-encoding here, but some clients send it.
    CredentialKey::of_encoded(without_quotes(written)).or_else(|| match unescaped(written) {
        Cow::Borrowed(_) => None,
        Cow::Owned(plain) => CredentialKey::of_encoded(without_quotes(&plain)),
    })
}

fn mentions_key(value: &[u8]) -> bool {
    let is_escaped = memchr2(b'%', b'\\', value).is_some();
    if !is_escaped && !mentions(value, b"api") {
        return false;
    }
    let mut folded = Vec::with_capacity(value.len());
    percent::decode(&unescaped(value), |b| {
        folded.push(if b".[ ".contains(&b) { b'_' } else { b.to_ascii_lowercase() });
    });
    [&b"api_user"[..], b"api_key"].iter().any(|key| has(&folded, key))
}

fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.iter();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(plain)
}

/// Returns true if `word` occurs. For short texts; a search that is prepared takes longer.
fn has(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|at| at == word)
}

/// A name without the bytes that are dropped at its ends: quotes by PHP, Jetty and tornado, slashes by aiohttp, blanks by
/// Tomcat and Django, control characters by Tomcat.
fn without_quotes(name: &[u8]) -> &[u8] {
    let is_dropped = |b: &u8| *b <= b' ' || br#""'/\"#.contains(b);
    let start = name.iter().position(|b| !is_dropped(b)).unwrap_or(name.len());
    let end = name.iter().rposition(|b| !is_dropped(b)).map_or(start, |at| at + 1);
    &name[start..end]
}

fn mentions(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|at| at.eq_ignore_ascii_case(word))
}

/// The number of occurrences of `name=`, without those of `filename=`.
fn count_names(value: &[u8]) -> usize {
    let words = value.windows(b"name=".len()).enumerate();
    let named = words.filter(|(_, word)| word.eq_ignore_ascii_case(b"name="));
    let starts_word =
        |at: usize| at.checked_sub(1).is_none_or(|before| !value[before].is_ascii_alphanumeric());
    named.filter(|(at, _)| starts_word(*at)).count()
}

#[cfg(test)]
mod tests;
