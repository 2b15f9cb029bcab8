//! Reads and writes that never wait and that ignore the remaining budget of the task.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;

/// The present result of `poll`. Without this, nothing seems to be ready in a task that has used up its budget.
pub fn poll<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    pin!(unconstrained(poll_fn(poll))).poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns true if a kept connection is open and has sent nothing. A backend that sends without being asked is about to close the
/// connection. What it sent is lost.
pub fn is_quiet(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut byte = [0; 1];
    let mut buffer = ReadBuf::new(&mut byte);
    poll(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)).is_pending()
}

/// Writes as much as the kernel accepts, mostly all of it, and returns the number of bytes.
///
/// # Errors
/// The connection is broken.
pub fn write(stream: &TcpStream, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
    let written = match bytes {
        [one] => stream.try_write(one),
        several => stream.try_write_vectored(several),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
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
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        assert!(is_quiet(&mut stream));
        far.write_all(b"421 bye\r\n").await.unwrap();
        stream.readable().await.unwrap();
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
        }
        assert!(!is_quiet(&mut stream));
    }
}
