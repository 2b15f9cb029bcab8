//! Reads and writes on a client's connection, in cleartext or with TLS, without a buffer of its own while it is idle.

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

/// The most that one read gives. A message of up to about this size comes and goes in one; for buffers of twice as much,
/// the allocator may take 2 MiB at once.
const READ: usize = 32 * 1024;

/// The reply to QUIT, which is always the last one.
const BYE: &[u8] = b"221 2.0.0 Bye\r\n";

/// The longest time for which bytes are read that a client sends after the end of its session.
const LISTEN: Duration = Duration::from_secs(1);
/// The number of these bytes that are read, but for [`UnreadInput::Unbounded`] and [`UnreadInput::Expected`].
const DRAIN: usize = 64 * 1024;
/// The number of these bytes that are read at once.
const SCRAP: usize = 4 * 1024;

thread_local! {
    // One for all connections of a worker: what was read is taken out of it before anybody else gets to run.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// A client's connection.
pub enum ClientIo {
    /// In clear.
    Cleartext(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPurpose {
    /// Commands, which may be long in coming: little room is kept for them.
    Commands,
    /// Commands with secrets among them: no trace of them is left but in the input.
    Credentials,
    /// A message.
    Content,
}

/// Bytes that a client may still send after the end of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadInput {
    /// Those that are there are read, and what follows them, up to [`DRAIN`] bytes: the client is at fault.
    Bounded,
    /// As many as come are read within [`LISTEN`], if some are there: the gateway stops.
    Unbounded,
    /// As many as come are read within [`LISTEN`], even if none is there: the client is within a message.
    Expected,
}

impl ClientIo {
    /// Appends what has come to `input`: some bytes, or none where the client closed.
    ///
    /// # Errors
    /// Where the connection is broken.
    pub async fn read(&mut self, input: &mut Vec<u8>, manner: ReadPurpose) -> io::Result<usize> {
        match self {
            ClientIo::Tls(stream) if manner == ReadPurpose::Content => {
                input.reserve(READ);
                return stream.read_buf(input).await;
            }
            // Short messages, as most are, never need so much room of their own.
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
                    // Never more than what one read may give.
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

    /// Sends what goes at once, and says how much that is: mostly all of it, but nothing with TLS, where a write isn't done
    /// before it is flushed.
    ///
    /// # Errors
    /// Where the connection is broken.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            ClientIo::Cleartext(stream) => nonblocking::write(stream, &[IoSlice::new(bytes)]),
            ClientIo::Tls(_) => Ok(0),
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Where the connection is broken.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            ClientIo::Cleartext(stream) => stream.write_all(bytes).await,
            ClientIo::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Begins TLS where there is none.
    ///
    /// # Errors
    /// Where the handshake fails.
    pub async fn encrypt(self, acceptor: &TlsAcceptor) -> io::Result<ClientIo> {
        match self {
            ClientIo::Cleartext(stream) => Ok(ClientIo::Tls(Box::new(acceptor.accept(stream).await?))),
            ClientIo::Tls(_) => Err(io::Error::other("TLS within TLS")),
        }
    }

    /// Sends the last replies and the end of the stream, and closes the connection. The rest of the client's bytes is read for at
    /// most [`LISTEN`]: when a connection is closed with unread bytes, the kernel drops the replies that it hasn't sent, and the
    /// client may drop those that it hasn't read.
    pub async fn close(mut self, last: &[u8], rest: UnreadInput) {
        let quits = last.ends_with(BYE);
        let talks = rest == UnreadInput::Expected || self.has_unread(quits);
        if let ClientIo::Cleartext(stream) = &self
            && last == BYE
            && !talks
        {
            // The answer to QUIT alone: the kernel keeps it back for the moment until the connection is closed, and both go
            // in one packet.
            let kept = || Ok(rustix::net::send(stream, last, SendFlags::MORE | SendFlags::NOSIGNAL)?);
            if stream.try_io(Interest::WRITABLE, kept).is_ok() {
                return;
            }
        }
        // The client may be gone; there is nothing left to tell it then. Without TLS, closing says it.
        if self.write(last).await.is_err() {
            return;
        }
        let ended = match &mut self {
            ClientIo::Cleartext(stream) if talks => stream.shutdown().await,
            ClientIo::Cleartext(_) => return,
            ClientIo::Tls(stream) => stream.shutdown().await,
        };
        if ended.is_ok() && talks {
            let most = if rest == UnreadInput::Bounded { DRAIN } else { usize::MAX };
            let _ = timeout(LISTEN, self.drain(most)).await;
        }
    }

    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            ClientIo::Cleartext(stream) => stream,
            ClientIo::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Whether more has come than was read. `known` takes the runtime's word for it that there isn't, which it has from the last
    /// read: the kernel isn't asked then.
    fn has_unread(&mut self, known: bool) -> bool {
        let stream = &*self.tcp();
        let peek = || {
            let mut byte = [0];
            Ok(rustix::net::recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1)
        };
        let unread = if known { stream.try_io(Interest::READABLE, peek) } else { peek() };
        unread.is_ok_and(|unread| unread > 0)
    }

    /// Reads and drops at least `most` bytes, or all up to the client's end of the stream.
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

/// Makes room for so many bytes more. What is there moves where there is none, and leaves nothing behind: its old place is
/// what this gives.
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
    async fn send_into_close(bytes: usize, rest: UnreadInput) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut far = TcpStream::connect(listener.local_addr()?).await?;
        let near = ClientIo::Cleartext(listener.accept().await?.0);
        let closing = tokio::spawn(async move { near.close(b"421 stopping\r\n", rest).await });
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
