//! An open tunnel, such as a WebSocket: bytes both ways, until a side closes, nothing moves for too long, or the
//! credential that opened it is revoked.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as UpstreamSession;
use pingora_timeout::{sleep, timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::config::Timeouts;

/// The most bytes that are on their way in each direction.
const PIECE: usize = 16 * 1024;

/// The reason that a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// A side closed it, or was lost.
    Closed,
    /// Nothing passed for too long, or a side took nothing for too long.
    Idle,
    /// The credential that opened it was revoked.
    Revoked,
}

/// Carries bytes between both sides until the tunnel ends, at the latest when `revoked` resolves.
pub async fn carry(
    session: ServerSession,
    upstream: UpstreamSession,
    timeouts: &Timeouts,
    revoked: impl Future<Output = ()>,
) -> TunnelEnd {
    tokio::select! {
        biased;
        () = revoked => TunnelEnd::Revoked,
        ended = pump(session, upstream, timeouts) => ended,
    }
}

async fn pump(mut session: ServerSession, mut upstream: UpstreamSession, timeouts: &Timeouts) -> TunnelEnd {
    // The sessions still hold the bytes that came right behind the headers.
    let from_client = first(async { session.read_request_body().await.ok().flatten() }).await;
    let from_backend = first(async { upstream.read_body_bytes().await.ok().flatten() }).await;
    let ServerSession::H1(session) = session else { return TunnelEnd::Closed };
    let (client_reads, client_writes) = tokio::io::split(session.into_inner());
    let (backend_reads, backend_writes) = tokio::io::split(upstream.into_inner());
    let last = Last { opened: Instant::now(), after: AtomicU64::new(0) };
    // The directions are independent: a side that doesn't read before all its bytes were taken gets nothing meanwhile, and yet its
    // bytes are passed on.
    let upwards = Direction { from: client_reads, to: backend_writes, last: &last, patience: timeouts.write };
    let downwards =
        Direction { from: backend_reads, to: client_writes, last: &last, patience: timeouts.write };
    tokio::select! {
        ended = upwards.run(from_client) => ended,
        ended = downwards.run(from_backend) => ended,
        () = idle_for(timeouts.tunnel_idle, &last) => TunnelEnd::Idle,
    }
}

/// The result of a read that is ready now: `None` if there is none, else a piece or the end.
async fn first(read: impl Future<Output = Option<Bytes>>) -> Option<Option<Bytes>> {
    tokio::select! {
        biased;
        piece = read => Some(piece),
        () = std::future::ready(()) => None,
    }
}

/// A direction of a tunnel.
struct Direction<'a> {
    from: ReadHalf<Stream>,
    to: WriteHalf<Stream>,
    /// The time at which a piece last passed in either direction.
    last: &'a Last,
    /// The time for which a side may take nothing.
    patience: Duration,
}

impl Direction<'_> {
    async fn run(mut self, first: Option<Option<Bytes>>) -> TunnelEnd {
        match first {
            None => {}
            Some(None) => return TunnelEnd::Closed,
            Some(Some(piece)) => {
                if let Err(ended) = self.pass(&piece).await {
                    return ended;
                }
            }
        }
        let mut buffer = vec![0; PIECE];
        loop {
            let read = match self.from.read(&mut buffer).await {
                Ok(read @ 1..) => read,
                _ => return TunnelEnd::Closed,
            };
            if let Err(ended) = self.pass(&buffer[..read]).await {
                return ended;
            }
        }
    }

    async fn pass(&mut self, piece: &[u8]) -> Result<(), TunnelEnd> {
        self.last.note();
        let written = timeout(self.patience, async {
            self.to.write_all(piece).await?;
            self.to.flush().await
        });
        let written = written.await;
        self.last.note();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(TunnelEnd::Closed),
            Err(_) => Err(TunnelEnd::Idle),
        }
    }
}

/// The time at which a piece last passed.
struct Last {
    opened: Instant,
    /// Milliseconds between the opening and that time.
    after: AtomicU64,
}

impl Last {
    fn note(&self) {
        let after = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after.store(after, Ordering::Relaxed);
    }

    fn ago(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.after.load(Ordering::Relaxed)))
    }
}

/// Resolves once nothing has passed for that long.
async fn idle_for(patience: Duration, last: &Last) {
    loop {
        match patience.checked_sub(last.ago()) {
            Some(left) if !left.is_zero() => sleep(left).await,
            _ => return,
        }
    }
}
