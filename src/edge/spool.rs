//! A request body that was read to its end before it could be forwarded: in memory while it is small, else in a
//! temporary file without a name.

use std::io::{self, SeekFrom};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// What is read back from the file at once.
const PIECE: usize = 64 * 1024;

/// A body being written, then read; as often as it takes.
#[derive(Debug)]
pub struct Spool {
    memory: BytesMut,
    in_memory_at_most: u64,
    directory: Option<PathBuf>,
    file: Option<File>,
    length: u64,
    read: u64,
}

impl Spool {
    /// An empty one, that goes over to a file in `directory` (none: the system's) above `memory` bytes.
    pub fn new(memory: u64, directory: Option<PathBuf>) -> Spool {
        Spool {
            memory: BytesMut::new(),
            in_memory_at_most: memory,
            directory,
            file: None,
            length: 0,
            read: 0,
        }
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// Where the temporary file can't be made or written, as on a full disk.
    pub async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.length += piece.len() as u64;
        if let Some(file) = &mut self.file {
            return file.write_all(piece).await;
        }
        if self.length <= self.in_memory_at_most {
            self.memory.extend_from_slice(piece);
            return Ok(());
        }
        let directory = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(directory)).await??;
        let mut file = File::from_std(file);
        file.write_all(&std::mem::take(&mut self.memory)).await?;
        file.write_all(piece).await?;
        self.file = Some(file);
        Ok(())
    }

    /// Goes back to the beginning, to be read.
    ///
    /// # Errors
    /// Where the file can't be written to its end.
    pub async fn rewind(&mut self) -> io::Result<()> {
        self.read = 0;
        if let Some(file) = &mut self.file {
            file.flush().await?;
            file.seek(SeekFrom::Start(0)).await?;
        }
        Ok(())
    }

    /// The next piece; `None` at the end. A call that was dropped half-way loses nothing.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.read >= self.length {
            return Ok(None);
        }
        let piece = match &mut self.file {
            None => Bytes::copy_from_slice(&self.memory[self.read as usize..]),
            Some(file) => {
                let mut piece = BytesMut::with_capacity(PIECE);
                if file.read_buf(&mut piece).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                piece.freeze()
            }
        };
        self.read += piece.len() as u64;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(spool: &mut Spool) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(piece) = spool.next().await.unwrap() {
            read.extend_from_slice(&piece);
        }
        read
    }

    #[tokio::test]
    async fn small_and_large_come_back_as_often_as_wanted() {
        for size in [0, 1000, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
            let mut spool = Spool::new(1000, None);
            for piece in body.chunks(70_001) {
                spool.write(piece).await.unwrap();
            }
            assert_eq!(spool.length(), u64::from(size));
            assert_eq!(spool.file.is_some(), size > 1000);
            for _ in 0..2 {
                spool.rewind().await.unwrap();
                assert_eq!(all(&mut spool).await, body);
            }
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_an_error() {
        let mut spool = Spool::new(1, Some("/nowhere/at/all".into()));
        assert!(spool.write(b"too long for memory").await.is_err());
    }
}
