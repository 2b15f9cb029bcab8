//! Streams that fail, and that record what is written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};

use crate::edge::net::stream_wrapper::{forward_reads, forward_stream_traits, forward_writes};

/// A stream that begins with some bytes and then fails with [`Deviation`].
#[derive(Debug)]
pub struct Failing {
    stream: Stream,
    begin: &'static [u8],
}

/// A stream that begins with `begin` and then fails.
pub fn failing(begin: &str) -> Stream {
    let (near, _) = duplex(1);
    Box::new(Failing { stream: Box::new(near), begin: begin.to_owned().leak().as_bytes() })
}

#[derive(Debug, thiserror::Error)]
#[error("not as agreed")]
pub struct Deviation;

/// A stream that records each write.
#[derive(Debug)]
pub struct Recorded {
    pub stream: Stream,
    pub writes: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begin = std::mem::take(&mut self.begin);
        if begin.is_empty() {
            return Poll::Ready(Err(io::Error::other(Deviation)));
        }
        buf.put_slice(begin);
        Poll::Ready(Ok(()))
    }
}

forward_writes!(Failing);
forward_stream_traits!(Failing);

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.lock().push(buf.to_vec());
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

forward_reads!(Recorded);
forward_stream_traits!(Recorded);
