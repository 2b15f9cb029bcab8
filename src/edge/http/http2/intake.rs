//! A client's HTTP/2 connection from which requests are taken a few at a time. The next ones are read only when those before have
//! been looked at, so that a client cannot take memory for a hundred requests that are all refused at first sight.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use crate::edge::net::stream_wrapper::{forward_stream_traits, forward_writes};
use crate::wire::RequestFrames;

/// The requests that are read before the tasks of earlier ones have run.
const AT_ONCE: usize = 8;

/// The least time between two such portions of a connection whose requests are only refused. The h2 crate remembers refused streams for
/// a second, so this bounds its memory. Everything that a client may have sent is refused within a few seconds.
const SLOWED: Duration = Duration::from_millis(250);

/// A client's HTTP/2 connection whose reads pause between requests.
#[derive(Debug)]
pub struct Intake {
    stream: Stream,
    frames: RequestFrames,
    /// Bytes that were received, and wait for the pause to end.
    withheld: Bytes,
    pause: Arc<Mutex<Pause>>,
    /// True while its requests are only refused.
    slowed: Arc<AtomicBool>,
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
    /// Takes over a connection of which nothing has been read. While `slowed` is true, requests are taken slowly.
    pub fn new(stream: Stream, slowed: Arc<AtomicBool>) -> Intake {
        let frames = RequestFrames::new(AT_ONCE);
        Intake { stream, frames, withheld: Bytes::new(), pause: Arc::default(), slowed }
    }

    /// Reads nothing more until the tasks that are ready to run have run.
    fn pause(&mut self, cx: &Context<'_>) {
        *self.pause.lock() = Pause::On(Some(cx.waker().clone()));
        let (pause, slowed) = (self.pause.clone(), self.slowed.clone());
        // A worker runs its tasks in the order in which they became ready: when the reader is polled again, each request
        // that was begun before has been polled once.
        tokio::spawn(async move {
            // Whether those requests were refused is known only after them.
            tokio::task::yield_now().await;
            if slowed.load(Ordering::Relaxed) {
                tokio::time::sleep(SLOWED).await;
            }
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
        // A read of no bytes would be the end of the connection.
        if buf.filled().len() == before { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

forward_writes!(Intake);
forward_stream_traits!(Intake);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    /// The bytes of a frame that come before its type, with which a pause begins.
    const LENGTH: usize = 3;

    /// A HEADERS frame for a stream, with 5 bytes of payload.
    fn headers(stream: u8) -> Vec<u8> {
        [&[0, 0, 5, 1, 4, 0, 0, 0, stream], &b"hello"[..]].concat()
    }

    /// A connection that begins so many requests.
    fn connection(requests: usize) -> Vec<u8> {
        let frames = (0..requests).flat_map(|nth| headers(2 * nth as u8 + 1));
        PREFACE.iter().copied().chain(frames).collect()
    }

    /// An intake that has received these bytes, and the client's side of it.
    async fn received(bytes: &[u8]) -> (Intake, tokio::io::DuplexStream) {
        let (mut client, server) = duplex(1 << 16);
        client.write_all(bytes).await.unwrap();
        (Intake::new(Box::new(server), Arc::default()), client)
    }

    /// The bytes of the first so many requests, up to the pause behind them.
    fn length(requests: usize) -> usize {
        connection(requests).len() + LENGTH
    }

    #[tokio::test]
    async fn bytes_behind_eight_requests_come_after_the_tasks_that_were_spawned_have_run() {
        let bytes = connection(20);
        let (mut intake, _client) = received(&bytes).await;
        let (mut buffer, ran) = ([0; 1024], Arc::new(AtomicUsize::new(0)));
        let mut at = 0;
        for (begun, end) in [(0, length(8)), (8, length(16)), (16, bytes.len())] {
            let read = intake.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..read], &bytes[at..at + read]);
            at += read;
            assert_eq!((at, ran.load(Ordering::Relaxed)), (end, begun));
            // As many tasks as there were requests in these bytes.
            for _ in 0..AT_ONCE {
                let ran = ran.clone();
                tokio::spawn(async move { ran.fetch_add(1, Ordering::Relaxed) });
            }
        }
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_seen_behind_bytes_that_were_withheld() {
        let bytes = connection(20);
        let (mut intake, client) = received(&bytes).await;
        drop(client);
        let mut all = Vec::new();
        intake.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, bytes);
        assert_eq!(intake.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_small_buffer_gets_all_bytes_and_no_end_before_them() {
        let bytes = connection(40);
        for size in [1, 3, 24] {
            let (mut intake, mut client) = received(&bytes[..PREFACE.len() + 100]).await;
            client.write_all(&bytes[PREFACE.len() + 100..]).await.unwrap();
            let (mut buffer, mut all) = (vec![0; size], Vec::new());
            while all.len() < bytes.len() {
                let read = intake.read(&mut buffer).await.unwrap();
                assert!(read > 0, "an end after {} of {} bytes", all.len(), bytes.len());
                all.extend_from_slice(&buffer[..read]);
            }
            assert_eq!(all, bytes);
        }
    }
}
