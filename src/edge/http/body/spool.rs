//! A request body that was read to its end before it could be forwarded: in memory while it is small, else in a
//! temporary file without a name.

use std::io::{self, SeekFrom};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::config::Forms;
use crate::edge::http::quota::QuotaLease;
use crate::edge::net::descriptors;

/// The bytes that are read back from the file at once.
const PIECE: usize = 64 * 1024;

/// The room for a body of known length, as a multiple of its first piece.
const FIRST_ROOM: usize = 8;

/// A body that is written once, and then read as often as needed.
#[derive(Debug)]
pub struct Spool {
    memory: BytesMut,
    /// The length of a body that fits into memory, if that is known.
    expected: Option<u64>,
    /// The bytes that were written to memory, once they can be read.
    whole: Bytes,
    in_memory_at_most: u64,
    directory: Option<PathBuf>,
    file: Option<File>,
    length: u64,
    read: u64,
    lease: QuotaLease,
}

/// The reason that a piece can't be appended.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The temporary file can't be created or written, as on a full disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Other forms have used up the room.
    #[error("no room for another form")]
    NoRoom,
}

impl Spool {
    /// An empty spool for `expected` bytes, if that is known. It continues in a file above `forms.memory` bytes, or if `lease` finds no
    /// room in memory.
    pub fn new(forms: &Forms, lease: QuotaLease, expected: Option<u64>) -> Spool {
        Spool {
            memory: BytesMut::new(),
            expected: expected.filter(|expected| *expected <= forms.memory),
            whole: Bytes::new(),
            in_memory_at_most: forms.memory,
            directory: forms.directory.clone(),
            file: None,
            length: 0,
            read: 0,
            lease,
        }
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// [`SpoolError`], after which the spool can't be used.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), SpoolError> {
        let before = self.length;
        self.length += piece.len() as u64;
        if self.file.is_none()
            && self.length <= self.in_memory_at_most
            && self.lease.cover_in_memory(before, self.length)
        {
            self.keep(piece);
            return Ok(());
        }
        if !self.lease.cover_on_disk(self.length).await {
            return Err(SpoolError::NoRoom);
        }
        if let Some(file) = &mut self.file {
            return Ok(file.write_all(&piece).await?);
        }
        let directory = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(directory)).await;
        let file = made.map_err(io::Error::from)??;
        if !descriptors::leaves_reserve(&file) {
            return Err(SpoolError::NoRoom);
        }
        let mut file = File::from_std(file);
        let memory = std::mem::take(&mut self.memory);
        file.write_all(&memory).await?;
        self.lease.leave_memory();
        file.write_all(&piece).await?;
        self.file = Some(file);
        Ok(())
    }

    /// Appends a piece to memory.
    fn keep(&mut self, piece: Bytes) {
        if !self.memory.is_empty() {
            return self.memory.extend_from_slice(&piece);
        }
        let expected = usize::try_from(self.expected.unwrap_or_default()).unwrap_or_default();
        if piece.len() < expected {
            self.memory.reserve(expected.min(piece.len() * FIRST_ROOM));
            return self.memory.extend_from_slice(&piece);
        }
        // All of it is there, and stays where it is, unless that is far too large.
        let whole = BytesMut::from(piece);
        self.memory = if whole.capacity() <= 2 * whole.len() { whole } else { BytesMut::from(&whole[..]) };
    }

    /// The room that it takes.
    pub fn lease(&self) -> &QuotaLease {
        &self.lease
    }

    /// Notes that the request's credential was accepted. Only long bodies keep their room.
    pub fn accept(&mut self) {
        self.lease.accept();
    }

    /// Goes back to the beginning, to be read.
    ///
    /// # Errors
    /// The file can't be written to its end.
    pub async fn rewind(&mut self) -> io::Result<()> {
        self.read = 0;
        if !self.memory.is_empty() {
            self.whole = std::mem::take(&mut self.memory).freeze();
        }
        if let Some(file) = &mut self.file {
            file.flush().await?;
            file.seek(SeekFrom::Start(0)).await?;
        }
        Ok(())
    }

    /// The next piece; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.read >= self.length {
            return Ok(None);
        }
        let piece = match &mut self.file {
            None => self.whole.clone(),
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
    use std::sync::Arc;

    use super::*;
    use crate::edge::http::quota::Quota;

    fn spool(forms: Forms) -> Spool {
        let lease = QuotaLease::new(Arc::new(Quota::default()), [192, 0, 2, 1].into(), None, &forms);
        Spool::new(&forms, lease, Some(500))
    }

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
            let mut spool = spool(Forms { memory: 1000, ..Forms::default() });
            for piece in body.chunks(70_001) {
                spool.write(Bytes::copy_from_slice(piece)).await.unwrap();
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
        let mut spool =
            spool(Forms { memory: 1, directory: Some("/nowhere/at/all".into()), ..Forms::default() });
        assert!(matches!(
            spool.write(Bytes::from_static(b"too long for memory")).await,
            Err(SpoolError::Io(_))
        ));
    }

    #[tokio::test]
    async fn without_room_in_memory_it_goes_to_a_file() {
        let mut spool = spool(Forms { memory_total: 0, ..Forms::default() });
        spool.write(Bytes::from_static(&[b'x'; 1000])).await.unwrap();
        assert!(spool.file.is_none());
        spool.write(Bytes::from_static(&[b'x'; 20_000])).await.unwrap();
        assert!(spool.file.is_some());
        spool.rewind().await.unwrap();
        assert_eq!(all(&mut spool).await, [b'x'; 21_000]);
    }
}
