//! All fields of a small form that is in memory.

use memchr::memmem;

use super::cut_boundary::{CUT, CutParts};
use super::delimiter::Delimiter;
use super::error::FormError;
use super::key::CredentialKey;
use super::media_type::Boundary;
use super::multipart::LARGEST_PART_HEADER;
use super::part_header::PartHeader;
use super::stray_disposition::{NestedParts, StrayDisposition};
use crate::wire::percent;

/// A field of a form.
pub(crate) struct FormField {
    /// The decoded name.
    pub(crate) name: Vec<u8>,
    /// The half of a credential that it carries.
    pub(crate) key: Option<CredentialKey>,
    /// The decoded value.
    pub(crate) value: Vec<u8>,
}

/// Passes each field of an urlencoded text to `each`, in order. Pieces without a name and a value are left out.
pub(crate) fn urlencoded<E>(text: &[u8], mut each: impl FnMut(FormField) -> Result<(), E>) -> Result<(), E> {
    for piece in text.split(|b| *b == b'&').filter(|piece| !piece.is_empty()) {
        let end_of_name = memchr::memchr(b'=', piece).unwrap_or(piece.len());
        let value = piece.get(end_of_name + 1..).unwrap_or_default();
        let key =
            CredentialKey::at_start_of(piece).filter(|(_, end)| *end == end_of_name).map(|(key, _)| key);
        each(FormField { name: decoded(&piece[..end_of_name]), key, value: decoded(value) })?;
    }
    Ok(())
}

/// Passes each named part of a multipart body that is not a file to `each`, in order. As strict as the scanner that masks.
pub(crate) fn multipart<E: From<FormError>>(
    boundary: &Boundary,
    body: &[u8],
    mut each: impl FnMut(FormField) -> Result<(), E>,
) -> Result<(), E> {
    let mut delimiter = Delimiter::new(&boundary.text);
    let mut rest = body;
    let mut outside = StrayDisposition::default();
    let mut is_outside = true;
    let mut nested: Option<NestedParts> = None;
    let mut field = None;
    while !body.is_empty() {
        let found =
            delimiter.find(rest).ok_or(FormError::Malformed("the body ends before its last boundary"))?;
        if !found.at_line_start {
            return Err(FormError::Malformed("a boundary inside of a line").into());
        }
        // The line break before a boundary belongs to it. In empty content, it is the one that ends the header.
        let content = &rest[..found.end.saturating_sub(delimiter.text().len() + 2)];
        if let Some((name, key)) = field.take() {
            each(FormField { name, key, value: content.to_vec() })?;
        }
        if is_outside {
            outside.read(&rest[..found.end])?;
        }
        if let Some(mut nested) = nested.take() {
            nested.read(&rest[..found.end])?;
        }
        rest = &rest[found.end..];
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            let ends_well = epilogue.first().is_none_or(|b| b"\r\n \t".contains(b));
            if !ends_well || delimiter.is_in(epilogue) {
                return Err(FormError::Malformed("text after the last boundary").into());
            }
            if CutParts::of(boundary).is_some_and(|mut parts| parts.find(body).is_some()) {
                return Err(CUT.into());
            }
            return Ok(outside.read(epilogue)?);
        }
        let (head, content) = split_head(rest)?;
        if delimiter.is_in(head) {
            return Err(FormError::Malformed("a boundary in the header of a part").into());
        }
        (is_outside, outside) = (head.is_empty(), StrayDisposition::default());
        let head = PartHeader::parse(head)?;
        nested = head.is_nested.then(NestedParts::default);
        field = head.name.filter(|_| !head.is_file).map(|name| (name.into_owned(), head.credential));
        rest = content;
        delimiter.start_line();
    }
    Ok(())
}

/// Splits the text behind a boundary into the header of a part and its content.
fn split_head(rest: &[u8]) -> Result<(&[u8], &[u8]), FormError> {
    const MALFORMED: FormError = FormError::Malformed("text after a boundary");
    let padding = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let block = rest[padding..].strip_prefix(b"\r\n").ok_or(MALFORMED)?;
    if let Some(content) = block.strip_prefix(b"\r\n") {
        return Ok((&[], content));
    }
    let end = memmem::find(block, b"\r\n\r\n")
        .ok_or(FormError::Malformed("the body ends before its last boundary"))?;
    if end + 4 > LARGEST_PART_HEADER {
        return Err(FormError::PartHeaderTooLarge);
    }
    Ok((&block[..end + 2], &block[end + 4..]))
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    percent::decode(text, |b| out.push(b));
    out
}
