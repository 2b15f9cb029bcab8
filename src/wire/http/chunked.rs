//! Decodes the chunked transfer coding (RFC 9112 section 7.1) strictly, without copying anything.
//!
//! Lenient readers disagree about the end of such a body, and what lies between two ends is executed as a request. So
//! everything that the grammar does not allow is an error, such as a chunk size without a digit, or a line that ends in a
//! lone LF. An extension has to be a token or a quoted string, and a trailer line has to be a field.

use std::ops::Range;

use thiserror::Error;

use super::characters::TOKEN;

/// The most digits of a chunk size, leading zeros included: a u64 in hexadecimal.
pub const SIZE_DIGITS: u8 = 16;

/// The longest line with a chunk size and its extensions, in bytes without its CR LF.
pub const SIZE_LINE_LIMIT: usize = 4096;

/// The largest trailer section in bytes, line ends included.
pub const TRAILER_LIMIT: usize = 64 * 1024;

/// A deviation from the chunked coding.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChunkedError {
    /// An invalid chunk size.
    #[error("expected a chunk size of 1 to {SIZE_DIGITS} hexadecimal digits")]
    Size,
    /// An invalid chunk extension.
    #[error("invalid chunk extension")]
    Extension,
    /// A line with a chunk size that is too long.
    #[error("the line of a chunk size is longer than {SIZE_LINE_LIMIT} bytes")]
    SizeLine,
    /// A CR without LF.
    #[error("a line does not end in CR LF")]
    LineEnd,
    /// A chunk that is longer or shorter than its size.
    #[error("chunk data is not followed by CR LF")]
    DataEnd,
    /// A line of the trailer section that is not a field.
    #[error("invalid trailer field")]
    Trailer,
    /// A trailer section that is too long.
    #[error("the trailer section is longer than {TRAILER_LIMIT} bytes")]
    TrailerSection,
}

/// The next part of a chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkedItem {
    /// Data, which is never empty: this range of the input.
    Data(Range<usize>),
    /// The end of the body. Bytes behind it belong to the next message.
    End,
    /// Nothing yet: all of the input is consumed, and the body continues behind it.
    NeedMore,
}

/// A decoder for one chunked body, which may come in pieces of any length.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: ChunkedState,
    /// The size of the current chunk as far as it is read, then the number of bytes of its data that are still to come.
    size: u64,
    /// The number of digits of the current size.
    digits: u8,
    /// The number of bytes of the current line, or of the trailer section.
    length: usize,
}

/// The part of the grammar that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkedState {
    Size,
    /// Blanks behind a size or a value, which only a further extension may follow.
    BeforeExtension,
    /// Behind `;`.
    BeforeName,
    Name,
    /// Blanks behind a name.
    BeforeEquals,
    /// Behind `=`.
    BeforeValue,
    Token,
    Quoted,
    /// Behind a backslash in a quoted string.
    QuotedPair,
    AfterQuoted,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a line of the trailer section.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Complete,
    Invalid(ChunkedError),
}

impl Default for ChunkedDecoder {
    fn default() -> ChunkedDecoder {
        ChunkedDecoder::new()
    }
}

impl ChunkedDecoder {
    /// A decoder at the start of a body.
    pub const fn new() -> ChunkedDecoder {
        ChunkedDecoder { state: ChunkedState::Size, size: 0, digits: 0, length: 0 }
    }

