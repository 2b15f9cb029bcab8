//! The content of a message as BDAT sends it (RFC 3030): chunks of a given size, whatever they contain.

/// A reader of one chunk.
#[derive(Clone, Copy, Debug)]
pub struct ChunkReader {
    left: u64,
}

impl ChunkReader {
    /// A reader of a chunk of `size` bytes.
    pub const fn new(size: u64) -> ChunkReader {
        ChunkReader { left: size }
    }

    /// Consumes the bytes of `input` that belong to the chunk, and returns them.
    pub fn read<'i>(&mut self, input: &mut &'i [u8]) -> &'i [u8] {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (piece, rest) = input.split_at(len);
        *input = rest;
        self.left -= len as u64;
        piece
    }

    /// Returns true once the whole chunk was read.
    pub const fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_ends_where_it_said() {
        let mut reader = ChunkReader::new(5);
        let mut input = &b"abc"[..];
        assert_eq!(reader.read(&mut input), b"abc");
        assert!(!reader.is_over() && input.is_empty());
        let mut input = &b"\r\nQUIT\r\n"[..];
        assert_eq!(reader.read(&mut input), b"\r\n");
        assert!(reader.is_over());
        assert_eq!(input, b"QUIT\r\n");
        assert!(ChunkReader::new(0).is_over());
    }
}
