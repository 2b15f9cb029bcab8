//! The bytes of a connection to a backend, with TLS or without.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio_rustls::client::TlsStream;

/// A connection to a backend. What is written is gathered by whoever writes.
#[derive(Debug)]
pub enum Transport {
    /// In clear.
    Clear(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Whether it is open and has nothing to say: a backend that speaks before it is asked is closing.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        now(|cx| Pin::new(&mut *self).poll_read(cx, &mut buffer)).is_pending()
    }

    /// Whether something may have come that wasn't read. The kernel isn't asked.
    pub fn may_have_unread(&self) -> bool {
        match self {
            Transport::Clear(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Transport::Tls(_) => true,
        }
    }

    /// Writes what goes at once, and says how much that is: mostly all of it, but nothing with TLS, where a write isn't done
    /// before it is flushed.
    ///
    /// # Errors
    /// Where the connection is broken.
    pub fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let Transport::Clear(stream) = self else { return Ok(0) };
        let written = match bytes {
            [one] => stream.try_write(one),
            several => stream.try_write_vectored(several),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// Writes what can be written at once, for a farewell that nobody waits for.
    pub fn write_now(&mut self, bytes: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        if Pin::new(&mut *self).poll_write(&mut context, bytes).is_ready() {
            let _ = Pin::new(self).poll_flush(&mut context);
        }
    }
}

/// What `poll` gives now, however much of its budget the task has used up: without, that would seem to be nothing.
pub fn now<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    pin!(unconstrained(poll_fn(poll))).poll(&mut Context::from_waker(Waker::noop()))
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Clear(_) => Poll::Ready(Ok(())),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::task::coop;

    use super::*;

    #[tokio::test]
    async fn what_came_is_seen_by_a_task_without_budget() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut transport = Transport::Clear(stream);
        assert!(transport.is_quiet() && !transport.may_have_unread());
        far.write_all(b"421 bye\r\n").await.unwrap();
        let Transport::Clear(stream) = &transport else { unreachable!() };
        stream.readable().await.unwrap();
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
        }
        assert!(transport.may_have_unread() && !transport.is_quiet());
    }
}
