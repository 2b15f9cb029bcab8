//! A connection to a backend with a write buffer: what the backend does not take is kept, and goes out while its response is
//! awaited. So writing a request's body never keeps Gatepost from reading the response.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::edge::net::stream_wrapper::forward_stream_traits;

/// The state of a [`WriteBuffer`] that another owner holds.
#[derive(Debug, Default)]
pub struct Backlog {
    keeps: AtomicBool,
    waits: AtomicBool,
    failed: AtomicBool,
}

impl Backlog {
    /// With `keeps`, bytes that the backend doesn't take are kept from now on, so that each write is done at once. Then nothing more may
    /// be written until [`Backlog::gone`], and the connection must be read from meanwhile.
    pub fn keep(&self, keeps: bool) {
        self.keeps.store(keeps, Ordering::Relaxed);
    }

    /// Returns true if the backend hasn't taken all bytes yet.
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Resolves once the backend has taken all bytes; false if it takes no more. It must be awaited beside a read and polled after it:
    /// the read sends the bytes, and nothing else wakes this.
    pub async fn gone(&self) -> bool {
        poll_fn(|_| if self.waits() { Poll::Pending } else { Poll::Ready(()) }).await;
        !self.failed.load(Ordering::Relaxed)
    }
}

/// A connection to a backend with a write buffer.
#[derive(Debug)]
pub struct WriteBuffer {
    stream: Stream,
    backlog: Arc<Backlog>,
    kept: Vec<u8>,
    /// The bytes of `kept` that were written.
    written: usize,
}

impl WriteBuffer {
    /// Takes over a connection, with an empty buffer.
    pub fn new(stream: Stream, backlog: Arc<Backlog>) -> WriteBuffer {
        WriteBuffer { stream, backlog, kept: Vec::new(), written: 0 }
    }

    /// The connection below, if `stream` is a [`WriteBuffer`].
    pub fn unwrap(stream: Stream) -> Option<Stream> {
        stream.into_any().downcast::<WriteBuffer>().ok().map(|buffer| buffer.stream)
    }

    /// Sends all bytes that are kept here and below.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.kept.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.kept[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.kept.clear();
        self.written = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl AsyncRead for WriteBuffer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.backlog.waits()
            && let Poll::Ready(sent) = self.poll_out(cx)
        {
            // A backend that takes no more may still have sent a response.
            self.backlog.failed.fetch_or(sent.is_err(), Ordering::Relaxed);
            self.backlog.waits.store(false, Ordering::Relaxed);
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteBuffer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let keeps = self.backlog.keeps.load(Ordering::Relaxed);
        if !keeps && !self.kept.is_empty() {
            ready!(self.poll_out(cx))?;
        }
        if self.kept.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, buf);
            if written.is_ready() || !keeps {
                return written;
            }
        }
        self.kept.extend_from_slice(buf);
        self.backlog.waits.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.poll_out(cx);
        self.backlog.waits.store(flushed.is_pending(), Ordering::Relaxed);
        match self.backlog.keeps.load(Ordering::Relaxed) && flushed.is_pending() {
            true => Poll::Ready(Ok(())),
            false => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

forward_stream_traits!(WriteBuffer);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_not_taken_goes_out_while_an_answer_is_waited_for() {
        let (near, mut far) = duplex(16);
        let backlog = Arc::new(Backlog::default());
        let mut outbox = WriteBuffer::new(Box::new(near), backlog.clone());
        backlog.keep(true);
        let body: Vec<u8> = (0..200).collect();
        outbox.write_all(&body[..8]).await.unwrap();
        assert!(!backlog.waits() && backlog.gone().await, "there is room for it");
        outbox.write_all(&body[8..]).await.unwrap();
        outbox.flush().await.unwrap();
        assert!(backlog.waits());
        // An answer comes before all of it is taken, and is read.
        far.write_all(b"early").await.unwrap();
        let mut answer = [0; 5];
        outbox.read_exact(&mut answer).await.unwrap();
        assert!(&answer == b"early" && backlog.waits());
        let taking = tokio::spawn(async move {
            let mut taken = vec![0; 200];
            far.read_exact(&mut taken).await.unwrap();
            (far, taken)
        });
        tokio::select! {
            biased;
            _ = outbox.read_u8() => panic!("there is nothing to read"),
            taken = backlog.gone() => assert!(taken),
        }
        let (far, taken) = taking.await.unwrap();
        assert_eq!(taken, body);
        // As before, once nothing is kept any more.
        backlog.keep(false);
        drop(far);
        assert!(outbox.write_all(&body).await.is_err());
    }

    #[tokio::test]
    async fn who_takes_no_more_is_seen_by_the_read() {
        let (near, far) = duplex(16);
        let backlog = Arc::new(Backlog::default());
        let mut outbox = WriteBuffer::new(Box::new(near), backlog.clone());
        backlog.keep(true);
        outbox.write_all(&[b'x'; 100]).await.unwrap();
        assert!(backlog.waits());
        drop(far);
        assert_eq!(outbox.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(!backlog.waits() && !backlog.gone().await);
    }
}
