//! Reads and writes on a client's connection, with or without TLS. An idle connection has no buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use pingora_timeout::timeout;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroize;

use crate::edge::net::nonblocking;

/// The most bytes of one read. A message of up to this size is read and written in one piece. For buffers of twice the size,
/// the allocator may reserve 2 MiB at once.
const READ: usize = 32 * 1024;

/// The reply to QUIT, always the last one of a session.
const BYE: &[u8] = b"221 2.0.0 Bye\r\n";

/// The longest time for which a client's bytes are read after the end of its session.
const LISTEN: Duration = Duration::from_secs(1);
/// The same for a client that may continue its message after a pause.
pub const LISTEN_LATE: Duration = Duration::from_secs(10);
/// The most of these bytes for [`UnreadInput::Bounded`].
const DRAIN: usize = 64 * 1024;
/// The most of them for [`UnreadInput::Late`].
const DRAIN_LATE: usize = 16 * 1024 * 1024;
/// The most of these bytes for one read.
const SCRAP: usize = 4 * 1024;

thread_local! {
    // Shared by all connections of a worker: its content is copied out before another task can run.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A client's connection.
pub enum ClientIo {
    /// Unencrypted.
    Cleartext(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The kind of input that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPurpose {
    /// Commands, after long pauses: little memory is kept for them.
    Commands,
    /// Commands that may contain passwords: no copy of them stays anywhere but in the input.
    Credentials,
    /// The content of a message.
    Content,
}

/// The input that is read and discarded after the end of a session, so that the client gets the last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadInput {
    /// If there are unread bytes: they and what follows them, up to [`DRAIN`] bytes. The client is at fault.
    Bounded,
    /// If there are unread bytes: everything within [`LISTEN`]. The gateway stops.
    Unbounded,
    /// Everything within [`LISTEN`], even if there are no unread bytes yet. The client is sending a message.
    Expected,
    /// Everything within [`LISTEN_LATE`], up to [`DRAIN_LATE`] bytes. The client has paused within a message that is refused.
    Late,
}

impl ClientIo {
    /// Waits for input and appends it to `input`. Returns the number of bytes; 0 if the client closed the connection.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn read(&mut self, input: &mut Vec<u8>, manner: ReadPurpose) -> io::Result<usize> {
        match self {
            ClientIo::Tls(stream) if manner == ReadPurpose::Content => {
                input.reserve(READ);
                return stream.read_buf(input).await;
            }
            // A short message never needs a buffer of its own of this size.
            ClientIo::Cleartext(stream)
                if manner == ReadPurpose::Content && input.capacity() - input.len() >= READ =>
            {
                return stream.read_buf(input).await;
            }
            _ => {}
        }
        poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(match self {
                    ClientIo::Cleartext(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
                    ClientIo::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut buffer),
                })?;
                let read = buffer.filled().len();
                if manner == ReadPurpose::Credentials {
                    drop(moved_out(input, read));
                }
                if manner == ReadPurpose::Content {
                    // Exactly, so that the capacity never exceeds what one read may return.
                    input.reserve_exact(read);
                }
                input.extend_from_slice(buffer.filled());
                if manner == ReadPurpose::Credentials {
                    scratch[..read].zeroize();
                }
                Poll::Ready(Ok(read))
            })
        })
        .await
    }

    /// Writes without waiting, and returns the number of bytes written. With TLS that is always 0, because a write is not
    /// complete before it is flushed.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            ClientIo::Cleartext(stream) => nonblocking::write(stream, &[IoSlice::new(bytes)]),
            ClientIo::Tls(_) => Ok(0),
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            ClientIo::Cleartext(stream) => stream.write_all(bytes).await,
            ClientIo::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Performs a TLS handshake on an unencrypted connection.
    ///
    /// # Errors
    /// The handshake fails, or the connection is already encrypted.
    pub async fn encrypt(self, acceptor: &TlsAcceptor) -> io::Result<ClientIo> {
        match self {
            ClientIo::Cleartext(stream) => Ok(ClientIo::Tls(Box::new(acceptor.accept(stream).await?))),
            ClientIo::Tls(_) => Err(io::Error::other("TLS within TLS")),
        }
    }

    /// Sends the last replies, ends the stream, and closes the connection. Before that, reads and discards input according to
    /// `unread`, for a limited time. If a connection is closed with unread bytes, the kernel drops unsent replies and
    /// resets it. After a reset, the client may drop replies that it has not read.
    pub async fn close(mut self, last: &[u8], unread: UnreadInput) {
        let is_quit = last.ends_with(BYE);
        let has_more =
            matches!(unread, UnreadInput::Expected | UnreadInput::Late) || self.has_unread(is_quit);
        if let ClientIo::Cleartext(stream) = &self
            && last == BYE
            && !has_more
        {
            // The reply to QUIT alone. With MSG_MORE, the kernel keeps it until the connection is closed, and sends both in one
            // packet.
            let kept = || Ok(rustix::net::send(stream, last, SendFlags::MORE | SendFlags::NOSIGNAL)?);
            if stream.try_io(Interest::WRITABLE, kept).is_ok() {
                return;
            }
        }
        // If the client is gone, there is nothing more to send. Without TLS, closing the socket ends the stream.
        if self.write(last).await.is_err() {
            return;
        }
        let ended = match &mut self {
            ClientIo::Cleartext(stream) if has_more => stream.shutdown().await,
            ClientIo::Cleartext(_) => return,
            ClientIo::Tls(stream) => stream.shutdown().await,
        };
        if ended.is_ok() && has_more {
            let (most, longest) = match unread {
                UnreadInput::Bounded => (DRAIN, LISTEN),
                UnreadInput::Unbounded | UnreadInput::Expected => (usize::MAX, LISTEN),
                UnreadInput::Late => (DRAIN_LATE, LISTEN_LATE),
            };
            let _ = timeout(longest, self.drain(most)).await;
        }
    }

    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            ClientIo::Cleartext(stream) => stream,
            ClientIo::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Returns true if unread bytes have arrived. With `known`, the runtime's readiness from the last read is trusted, which
    /// saves a system call if there are none.
    fn has_unread(&mut self, known: bool) -> bool {
        let stream = &*self.tcp();
        let peek = || {
            let mut byte = [0];
            Ok(rustix::net::recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1)
        };
        let unread = if known { stream.try_io(Interest::READABLE, peek) } else { peek() };
        unread.is_ok_and(|unread| unread > 0)
    }

    /// Reads and discards at least `most` bytes, or all up to the end of the stream.
    async fn drain(&mut self, most: usize) -> io::Result<()> {
        let (mut scrap, mut drained) = (vec![0; SCRAP], 0);
        while drained < most {
            match self.tcp().read(&mut scrap).await? {
                0 => break,
                read => drained += read,
            }
        }
        Ok(())
    }
}

