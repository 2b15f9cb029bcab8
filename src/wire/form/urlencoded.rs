//! Finds and masks credentials in application/x-www-form-urlencoded bodies (WHATWG URL section 5).

use memchr::{memchr, memchr2, memrchr};

use super::credential_halves::{CredentialHalves, CredentialValueBuffer, FILLER};
use super::error::FormError;
use super::key::{CredentialKey, KeyMatcher};
use crate::wire::credential::{CredentialError, LONGEST_VALUE, PresentedCredential};
use crate::wire::percent::PercentDecoder;

/// The most bytes of a text that are kept together as one field.
const LONGEST_FIELD: usize = 3 * LONGEST_VALUE + 256;

/// The scanner of one urlencoded body.
pub(crate) struct UrlencodedScanner {
    state: UrlencodedState,
    /// True for a body that says nothing, or that it is text: what no client encodes so is no credential.
    is_text: bool,
    pub(crate) halves: CredentialHalves,
}

enum UrlencodedState {
    /// In a name that may still become a credential's.
    Name { name: UrlencodedName, after: FieldSeparator },
    /// In anything that is not a credential.
    Other,
    /// In the value of a credential.
    Value { key: CredentialKey, decoder: PercentDecoder, value: CredentialValueBuffer },
}

#[derive(Clone, Copy, PartialEq)]
enum FieldSeparator {
    Ampersand,
    /// A separator for some backends; here it is a part of a value.
    Semicolon,
}

impl FieldSeparator {
    /// The value at the start of a text, for a backend to which this separates fields.
    fn value(self, text: &[u8]) -> &[u8] {
        let end = match self {
            FieldSeparator::Ampersand => memchr(b'&', text),
            FieldSeparator::Semicolon => memchr2(b'&', b';', text),
        };
        &text[..end.unwrap_or(text.len())]
    }
}

struct UrlencodedName {
    matcher: KeyMatcher,
    decoder: PercentDecoder,
}

impl UrlencodedScanner {
    pub(crate) fn new() -> UrlencodedScanner {
        let state = UrlencodedState::Name { name: UrlencodedName::new(), after: FieldSeparator::Ampersand };
        UrlencodedScanner { state, is_text: false, halves: CredentialHalves::default() }
    }

    /// The scanner of a body that may as well be text. It expects the fields that [`open_field`] finds in one piece.
    pub(crate) fn of_text() -> UrlencodedScanner {
        UrlencodedScanner { is_text: true, ..UrlencodedScanner::new() }
    }

    pub(crate) fn scan(&mut self, chunk: &mut [u8]) -> Result<(), FormError> {
        let mut at = 0;
        while at < chunk.len() {
            at += match &mut self.state {
                UrlencodedState::Name { .. } => self.name(chunk[at], &chunk[at + 1..])?,
                UrlencodedState::Other => match memchr2(b'&', b';', &chunk[at..]) {
                    None => chunk.len() - at,
                    Some(end) => {
                        self.separator(chunk[at + end]);
                        end + 1
                    }
                },
                UrlencodedState::Value { decoder, value, .. } => {
                    let rest = &mut chunk[at..];
                    let end = memchr(b'&', rest).unwrap_or(rest.len());
                    read_and_mask(&mut rest[..end], decoder, value)?;
                    if end == rest.len() {
                        end
                    } else {
                        self.end_of_value()?;
                        self.separator(b'&');
                        end + 1
                    }
                }
            };
        }
        Ok(())
    }

    /// Returns true if a part of a credential was found.
    pub(crate) fn has_found(&self) -> bool {
        let here = match &self.state {
            UrlencodedState::Name { name, .. } => name.finish().is_some(),
            UrlencodedState::Other => false,
            UrlencodedState::Value { .. } => true,
        };
        here || !self.halves.is_empty()
    }

    pub(crate) fn finish(mut self) -> Result<Option<PresentedCredential>, FormError> {
        if let UrlencodedState::Name { .. } = self.state {
            self.end_of_bare_name()?;
        }
        self.end_of_value()?;
        Ok(self.halves.whole()?)
    }

