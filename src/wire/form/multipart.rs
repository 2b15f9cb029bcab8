//! Finds and masks credentials in multipart bodies (RFC 7578, RFC 2046 section 5.1).

use memchr::{memchr, memchr_iter, memchr2};

use super::credential_halves::{CredentialHalves, CredentialValueBuffer, FILLER};
use super::cut_boundary::{CUT, CutParts};
use super::delimiter::Delimiter;
use super::error::FormError;
use super::key::CredentialKey;
use super::media_type::Boundary;
use super::part_header::PartHeader;
use super::stray_disposition::{NestedParts, StrayDisposition};
use crate::wire::credential::PresentedCredential;

/// The largest header of one part, in bytes.
pub(crate) const LARGEST_PART_HEADER: usize = 16 * 1024;

/// The scanner of one multipart body.
///
/// A credential never contains CR or LF, so its value ends at the first one, and the delimiter must follow. Therefore every
/// byte can be judged when it passes, and none is held back.
pub(crate) struct MultipartScanner {
    delimiter: Delimiter,
    cut_parts: Option<Box<CutParts>>,
    state: MultipartState,
    /// True until the first byte.
    empty: bool,
    outside: StrayDisposition,
    nested: NestedParts,
    pub(crate) halves: CredentialHalves,
}

enum MultipartState {
    /// Before the first delimiter.
    Preamble,
    /// In the content of a part that is not a credential.
    Content,
    /// In the content of a part with an empty header.
    HeadlessContent,
    /// In the content of a part that is a multipart itself.
    NestedContent,
    /// Behind `--boundary`.
    Delimiter(AfterBoundary),
    /// In the header of a part.
    PartHeader {
        block: Vec<u8>,
        line: usize,
    },
    /// In the value of a credential.
    Value {
        key: CredentialKey,
        value: CredentialValueBuffer,
    },
    /// In the end of a credential's value; the number of its bytes so far.
    EndOfValue {
        key: CredentialKey,
        value: CredentialValueBuffer,
        matched: usize,
    },
    /// Directly behind the last delimiter.
    Closed,
    Epilogue,
}

#[derive(Clone, Copy)]
enum AfterBoundary {
    Nothing,
    Padding,
    Dash,
    Cr,
}

impl MultipartScanner {
    pub(crate) fn new(boundary: &Boundary) -> MultipartScanner {
        MultipartScanner {
            delimiter: Delimiter::new(&boundary.text),
            cut_parts: CutParts::of(boundary),
            state: MultipartState::Preamble,
            empty: true,
            outside: StrayDisposition::default(),
            nested: NestedParts::default(),
            halves: CredentialHalves::default(),
        }
    }

    pub(crate) fn scan(&mut self, chunk: &mut [u8]) -> Result<(), FormError> {
        self.empty &= chunk.is_empty();
        if let Some(mut cut) = self.cut_parts.take() {
            // Before it could be masked.
            let found = cut.find(chunk);
            self.cut_parts = Some(cut);
            if let Some(at) = found {
                // Errors earlier in the body come first, so that any split gives the same error.
                self.scan_parts(&mut chunk[..at])?;
                return Err(CUT);
            }
        }
        self.scan_parts(chunk)
    }