    /// The next item in `input`, and how many bytes of `input` are consumed with it. The caller continues behind these.
    ///
    /// Data is skipped by its length, so a large chunk costs no more than a small one. The state is all in here: the caller keeps
    /// no byte that was consumed.
    ///
    /// # Errors
    /// The body is invalid. Every later call returns the same error. The items before it were correct.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, ChunkedItem), ChunkedError> {
        let mut at = 0;
        loop {
            match self.state {
                ChunkedState::Invalid(error) => return Err(error),
                ChunkedState::Complete => return Ok((at, ChunkedItem::End)),
                _ if at == input.len() => return Ok((at, ChunkedItem::NeedMore)),
                ChunkedState::Data => {
                    let end = at + (input.len() - at).min(usize::try_from(self.size).unwrap_or(usize::MAX));
                    self.size -= (end - at) as u64;
                    if self.size == 0 {
                        self.state = ChunkedState::DataCr;
                    }
                    return Ok((end, ChunkedItem::Data(at..end)));
                }
                _ => {
                    self.state = self.step(input[at]).unwrap_or_else(ChunkedState::Invalid);
                    at += 1;
                }
            }
        }
    }

    /// The number of bytes of `input`, the next ones of the connection, that belong to the body. Less than its length only if
    /// the body ends in it. Decodes them and drops the data.
    ///
    /// # Errors
    /// The body is invalid. Every later call returns the same error.
    pub fn validate(&mut self, input: &[u8]) -> Result<usize, ChunkedError> {
        let mut read = 0;
        loop {
            let (consumed, item) = self.next(&input[read..])?;
            read += consumed;
            if !matches!(item, ChunkedItem::Data(_)) {
                return Ok(read);
            }
        }
    }

    /// Returns true once the last chunk and the trailer section are read.
    pub fn is_complete(&self) -> bool {
        self.state == ChunkedState::Complete
    }

    /// Returns true if the body is invalid.
    pub fn is_invalid(&self) -> bool {
        matches!(self.state, ChunkedState::Invalid(_))
    }

    /// The state behind `byte`.
    fn step(&mut self, byte: u8) -> Result<ChunkedState, ChunkedError> {
        match self.state {
            ChunkedState::DataCr if byte == b'\r' => return Ok(ChunkedState::DataLf),
            ChunkedState::DataLf if byte == b'\n' => {
                (self.size, self.digits, self.length) = (0, 0, 0);
                return Ok(ChunkedState::Size);
            }
            ChunkedState::DataCr | ChunkedState::DataLf => return Err(ChunkedError::DataEnd),
            ChunkedState::Trailer
            | ChunkedState::TrailerName
            | ChunkedState::TrailerValue
            | ChunkedState::TrailerLf
            | ChunkedState::LastLf => {
                return self.trailer(byte);
            }
            _ => {}
        }
        self.length += 1;
        if self.length > SIZE_LINE_LIMIT && !matches!(byte, b'\r' | b'\n') {
            return Err(ChunkedError::SizeLine);
        }
        self.size_line(byte)
    }

    /// `chunk-size [ chunk-ext ] CRLF` (RFC 9112 sections 7.1 and 7.1.1).
    fn size_line(&mut self, byte: u8) -> Result<ChunkedState, ChunkedError> {
        let blank = matches!(byte, b' ' | b'\t');
        Ok(match (self.state, byte) {
            (ChunkedState::Size, digit) if digit.is_ascii_hexdigit() => {
                if self.digits == SIZE_DIGITS {
                    return Err(ChunkedError::Size);
                }
                self.digits += 1;
                self.size = self.size << 4 | u64::from(hex_value(digit));
                ChunkedState::Size
            }
            (ChunkedState::Size, _) if self.digits == 0 => return Err(ChunkedError::Size),
            (ChunkedState::SizeLf, b'\n') if self.size > 0 => ChunkedState::Data,
            (ChunkedState::SizeLf, b'\n') => {
                self.length = 0;
                ChunkedState::Trailer
            }
            (ChunkedState::SizeLf, _) => return Err(ChunkedError::LineEnd),
            // A line ends behind a size, a name or a value.
            (
                ChunkedState::Size | ChunkedState::Name | ChunkedState::Token | ChunkedState::AfterQuoted,
                b'\r',
            ) => ChunkedState::SizeLf,
            (
                ChunkedState::Size
                | ChunkedState::Token
                | ChunkedState::AfterQuoted
                | ChunkedState::BeforeExtension,
                _,
            ) if blank => ChunkedState::BeforeExtension,
            (ChunkedState::Name | ChunkedState::BeforeEquals, _) if blank => ChunkedState::BeforeEquals,
            (ChunkedState::BeforeName | ChunkedState::BeforeValue, _) if blank => self.state,
            (
                ChunkedState::Size
                | ChunkedState::BeforeExtension
                | ChunkedState::Name
                | ChunkedState::BeforeEquals
                | ChunkedState::Token
                | ChunkedState::AfterQuoted,
                b';',
            ) => ChunkedState::BeforeName,
            (ChunkedState::Name | ChunkedState::BeforeEquals, b'=') => ChunkedState::BeforeValue,
            (ChunkedState::BeforeName | ChunkedState::Name, _) if TOKEN.contains(byte) => ChunkedState::Name,
            (ChunkedState::BeforeValue, b'"') => ChunkedState::Quoted,
            (ChunkedState::BeforeValue | ChunkedState::Token, _) if TOKEN.contains(byte) => {
                ChunkedState::Token
            }
            (ChunkedState::Quoted, b'"') => ChunkedState::AfterQuoted,
            (ChunkedState::Quoted, b'\\') => ChunkedState::QuotedPair,
            (ChunkedState::Quoted | ChunkedState::QuotedPair, _) if is_text(byte) => ChunkedState::Quoted,
            (ChunkedState::Size, _) => return Err(ChunkedError::Size),
            _ => return Err(ChunkedError::Extension),
        })
    }

    /// `trailer-section CRLF` (RFC 9112 section 7.1.2; a field as in section 5).
    fn trailer(&mut self, byte: u8) -> Result<ChunkedState, ChunkedError> {
        self.length += 1;
        if self.length > TRAILER_LIMIT {
            return Err(ChunkedError::TrailerSection);
        }
        Ok(match (self.state, byte) {
            (ChunkedState::Trailer, b'\r') => ChunkedState::LastLf,
            (ChunkedState::Trailer | ChunkedState::TrailerName, _) if TOKEN.contains(byte) => {
                ChunkedState::TrailerName
            }
            (ChunkedState::TrailerName, b':') => ChunkedState::TrailerValue,
            (ChunkedState::TrailerValue, b'\r') => ChunkedState::TrailerLf,
            (ChunkedState::TrailerValue, _) if is_text(byte) => ChunkedState::TrailerValue,
            (ChunkedState::TrailerLf, b'\n') => ChunkedState::Trailer,
            (ChunkedState::LastLf, b'\n') => ChunkedState::Complete,
            (ChunkedState::TrailerLf | ChunkedState::LastLf, _) => return Err(ChunkedError::LineEnd),
            _ => return Err(ChunkedError::Trailer),
        })
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Returns true for a byte of a field value and, except `"` and `\`, of a quoted string (RFC 9110 sections 5.5 and 5.6.4).
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests;