/// Reserves `more` bytes. If the content has to move, its old buffer is wiped; it is the return value, for tests.
fn moved_out(input: &mut Vec<u8>, more: usize) -> Option<Vec<u8>> {
    if input.capacity() - input.len() >= more {
        return None;
    }
    let mut roomy = Vec::with_capacity((input.len() + more).max(2 * input.capacity()));
    roomy.extend_from_slice(input);
    let mut left = std::mem::replace(input, roomy);
    left.as_mut_slice().zeroize();
    Some(left)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::smtp::replies;

    #[test]
    fn a_secret_that_moves_leaves_nothing_behind() {
        let mut input = Vec::new();
        for _ in 0..100 {
            let (before, place) = (input.clone(), input.as_ptr());
            let left = moved_out(&mut input, 10);
            assert_eq!(input, before);
            match left {
                Some(left) => {
                    assert!(left.as_ptr() == place && left.len() == before.len());
                    assert!(left.iter().all(|byte| *byte == 0));
                }
                None => assert_eq!(input.as_ptr(), place),
            }
            let place = input.as_ptr();
            input.extend_from_slice(b"AUTH PLAIN");
            assert_eq!(input.as_ptr(), place, "it moved by itself");
        }
    }

    #[tokio::test]
    async fn no_read_gives_more_than_its_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = ClientIo::Cleartext(listener.accept().await.unwrap().0);
        let mut input = Vec::with_capacity(512);
        // Each larger than the room that the one before made, and less than twice that.
        for size in [20 * 1024, READ - 1, READ, 10 * READ] {
            far.write_all(&vec![b'x'; size]).await.unwrap();
            let mut left = size;
            while left > 0 {
                let read = stream.read(&mut input, ReadPurpose::Content).await.unwrap();
                assert!((1..=READ).contains(&read) && input.len() == read && input.capacity() <= READ);
                left -= read;
                input.clear();
            }
        }
    }

    /// The result of a client that sends this much while its session is closed.
    async fn send_into_close(bytes: usize, unread: UnreadInput) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut far = TcpStream::connect(listener.local_addr()?).await?;
        let near = ClientIo::Cleartext(listener.accept().await?.0);
        let closing = tokio::spawn(async move { near.close(b"421 stopping\r\n", unread).await });
        let mut heard = Vec::new();
        // The end of the stream comes before the client sends: nothing was unread when the reply was written.
        far.read_to_end(&mut heard).await?;
        far.write_all(&vec![b'x'; bytes]).await?;
        far.shutdown().await?;
        closing.await?;
        // An error if the connection was reset.
        far.read_to_end(&mut heard).await?;
        Ok(heard)
    }

    #[tokio::test]
    async fn a_client_within_a_message_can_send_on_while_it_is_told_of_a_stop() {
        let heard = send_into_close(64 * DRAIN, UnreadInput::Expected).await;
        assert_eq!(heard.unwrap(), b"421 stopping\r\n");
        assert!(send_into_close(64 * DRAIN, UnreadInput::Bounded).await.is_err());
    }

    #[test]
    fn the_reply_to_quit_is_known() {
        let mut written = Vec::new();
        replies::BYE.write(&mut written);
        assert_eq!(written, BYE);
    }
}