    /// Processes one byte of a name, with `rest` behind it. Returns the number of bytes that are consumed.
    fn name(&mut self, byte: u8, rest: &[u8]) -> Result<usize, FormError> {
        let UrlencodedState::Name { name, after } = &mut self.state else { return Ok(0) };
        match byte {
            _ if self.is_text && is_never_encoded_so(&byte) => self.state = UrlencodedState::Other,
            b'=' if self.is_text && after.value(rest).iter().any(is_never_encoded_so) => {
                self.state = UrlencodedState::Other;
            }
            b'&' => {
                self.end_of_bare_name()?;
                self.separator(b'&');
            }
            b'=' => match (name.finish(), *after) {
                (Some(_), FieldSeparator::Semicolon) if !self.halves.accepts_any() => {
                    return Err(CredentialError::Ambiguous.into());
                }
                (Some(key), _) => {
                    let value = self.halves.buffer();
                    self.state = UrlencodedState::Value { key, decoder: PercentDecoder::default(), value };
                }
                (None, _) => self.state = UrlencodedState::Other,
            },
            b';' if name.finish().is_some() && !self.halves.accepts_any() => {
                return Err(CredentialError::Ambiguous.into());
            }
            _ => {
                let UrlencodedName { matcher, decoder } = name;
                decoder.feed(byte, |b| matcher.feed(b));
                if matcher.is_other() {
                    self.state = UrlencodedState::Other;
                    // A semicolon is processed again, as the separator that it is to some backends.
                    return Ok(usize::from(byte != b';'));
                }
            }
        }
        Ok(1)
    }

    fn separator(&mut self, byte: u8) {
        let after = if byte == b'&' { FieldSeparator::Ampersand } else { FieldSeparator::Semicolon };
        self.state = UrlencodedState::Name { name: UrlencodedName::new(), after };
    }

    /// Ends a name without `=`, whose value is empty.
    fn end_of_bare_name(&mut self) -> Result<(), FormError> {
        if let UrlencodedState::Name { name, after } = &self.state
            && let Some(key) = name.finish()
        {
            match after {
                FieldSeparator::Ampersand => {
                    self.halves.put(key, CredentialValueBuffer::with_room_for(0).finish())?;
                }
                FieldSeparator::Semicolon if self.halves.accepts_any() => {}
                FieldSeparator::Semicolon => return Err(CredentialError::Ambiguous.into()),
            }
        }
        Ok(())
    }

    fn end_of_value(&mut self) -> Result<(), FormError> {
        if let UrlencodedState::Value { key, decoder, mut value } =
            std::mem::replace(&mut self.state, UrlencodedState::Other)
        {
            let mut outcome = Ok(());
            decoder.finish(|byte| outcome = outcome.and_then(|()| value.extend(&[byte])));
            outcome?;
            self.halves.put(key, value.finish())?;
        }
        Ok(())
    }
}

impl UrlencodedName {
    fn new() -> UrlencodedName {
        UrlencodedName { matcher: KeyMatcher::new(), decoder: PercentDecoder::of_names() }
    }

    fn finish(&self) -> Option<CredentialKey> {
        let mut matcher = self.matcher;
        self.decoder.finish(|b| matcher.feed(b));
        matcher.finish()
    }
}

/// Returns true for a byte that any client encodes in a form: a blank, an end of line, a quote.
fn is_never_encoded_so(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b' ' | b'"')
}

/// The start of the field at the end of a text, if more of the text decides whether it is a credential. `begins` says that a field
/// begins where the text does.
pub(crate) fn open_field(text: &[u8], begins: bool) -> Option<usize> {
    let start = memrchr(b'&', text).max(memrchr(b';', text)).map(|at| at + 1);
    // A `;` is part of the value of a credential.
    let whole = memrchr(b'&', text).map(|at| at + 1).or(begins.then_some(0));
    let is_open = |start: &usize| {
        let field = &text[*start..];
        let mut name = UrlencodedName::new();
        let end = memchr(b'=', field);
        for byte in &field[..end.unwrap_or(field.len())] {
            name.decoder.feed(*byte, |b| name.matcher.feed(b));
        }
        let is_name = if end.is_some() { name.finish().is_some() } else { !name.matcher.is_other() };
        is_name && field.len() <= LONGEST_FIELD && !field.iter().any(is_never_encoded_so)
    };
    whole.filter(is_open).or(start.filter(is_open))
}

fn read_and_mask(
    raw: &mut [u8],
    decoder: &mut PercentDecoder,
    value: &mut CredentialValueBuffer,
) -> Result<(), CredentialError> {
    let mut at = 0;
    while at < raw.len() {
        let rest = &mut raw[at..];
        let plain = match decoder.is_in_escape() {
            true => 0,
            false => memchr2(b'%', b'+', rest).unwrap_or(rest.len()),
        };
        value.extend(&rest[..plain])?;
        rest[..plain].fill(FILLER);
        if let Some(byte) = rest.get_mut(plain) {
            let mut outcome = Ok(());
            decoder.feed(*byte, |b| outcome = outcome.and_then(|()| value.extend(&[b])));
            outcome?;
            *byte = FILLER;
        }
        at += plain + 1;
    }
    Ok(())
}
