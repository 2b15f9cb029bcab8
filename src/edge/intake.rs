//! A client's HTTP/2 connection from which requests are taken a few at a time: those that were begun are looked at before
//! more are. Else a client that sends a hundred at once has memory for a hundred, even where each is refused at first sight.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::RequestFrames;

/// Requests that are taken from what a client has sent before the tasks of those before have run.
const AT_ONCE: usize = 8;

/// The connection.
#[derive(Debug)]
pub struct Intake {
    stream: Stream,
    frames: RequestFrames,
    /// Bytes that were received, and wait for the pause to end.
    withheld: Bytes,
    pause: Arc<Mutex<Pause>>,
}

/// A pause in the reading of a connection.
#[derive(Debug, Default)]
enum Pause {
    /// Reading continues.
    #[default]
    Over,
    /// Reading waits for the tasks that were started before; the waker is that of the last read.
    On(Option<Waker>),
}

impl Intake {
    /// Takes over a connection of which nothing has been read.
    pub fn new(stream: Stream) -> Intake {
        Intake { stream, frames: RequestFrames::new(AT_ONCE), withheld: Bytes::new(), pause: Arc::default() }
    }

    /// Reads nothing more until the tasks that are ready to run have run.
    fn pause(&mut self, cx: &Context<'_>) {
        *self.pause.lock() = Pause::On(Some(cx.waker().clone()));
        let pause = self.pause.clone();
        // A worker runs its tasks in the order in which they became ready: when the reader is polled again, each request
        // that was begun before has been polled once.
        tokio::spawn(async move {
            if let Pause::On(Some(waker)) = std::mem::take(&mut *pause.lock()) {
                waker.wake();
            }
        });
    }
}

impl AsyncRead for Intake {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Pause::On(waker) = &mut *self.pause.lock() {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let this = &mut *self;
        let before = buf.filled().len();
        if this.withheld.is_empty() {
            let read = Pin::new(&mut this.stream).poll_read(cx, buf);
            if read.is_pending() {
                // The reader sleeps now, and the tasks of what it has read run.
                this.frames.allow(AT_ONCE);
            }
            ready!(read)?;
            let read = &buf.filled()[before..];
            let passed = this.frames.pass(read);
            if passed == read.len() {
                return Poll::Ready(Ok(()));
            }
            this.withheld = Bytes::copy_from_slice(&read[passed..]);
            buf.set_filled(before + passed);
        } else {
            let part = &this.withheld[..this.withheld.len().min(buf.remaining())];
            let passed = this.frames.pass(part);
            buf.put_slice(&part[..passed]);
            let all = passed == part.len();
            this.withheld.advance(passed);
            if all {
                return Poll::Ready(Ok(()));
            }
        }
        this.pause(cx);
        this.frames.allow(AT_ONCE);
        // No bytes at all would be the end of the connection.
        if buf.filled().len() == before { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Intake {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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

#[async_trait]
impl Shutdown for Intake {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Intake {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Intake {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

#[async_trait]
impl Peek for Intake {}

impl GetTimingDigest for Intake {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Intake {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Intake {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}