    fn scan_parts(&mut self, chunk: &mut [u8]) -> Result<(), FormError> {
        let mut at = 0;
        while at < chunk.len() {
            let rest = &mut chunk[at..];
            at += match &mut self.state {
                MultipartState::Preamble
                | MultipartState::Content
                | MultipartState::HeadlessContent
                | MultipartState::NestedContent => self.content(rest)?,
                MultipartState::Delimiter(after) => {
                    self.state = after_delimiter(*after, rest[0])?;
                    1
                }
                MultipartState::PartHeader { .. } => self.head(rest)?,
                MultipartState::Value { .. } => self.value(rest)?,
                MultipartState::EndOfValue { .. } => self.end_of_value(rest)?,
                MultipartState::Closed if matches!(rest[0], b'\r' | b'\n' | b' ' | b'\t') => {
                    self.delimiter.start_line();
                    self.state = MultipartState::Epilogue;
                    1
                }
                MultipartState::Closed => return Err(FormError::Malformed("text after the last boundary")),
                MultipartState::Epilogue => {
                    let found = self.delimiter.find(rest);
                    let end = found.as_ref().map_or(rest.len(), |found| found.end);
                    self.outside.read(&rest[..end])?;
                    if found.is_some() {
                        return Err(FormError::Malformed("a boundary after the last one"));
                    }
                    end
                }
            };
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Option<PresentedCredential>, FormError> {
        match self.state {
            MultipartState::Closed | MultipartState::Epilogue => Ok(self.halves.whole()?),
            MultipartState::Preamble if self.empty => Ok(None),
            _ => Err(FormError::Malformed("the body ends before its last boundary")),
        }
    }

    fn content(&mut self, rest: &[u8]) -> Result<usize, FormError> {
        let found = self.delimiter.find(rest);
        let content = &rest[..found.as_ref().map_or(rest.len(), |found| found.end)];
        match self.state {
            MultipartState::Content => {}
            MultipartState::NestedContent => self.nested.read(content)?,
            _ => self.outside.read(content)?,
        }
        let Some(found) = found else { return Ok(rest.len()) };
        if !found.at_line_start {
            // Some parsers split there nevertheless.
            return Err(FormError::Malformed("a boundary inside of a line"));
        }
        self.state = MultipartState::Delimiter(AfterBoundary::Nothing);
        Ok(found.end)
    }

    fn head(&mut self, rest: &[u8]) -> Result<usize, FormError> {
        let MultipartState::PartHeader { block, line } = &mut self.state else { return Ok(0) };
        if block.is_empty()
            && let Some(end) = end_of_header(rest)
        {
            // It is there as a whole, as usual.
            self.state = self.part_behind(&rest[..end])?;
            return Ok(end + 2);
        }
        let end = memchr(b'\n', rest).map(|at| at + 1);
        let piece = &rest[..end.unwrap_or(rest.len())];
        if block.len() + piece.len() > LARGEST_PART_HEADER {
            return Err(FormError::PartHeaderTooLarge);
        }
        block.extend_from_slice(piece);
        if end.is_none() {
            return Ok(piece.len());
        }
        if &block[*line..] != b"\r\n" {
            *line = block.len();
            return Ok(piece.len());
        }
        block.truncate(*line);
        let block = std::mem::take(block);
        self.state = self.part_behind(&block)?;
        Ok(piece.len())
    }

    /// The state behind the header of a part, which is given without its last line.
    fn part_behind(&mut self, header: &[u8]) -> Result<MultipartState, FormError> {
        if self.delimiter.is_in(header) {
            return Err(FormError::Malformed("a boundary in the header of a part"));
        }
        let head = PartHeader::parse(header)?;
        Ok(match head.credential {
            Some(key) => MultipartState::Value { key, value: self.halves.buffer() },
            None => {
                self.delimiter.start_line();
                self.outside = StrayDisposition::default();
                self.nested = NestedParts::default();
                match () {
                    () if header.is_empty() => MultipartState::HeadlessContent,
                    () if head.is_nested => MultipartState::NestedContent,
                    () => MultipartState::Content,
                }
            }
        })
    }

    fn value(&mut self, rest: &mut [u8]) -> Result<usize, FormError> {
        let MultipartState::Value { value, .. } = &mut self.state else { return Ok(0) };
        let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        value.extend(&rest[..end])?;
        rest[..end].fill(FILLER);
        if end < rest.len()
            && let MultipartState::Value { key, value } =
                std::mem::replace(&mut self.state, MultipartState::Closed)
        {
            self.state = MultipartState::EndOfValue { key, value, matched: 0 };
        }
        Ok(end)
    }

    fn end_of_value(&mut self, rest: &[u8]) -> Result<usize, FormError> {
        const MALFORMED: FormError = FormError::Malformed("a line break in api_user or api_key");
        const LINE_BREAK: &[u8] = b"\r\n";
        let MultipartState::EndOfValue { matched, .. } = &mut self.state else { return Ok(0) };
        let text = self.delimiter.text();
        let expected = match *matched < LINE_BREAK.len() {
            true => &LINE_BREAK[*matched..],
            false => &text[*matched - LINE_BREAK.len()..],
        };
        let len = expected.len().min(rest.len());
        if expected[..len] != rest[..len] {
            return Err(MALFORMED);
        }
        *matched += len;
        if *matched == LINE_BREAK.len() + text.len()
            && let MultipartState::EndOfValue { key, value, .. } =
                std::mem::replace(&mut self.state, MultipartState::Delimiter(AfterBoundary::Nothing))
        {
            if self.delimiter.is_in(value.as_bytes()) {
                return Err(FormError::Malformed("a boundary inside of a line"));
            }
            self.halves.put(key, value.finish())?;
        }
        Ok(len)
    }
}

/// The length of a part's header that ends within `text`, without its last line, if it isn't too large.
fn end_of_header(text: &[u8]) -> Option<usize> {
    let text = &text[..text.len().min(LARGEST_PART_HEADER)];
    let mut line = 0;
    for end in memchr_iter(b'\n', text) {
        if &text[line..=end] == b"\r\n" {
            return Some(line);
        }
        line = end + 1;
    }
    None
}

/// Processes a byte behind `--boundary`. A delimiter may be padded with white space; the last one has two more dashes.
fn after_delimiter(after: AfterBoundary, byte: u8) -> Result<MultipartState, FormError> {
    match (after, byte) {
        (AfterBoundary::Nothing, b'-') => Ok(MultipartState::Delimiter(AfterBoundary::Dash)),
        (AfterBoundary::Nothing | AfterBoundary::Padding, b' ' | b'\t') => {
            Ok(MultipartState::Delimiter(AfterBoundary::Padding))
        }
        (AfterBoundary::Nothing | AfterBoundary::Padding, b'\r') => {
            Ok(MultipartState::Delimiter(AfterBoundary::Cr))
        }
        (AfterBoundary::Cr, b'\n') => Ok(MultipartState::PartHeader { block: Vec::new(), line: 0 }),
        (AfterBoundary::Dash, b'-') => Ok(MultipartState::Closed),
        _ => Err(FormError::Malformed("text after a boundary")),
    }
}
