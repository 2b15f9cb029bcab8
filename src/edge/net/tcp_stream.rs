//! A TCP stream for pingora: reads pass through, and small writes are gathered until the flush.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::os::fd::AsRawFd;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::nonblocking;

/// Writes are gathered up to this many bytes; larger ones go straight to the kernel.
const GATHER: usize = 16 * 1024;

/// A buffer for gathered writes that grew above this many bytes is given back once it is empty.
const KEPT: usize = 4 * 1024;

/// A TCP connection, of a client or to a backend.
#[derive(Debug)]
pub struct GatheringStream {
    stream: TcpStream,
    gathered: Vec<u8>,
    written: usize,
}

impl GatheringStream {
    /// Takes over a connected stream. Disables Nagle's algorithm, because writes are gathered here.
    ///
    /// # Errors
    /// The peer has closed the connection already.
    pub fn new(stream: TcpStream) -> io::Result<GatheringStream> {
        stream.set_nodelay(true)?;
        Ok(GatheringStream { stream, gathered: Vec::new(), written: 0 })
    }

    /// The TCP connection that `stream` is, if it isn't encrypted.
    pub fn of(stream: &Stream) -> Option<&GatheringStream> {
        (**stream).as_any().downcast_ref()
    }

    /// Writes as much of `bytes` as the kernel accepts at once, and returns the number of bytes. Nothing goes ahead of gathered ones.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match bytes.is_empty() || self.has_gathered() {
            true => Ok(0),
            false => nonblocking::write(&self.stream, &[io::IoSlice::new(bytes)]),
        }
    }

    /// Returns true if gathered bytes wait for the flush.
    pub fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Returns true if the peer has sent nothing that wasn't read, and hasn't closed its side.
    pub fn is_quiet(&self) -> bool {
        self.stream.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Resolves once the peer has reset the connection.
    pub async fn reset(&self) {
        while self.stream.ready(Interest::ERROR).await.is_ok_and(|ready| !ready.is_error()) {
            tokio::task::yield_now().await;
        }
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

impl AsyncRead for GatheringStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if Pin::new(&mut self.stream).poll_read(cx, buf)?.is_pending() {
            // The reader waits for the peer, which needs what was written. A slow response reaches it piece by piece.
            if !self.gathered.is_empty() {
                // If that fails, the peer may have sent an answer nevertheless. The next write fails, too.
                let _ = self.poll_gathered(cx);
            }
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GatheringStream {
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
impl Shutdown for GatheringStream {
    async fn shutdown(&mut self) {
        // If the peer is gone, there is nothing left to tell it.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for GatheringStream {
    fn id(&self) -> UniqueIDType {
        self.stream.as_raw_fd()
    }
}

impl Ssl for GatheringStream {}

#[async_trait]
impl Peek for GatheringStream {}

impl GetTimingDigest for GatheringStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for GatheringStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }

    fn set_proxy_digest(&mut self, _digest: ProxyDigest) {}
}

impl GetSocketDigest for GatheringStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }

    fn set_socket_digest(&mut self, _digest: SocketDigest) {}
}
