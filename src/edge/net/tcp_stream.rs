//! A TCP stream for pingora: reads pass through, small writes are gathered until the flush, and a meter counts the received
//! bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::BytesMut;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::os::fd::AsRawFd;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// Writes are gathered up to this many bytes; larger ones go straight to the kernel.
const GATHER: usize = 16 * 1024;

/// A buffer for gathered writes that grew above this many bytes is given back once it is empty.
const KEPT: usize = 4 * 1024;

/// Counts the bytes that a connection received since the last [`Meter::start`], and refuses more than its limit.
///
/// The count distinguishes a header that arrives slowly, or that never ends, from an idle connection.
#[derive(Debug, Default)]
pub struct Meter {
    received: AtomicUsize,
    limit: AtomicUsize,
}

impl Meter {
    /// Begins to count from zero; reads over `limit` bytes fail until [`Meter::lift`].
    pub fn start(&self, limit: usize) {
        self.received.store(0, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Removes the limit.
    pub fn lift(&self) {
        self.limit.store(usize::MAX, Ordering::Relaxed);
    }

    /// The bytes received since the start.
    pub fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns true if a read was refused since the start.
    pub fn exceeded(&self) -> bool {
        self.received() >= self.limit.load(Ordering::Relaxed)
    }
}

/// A TCP connection, of a client or to a backend.
#[derive(Debug)]
pub struct MeteredStream {
    stream: TcpStream,
    meter: Arc<Meter>,
    gathered: Vec<u8>,
    written: usize,
    unread: BytesMut,
}

impl MeteredStream {
    /// Takes over a connected stream. Disables Nagle's algorithm, because writes are gathered here.
    ///
    /// # Errors
    /// The peer has closed the connection already.
    pub fn new(stream: TcpStream, meter: Arc<Meter>) -> io::Result<MeteredStream> {
        stream.set_nodelay(true)?;
        meter.lift();
        Ok(MeteredStream { stream, meter, gathered: Vec::new(), written: 0, unread: BytesMut::new() })
    }

    /// Puts back bytes, to be read again.
    pub fn unread(&mut self, bytes: BytesMut) {
        self.unread = bytes;
    }

    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let rest = &self.gathered[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        if self.gathered.capacity() > KEPT {
            self.gathered = Vec::new();
        }
        self.gathered.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let part = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(part));
            return Poll::Ready(Ok(()));
        }
        if self.meter.exceeded() {
            return Poll::Ready(Err(io::Error::other("more bytes than allowed")));
        }
        let before = buf.filled().len();
        if Pin::new(&mut self.stream).poll_read(cx, buf)?.is_pending() {
            // The reader waits for the peer, which needs what was written. A slow response reaches it piece by piece.
            if !self.gathered.is_empty() {
                // If that fails, the peer may have sent an answer nevertheless. The next write fails, too.
                let _ = self.poll_gathered(cx);
            }
            return Poll::Pending;
        }
        self.meter.received.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() + buf.len() <= GATHER {
            self.gathered.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_gathered(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for MeteredStream {
    async fn shutdown(&mut self) {
        // If the peer is gone, there is nothing left to tell it.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for MeteredStream {
    fn id(&self) -> UniqueIDType {
        self.stream.as_raw_fd()
    }
}

impl Ssl for MeteredStream {}

#[async_trait]
impl Peek for MeteredStream {}

impl GetTimingDigest for MeteredStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for MeteredStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }

    fn set_proxy_digest(&mut self, _digest: ProxyDigest) {}
}

impl GetSocketDigest for MeteredStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }

    fn set_socket_digest(&mut self, _digest: SocketDigest) {}
}
