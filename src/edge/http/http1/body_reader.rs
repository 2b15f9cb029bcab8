//! The body of a message over HTTP/1, taken out of the bytes that were received.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::{BodyLength, ChunkedDecoder, ChunkedError, ChunkedItem};

/// The most bytes of a body that are read at once.
const PIECE: usize = 64 * 1024;

/// The rest of a body.
#[derive(Debug, Default)]
pub enum BodyReader {
    /// Nothing more belongs to it.
    #[default]
    Done,
    /// So many bytes, at least one, are still to come.
    Known(u64),
    /// Chunks are still to come.
    Chunked(ChunkedDecoder),
    /// The end of the connection ends it.
    UntilClose,
    /// A deviation from the chunked coding, after which the beginning of the next message is unknown.
    Invalid(ChunkedError),
}

/// The next part of a body.
#[derive(Debug)]
pub enum BodyPart {
    /// Data, which is never empty.
    Piece(Bytes),
    /// The end.
    End,
    /// Nothing until more is received: all that was received is used up.
    NeedMore,
}

impl BodyReader {
    /// A reader of a whole body.
    pub fn new(length: BodyLength) -> BodyReader {
        match length {
            BodyLength::None | BodyLength::Known(0) => BodyReader::Done,
            BodyLength::Known(length) => BodyReader::Known(length),
            BodyLength::Chunked => BodyReader::Chunked(ChunkedDecoder::new()),
            BodyLength::UntilClose => BodyReader::UntilClose,
        }
    }

    /// Returns true if nothing more belongs to the body.
    pub fn is_done(&self) -> bool {
        matches!(self, BodyReader::Done)
    }

    /// The bytes for which there should be room in the next read.
    pub fn wanted(&self) -> usize {
        match self {
            BodyReader::Known(left) => usize::try_from(*left).unwrap_or(PIECE).min(PIECE),
            _ => PIECE,
        }
    }

    /// Checks what was received of a chunked body.
    ///
    /// # Errors
    /// [`ChunkedError`] if it deviates from the chunked coding.
    pub fn check(&self, received: &[u8]) -> Result<(), ChunkedError> {
        match self {
            BodyReader::Chunked(decoder) => decoder.clone().validate(received).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Takes the next part out of `received`.
    ///
    /// # Errors
    /// The body is invalid, now and for each further call.
    pub fn next(&mut self, received: &mut BytesMut) -> Result<BodyPart, ChunkedError> {
        loop {
            match self {
                BodyReader::Done => return Ok(BodyPart::End),
                BodyReader::Invalid(error) => return Err(*error),
                BodyReader::Known(_) | BodyReader::UntilClose if received.is_empty() => {
                    return Ok(BodyPart::NeedMore);
                }
                BodyReader::UntilClose => {
                    let there = received.len();
                    return Ok(BodyPart::Piece(split(received, there)));
                }
                BodyReader::Known(left) => {
                    let there = received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= there as u64;
                    if *left == 0 {
                        *self = BodyReader::Done;
                    }
                    return Ok(BodyPart::Piece(split(received, there)));
                }
                BodyReader::Chunked(decoder) => match decoder.next(received) {
                    Ok((_, ChunkedItem::Data(range))) => {
                        received.advance(range.start);
                        return Ok(BodyPart::Piece(split(received, range.len())));
                    }
                    Ok((used, ChunkedItem::End)) => {
                        received.advance(used);
                        *self = BodyReader::Done;
                    }
                    Ok((used, ChunkedItem::NeedMore)) => {
                        received.advance(used);
                        return Ok(BodyPart::NeedMore);
                    }
                    Err(error) => *self = BodyReader::Invalid(error),
                },
            }
        }
    }

    /// Notes the end of the body where only what follows its last chunk is still to be taken out of `received`.
    pub fn settle(&mut self, received: &mut BytesMut) {
        if let BodyReader::Chunked(decoder) = self {
            match decoder.clone().next(received) {
                Ok((_, ChunkedItem::Data(_))) => {}
                // This consumes no data.
                _ => {
                    let _ = self.next(received);
                }
            }
        }
    }
}

/// The first `length` bytes. All of them leave no other owner of the memory, so that they can be changed in place. A small part is
/// copied, since it would keep all of the memory for as long as it is held.
fn split(received: &mut BytesMut, length: usize) -> Bytes {
    if length < received.capacity() / 4 {
        let piece = Bytes::copy_from_slice(&received[..length]);
        received.advance(length);
        return piece;
    }
    if length == received.len() {
        return std::mem::take(received).freeze();
    }
    received.split_to(length).freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(length: BodyLength, input: &[u8]) -> (Vec<u8>, bool, Vec<u8>) {
        let (mut reader, mut received) = (BodyReader::new(length), BytesMut::from(input));
        let mut body = Vec::new();
        loop {
            match reader.next(&mut received).unwrap() {
                BodyPart::Piece(piece) => body.extend_from_slice(&piece),
                BodyPart::End => return (body, true, received.to_vec()),
                BodyPart::NeedMore => return (body, false, received.to_vec()),
            }
        }
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let of = |body: &str, ended, rest: &str| (body.as_bytes().to_vec(), ended, rest.as_bytes().to_vec());
        assert_eq!(all(BodyLength::None, b"rest"), of("", true, "rest"));
        assert_eq!(all(BodyLength::Known(5), b"hellorest"), of("hello", true, "rest"));
        assert_eq!(all(BodyLength::Known(9), b"hello"), of("hello", false, ""));
        let chunked = b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\nrest";
        assert_eq!(all(BodyLength::Chunked, chunked), of("hello", true, "rest"));
        assert_eq!(all(BodyLength::UntilClose, b"hello"), of("hello", false, ""));
    }

    #[test]
    fn the_end_of_chunks_is_seen_with_the_last_piece() {
        for (rest, done) in [("\r\n0\r\n\r\nx", true), ("\r\n0\r\n", false), ("\r\n1\r\na", false)] {
            let mut reader = BodyReader::new(BodyLength::Chunked);
            let mut received = BytesMut::from(format!("5\r\nhello{rest}").as_bytes());
            assert!(matches!(reader.next(&mut received), Ok(BodyPart::Piece(_))));
            reader.settle(&mut received);
            assert_eq!(reader.is_done(), done, "{rest}");
            if done {
                assert_eq!(&received[..], b"x");
            } else if rest.ends_with('a') {
                assert!(
                    matches!(reader.next(&mut received), Ok(BodyPart::Piece(piece)) if &piece[..] == b"a")
                );
            }
        }
    }

    #[test]
    fn a_small_piece_does_not_keep_the_whole_buffer() {
        for length in [BodyLength::Known(1000), BodyLength::UntilClose] {
            let (mut reader, mut received) = (BodyReader::new(length), BytesMut::with_capacity(PIECE));
            received.extend_from_slice(b"x");
            assert!(matches!(reader.next(&mut received), Ok(BodyPart::Piece(piece)) if &piece[..] == b"x"));
            assert!(received.is_empty() && received.capacity() >= PIECE - 1);
        }
    }

    #[test]
    fn an_invalid_body_stays_invalid() {
        let mut reader = BodyReader::new(BodyLength::Chunked);
        let mut received = BytesMut::from(&b"\r\n\r\nGET / HTTP/1.1\r\n"[..]);
        for _ in 0..2 {
            assert_eq!(reader.next(&mut received).unwrap_err(), ChunkedError::Size);
        }
    }
}
