//! Reads and writes on a connection to a backend, in cleartext or with TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::edge::net::nonblocking;

/// A connection to a backend. It does not buffer; its user gathers what is written.
#[derive(Debug)]
pub enum BackendTransport {
    /// Unencrypted.
    Cleartext(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl BackendTransport {
    /// Returns true if unread bytes may have arrived. Costs no system call.
    pub fn may_have_unread(&self) -> bool {
        match self {
            BackendTransport::Cleartext(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            BackendTransport::Tls(_) => true,
        }
    }

    /// Writes without waiting, and returns the number of bytes written. With TLS that is always 0, because a write is not
    /// complete before it is flushed.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            BackendTransport::Cleartext(stream) => nonblocking::write(stream, bytes),
            BackendTransport::Tls(_) => Ok(0),
        }
    }

    /// Writes without waiting and ignores errors, for a QUIT that nothing depends on.
    pub fn write_now(&mut self, bytes: &[u8]) {
        if nonblocking::poll(|cx| Pin::new(&mut *self).poll_write(cx, bytes)).is_ready() {
            let _ = nonblocking::poll(|cx| Pin::new(&mut *self).poll_flush(cx));
        }
    }
}

impl AsyncRead for BackendTransport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BackendTransport::Cleartext(stream) => Pin::new(stream).poll_read(cx, buf),
            BackendTransport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for BackendTransport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            BackendTransport::Cleartext(stream) => Pin::new(stream).poll_write(cx, buf),
            BackendTransport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            BackendTransport::Cleartext(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            BackendTransport::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BackendTransport::Cleartext(_) => Poll::Ready(Ok(())),
            BackendTransport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            BackendTransport::Cleartext(stream) => Pin::new(stream).poll_shutdown(cx),
            BackendTransport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
