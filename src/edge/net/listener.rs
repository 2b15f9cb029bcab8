//! Listening sockets and the connections that they accept.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::Stream;
use prometheus::IntCounter;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::descriptors;
use super::in_flight::{InFlight, InFlightGuard};
use super::rare_log::RareLog;
use super::source_limit::CountedConnection;
use super::tcp_stream::GatheringStream;
use crate::state::metrics::{ConnectionLimit, Label, Metrics};

/// The longest time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The number of connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The log of connections that could not be accepted, for all listeners, since they fail together.
static ERRORS: LazyLock<RareLog> = LazyLock::new(RareLog::default);
/// The log of connections that were refused for lack of descriptors.
static SHORT: LazyLock<RareLog> = LazyLock::new(RareLog::default);

/// An address on which the gateway cannot listen. The text is one line with the key and the address.
#[derive(Debug, Error)]
#[error("{key}: cannot listen on {address}: {error}")]
pub struct BindError {
    /// The key in the configuration.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The error of the system.
    pub error: io::Error,
}

/// Begins to listen. Port 0 becomes a free port.
///
/// # Errors
/// The address is in use, does not belong to this machine, or needs more privileges.
pub fn bind(key: &'static str, address: SocketAddr) -> Result<StdListener, BindError> {
    use socket2::{Domain, Protocol, Socket as Raw, Type};
    let open = || {
        let socket = Raw::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Each accepted connection inherits it.
        socket.set_tcp_nodelay(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(StdListener::from(socket))
    };
    open().map_err(|error| BindError { key, address, error })
}

/// An accepted connection.
pub struct Connection {
    /// The stream; decrypted if the connection has TLS.
    pub stream: Stream,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// True if the connection has TLS.
    pub tls: bool,
    /// The guard that counts the connection as open.
    pub entered: InFlightGuard,
    /// The count of the peer's connections.
    pub counted: CountedConnection,
}

/// The conditions for a new connection.
#[derive(Clone)]
pub struct AdmissionLimits {
    /// The count of open connections, with its limit.
    pub open: Arc<InFlight>,
    /// True for clients, which leave a reserve of descriptors for operators.
    pub leaves_reserve: bool,
    /// Counts connections that the system could not hand over.
    pub errors: Option<IntCounter>,
}

impl AdmissionLimits {
    /// The conditions for clients of an entry, whose connections are a part of those in `all`.
    pub fn for_clients(all: &Arc<InFlight>, metrics: &Metrics) -> AdmissionLimits {
        let errors = Some(metrics.accept_errors.clone());
        AdmissionLimits { open: InFlight::part_of(all), leaves_reserve: true, errors }
    }

    /// The conditions for operators, of whom so many connections are open at once.
    pub fn for_operators(most: usize, errors: Option<IntCounter>) -> AdmissionLimits {
        AdmissionLimits { open: InFlight::new(most), leaves_reserve: false, errors }
    }

    /// Counts a connection as open.
    ///
    /// # Errors
    /// The limit that it would exceed.
    fn admit(&self, stream: &TcpStream) -> Result<InFlightGuard, ConnectionLimit> {
        if self.leaves_reserve && !descriptors::is_for_client(stream) {
            return Err(ConnectionLimit::Descriptors);
        }
        self.open.enter().ok_or(ConnectionLimit::Connections)
    }
}

/// Accepts connections until `stop` turns true. After its TLS handshake, each is served by `serve` in a task of its own.
/// Connections above a limit, and those that `count` does not count, are closed at once. If they waited, the queue of the kernel
/// would hide them. `refused` is called for each of the former.
pub async fn accept<F, S, C, R>(
    listener: StdListener,
    tls: Option<Arc<Acceptor>>,
    limits: AdmissionLimits,
    count: C,
    refused: R,
    stop: watch::Receiver<bool>,
    serve: S,
) where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(Connection) -> F + Clone + Send + Sync + 'static,
    C: Fn(IpAddr) -> Option<CountedConnection> + Send + 'static,
    R: Fn(ConnectionLimit),
{
    let welcomed = move |stream: TcpStream, peer: SocketAddr, entered| {
        let (tls, serve) = (tls.clone(), serve.clone());
        let counted = count(peer.ip().to_canonical());
        async move {
            let Some(counted) = counted else {
                debug!(%peer, "connection closed: too many are open from this source");
                return;
            };
            if let Some(connection) = welcome(stream, peer, tls, entered, counted).await {
                serve(connection).await;
            }
        }
    };
    accept_streams(listener, limits, stop, |_, limit| refused(limit), welcomed).await;
}

/// Accepts as [`accept`] does, without a TLS handshake. `refuse` is called with each connection above a limit, before that is
/// closed.
pub async fn accept_streams<F, S, R>(
    listener: StdListener,
    limits: AdmissionLimits,
    mut stop: watch::Receiver<bool>,
    refuse: R,
    serve: S,
) where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream, SocketAddr, InFlightGuard) -> F,
    R: Fn(&TcpStream, ConnectionLimit),
{
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(%error, "listener failed");
            return;
        }
    };
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(errors) = &limits.errors {
                    errors.inc();
                }
                if let Some(left_out) = ERRORS.pass(Instant::now()) {
                    warn!(%error, left_out, "accepting a connection failed");
                }
                // Mostly there are no descriptors left, and others must be closed first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match limits.admit(&stream) {
            Ok(entered) => {
                tokio::spawn(serve(stream, peer, entered));
            }
            Err(limit) => {
                debug!(%peer, limit = limit.word(), "connection closed: too many are open");
                if let (ConnectionLimit::Descriptors, Some(left_out)) = (limit, SHORT.pass(Instant::now())) {
                    warn!(left_out, "connection closed: the descriptors for clients are used up");
                }
                refuse(&stream, limit);
            }
        }
    }
}

async fn welcome(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Acceptor>>,
    entered: InFlightGuard,
    counted: CountedConnection,
) -> Option<Connection> {
    let socket = GatheringStream::new(stream).ok()?;
    let Some(acceptor) = tls else {
        return Some(Connection { stream: Box::new(socket), peer, tls: false, entered, counted });
    };
    match tokio::time::timeout(HANDSHAKE, acceptor.tls_handshake(socket)).await {
        Ok(Ok(stream)) => Some(Connection { stream: Box::new(stream), peer, tls: true, entered, counted }),
        Ok(Err(error)) => {
            debug!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            debug!(%peer, "TLS handshake timed out");
            None
        }
    }
}
