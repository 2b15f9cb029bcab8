//! A client's connection over HTTP/1, on which Gatepost's own header takes the place of pingora's: pingora overwrites `Date` and
//! adds `Connection` in each header of a response that it writes, and `headers::response` decides about both.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use pingora_core::protocols::Stream;
use tokio::io::AsyncWrite;

use crate::edge::net::stream_wrapper::{forward_reads, forward_stream_traits};

/// A client's connection.
#[derive(Debug)]
pub struct ClientStream {
    stream: Stream,
    /// The bytes that the next write stands for, as far as they were not written yet.
    replacement: Mutex<Option<Bytes>>,
}

impl ClientStream {
    /// Takes over a connection.
    pub fn new(stream: Stream) -> ClientStream {
        ClientStream { stream, replacement: Mutex::new(None) }
    }

    /// Has `header` take the place of the next write, which must be the header of a response.
    pub fn replace_header(&self, header: Bytes) {
        *self.replacement.lock() = Some(header);
    }

    /// Returns true if there was no write yet that the header could take the place of, and forgets the header.
    pub fn withdraw_header(&self) -> bool {
        self.replacement.lock().take().is_some()
    }

    fn poll_replacement(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let replacement = self.replacement.get_mut();
        if let Some(header) = replacement {
            while !header.is_empty() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, header))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => header.advance(written),
                }
            }
            *replacement = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.replacement.get_mut().is_none() {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        // Anything else than a header would be lost here.
        if !buf.starts_with(b"HTTP/1.1 ") || !buf.ends_with(b"\r\n\r\n") {
            return Poll::Ready(Err(io::Error::other("not the header of a response")));
        }
        ready!(self.poll_replacement(cx))?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.replacement.get_mut().is_none() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&b""[..], |buf| buf);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

forward_reads!(ClientStream);
forward_stream_traits!(ClientStream);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_header_takes_the_place_of_one_write_however_little_is_taken_at_once() {
        let (near, mut far) = duplex(3);
        let taking = tokio::spawn(async move {
            let mut taken = String::new();
            far.read_to_string(&mut taken).await.unwrap();
            taken
        });
        let mut client = ClientStream::new(Box::new(near));
        client.write_all(b"before ").await.unwrap();
        client.replace_header(Bytes::from_static(b"HTTP/1.1 200 OK\r\nA: ours\r\n\r\n"));
        client.write_all(b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n").await.unwrap();
        assert!(!client.withdraw_header());
        client.write_all(b"behind").await.unwrap();
        drop(client);
        assert_eq!(taking.await.unwrap(), "before HTTP/1.1 200 OK\r\nA: ours\r\n\r\nbehind");
    }

    #[tokio::test]
    async fn nothing_but_a_header_is_replaced() {
        let (near, _far) = duplex(100);
        let mut client = ClientStream::new(Box::new(near));
        client.replace_header(Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(client.write_all(b"5\r\nhello\r\n").await.is_err());
        assert!(client.withdraw_header());
        client.write_all(b"5\r\nhello\r\n").await.unwrap();
    }
}
