//! The reader of a message by DATA: strict, or one that normalizes its line ends.

use std::borrow::Cow;

use crate::config::BareNewline;
use crate::wire::smtp::data::{DataRead, DataReader};
use crate::wire::smtp::last_line::LastLine;
use crate::wire::smtp::newline_normalizer::{NewlineNormalizer, NormalizedRead};

/// The reader of a message by DATA.
#[derive(Debug)]
pub(super) enum ContentReader {
    /// For [`BareNewline::Refuse`].
    Strict(DataReader, LastLine),
    /// For [`BareNewline::Normalize`].
    Normalizing(NewlineNormalizer),
}

/// The next element in the input, as in [`DataRead`].
#[derive(Debug)]
pub(super) enum ContentRead<'i> {
    Content(Cow<'i, [u8]>),
    More,
    End,
    Fault,
}

impl ContentReader {
    pub fn new(bare_newline: BareNewline) -> ContentReader {
        match bare_newline {
            BareNewline::Refuse => ContentReader::Strict(DataReader::new(), LastLine::new()),
            BareNewline::Normalize => ContentReader::Normalizing(NewlineNormalizer::new()),
        }
    }

    /// The size of the content so far in bytes, as it is passed on, without stuffed dots.
    pub fn size(&self) -> u64 {
        match self {
            ContentReader::Strict(reader, _) => reader.size(),
            ContentReader::Normalizing(reader) => reader.size(),
        }
    }

    /// Consumes input up to the end of the next element.
    pub fn read<'i>(&mut self, input: &mut &'i [u8]) -> ContentRead<'i> {
        match self {
            ContentReader::Strict(reader, last_line) => {
                let whole = *input;
                let read = reader.read(input);
                last_line.follow(&whole[..whole.len() - input.len()]);
                match read {
                    DataRead::Content(piece) => ContentRead::Content(Cow::Borrowed(piece)),
                    DataRead::More => ContentRead::More,
                    DataRead::End => ContentRead::End,
                    DataRead::Fault => ContentRead::Fault,
                }
            }
            ContentReader::Normalizing(reader) => {
                let mut content = Vec::new();
                match reader.read(input, &mut content) {
                    NormalizedRead::Content => ContentRead::Content(Cow::Owned(content)),
                    NormalizedRead::More => ContentRead::More,
                    NormalizedRead::End => ContentRead::End,
                    NormalizedRead::Fault => ContentRead::Fault,
                }
            }
        }
    }

    /// Consumes the end if it is next, and returns true.
    pub fn take_end(&mut self, input: &mut &[u8]) -> bool {
        match self {
            ContentReader::Strict(reader, _) => reader.take_end(input),
            ContentReader::Normalizing(reader) => reader.take_end(),
        }
    }

    /// Returns true if a client may take what it sent for a complete message, which it is not.
    pub fn may_have_ended(&self) -> bool {
        match self {
            ContentReader::Strict(_, last_line) => last_line.may_be_end(),
            ContentReader::Normalizing(reader) => reader.may_have_ended(),
        }
    }
    /// Returns true if only the LF of the end is missing, so that it may still be on its way.
    pub fn is_within_end(&self) -> bool {
        match self {
            ContentReader::Strict(reader, _) => reader.is_within_end(),
            ContentReader::Normalizing(reader) => reader.is_within_end(),
        }
    }
}
