//! An open tunnel, such as a WebSocket: bytes both ways, until a side closes, nothing moves for too long, or the
//! credential that opened it is revoked.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora_core::protocols::Stream;
use pingora_timeout::{sleep, timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::config::Timeouts;
use crate::edge::http::http1::backend::Http1Backend;
use crate::edge::http::http1::client::Http1Client;
use crate::service::access::{Access, Granted};

/// The most bytes that are on their way in each direction.
const PIECE: usize = 16 * 1024;

/// The longest time without any bytes once one side sends no more.
const HALF_OPEN: Duration = Duration::from_secs(60);

/// The longest time for which it may stay unknown if a tunnel may stay open. A revoked one must end within a second.
pub const UNDECIDED: Duration = Duration::from_millis(900);

/// The reason that a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// A side closed it, or was lost.
    Closed,
    /// Nothing passed for too long, or a side took nothing for too long.
    Idle,
    /// The credential that opened it was revoked.
    Revoked,
    /// For too long, nothing could tell if that credential was revoked.
    Undecided,
}

/// Carries bytes between both sides until the tunnel ends, at the latest when `revoked` resolves with the reason. Nothing passes while
/// `by`, which permitted it, has no trust; none on a public route. What the client sends is a use of its session.
pub async fn carry(
    client: &mut Http1Client,
    backend: Http1Backend,
    timeouts: &Timeouts,
    by: Option<(&Access, &Granted)>,
    revoked: impl Future<Output = TunnelEnd>,
) -> TunnelEnd {
    tokio::select! {
        biased;
        ended = revoked => ended,
        ended = pump(client, backend, timeouts, by) => ended,
    }
}

async fn pump(
    client: &mut Http1Client,
    backend: Http1Backend,
    timeouts: &Timeouts,
    by: Option<(&Access, &Granted)>,
) -> TunnelEnd {
    // The bytes that came right behind the headers.
    let (client, from_client) = client.switch();
    let (mut backend, from_backend) = backend.switch();
    let (client_reads, client_writes) = tokio::io::split(client);
    let (backend_reads, backend_writes) = tokio::io::split(&mut backend);
    let last = Last { opened: Instant::now(), after: AtomicU64::new(0) };
    // The directions are independent: a side that doesn't read before all its bytes were taken gets nothing meanwhile, and yet its
    // bytes are passed on.
    let (last, patience) = (&last, timeouts.write);
    let (access, user) = by.unzip();
    let upwards = Direction { from: client_reads, to: backend_writes, last, patience, access, user };
    let downwards = Direction { from: backend_reads, to: client_writes, last, patience, access, user: None };
    let (mut upwards, mut downwards) = (pin!(upwards.run(from_client)), pin!(downwards.run(from_backend)));
    let (mut up, mut down) = (true, true);
    // A side that sends no more may still read: the other direction continues, though not for as long without any bytes.
    while up || down {
        let patience = if up && down { timeouts.tunnel_idle } else { timeouts.tunnel_idle.min(HALF_OPEN) };
        let ended = tokio::select! {
            ended = &mut upwards, if up => { up = false; ended }
            ended = &mut downwards, if down => { down = false; ended }
            () = idle_for(patience, last) => Err(TunnelEnd::Idle),
        };
        if let Err(ended) = ended {
            return ended;
        }
    }
    TunnelEnd::Closed
}

/// A direction of a tunnel.
struct Direction<'a, S> {
    from: ReadHalf<&'a mut S>,
    to: WriteHalf<&'a mut S>,
    /// The time at which a piece last passed in either direction.
    last: &'a Last,
    /// The time for which a side may take nothing.
    patience: Duration,
    /// The decision that permitted the tunnel, if there was one.
    access: Option<&'a Access>,
    /// The client, if the bytes are its own.
    user: Option<&'a Granted>,
}

impl Direction<'_, Stream> {
    /// Carries bytes until the side that sends them sends no more. Then the other side is told.
    async fn run(mut self, first: Bytes) -> Result<(), TunnelEnd> {
        if !first.is_empty() {
            self.pass(&first).await?;
        }
        let mut buffer = vec![0; PIECE];
        loop {
            match self.from.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => self.pass(&buffer[..read]).await?,
                Err(_) => return Err(TunnelEnd::Closed),
            }
        }
        self.last.note();
        match timeout(self.patience, self.to.shutdown()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(TunnelEnd::Closed),
        }
    }

    async fn pass(&mut self, piece: &[u8]) -> Result<(), TunnelEnd> {
        self.last.note();
        if let (Some(access), Some(user)) = (self.access, self.user) {
            access.note_session(user);
        }
        // By the clock, since the announcement may come late: after a suspension, say.
        if let Some(access) = self.access.filter(|access| !access.has_trust()) {
            let trusted = timeout(UNDECIDED, access.until_trust()).await;
            trusted.map_err(|_| TunnelEnd::Undecided)?;
        }
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
