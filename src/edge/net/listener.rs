//! Listening sockets and the connections that they accept.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::Stream;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::warn;

use super::in_flight::{InFlight, InFlightGuard};
use super::refused_connections::RefusedConnections;
use super::source_limit::CountedConnection;
use super::tcp_stream::GatheringStream;
use crate::domain::RefusalReason;

/// The longest time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The number of connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

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

/// Accepts connections until `stop` turns true. After its TLS handshake, each is served by `serve` in a task of its own.
/// Connections above the limit of `open`, and those that `count` does not count, are closed at once. If they waited, the queue of
/// the kernel would hide them.
pub async fn accept<F, S, C>(
    listener: StdListener,
    tls: Option<Arc<Acceptor>>,
    open: Arc<InFlight>,
    count: C,
    refusals: RefusedConnections,
    stop: watch::Receiver<bool>,
    serve: S,
) where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(Connection) -> F + Clone + Send + Sync + 'static,
    C: Fn(IpAddr) -> Option<CountedConnection> + Send + 'static,
{
    let refused = refusals.clone();
    let welcomed = move |stream: TcpStream, peer: SocketAddr, entered| {
        let (tls, serve, refusals) = (tls.clone(), serve.clone(), refused.clone());
        let counted = count(peer.ip().to_canonical());
        async move {
            let Some(counted) = counted else {
                refusals.log(RefusalReason::ConnectionsOfSource, &stream, peer.ip(), "");
                return;
            };
            if let Some(connection) = welcome(stream, peer, tls, &refusals, entered, counted).await {
                serve(connection).await;
            }
        }
    };
    let refuse =
        move |stream: &TcpStream, source| refusals.log(RefusalReason::Connections, stream, source, "");
    accept_streams(listener, open, stop, refuse, welcomed).await;
}

/// Accepts as [`accept`] does, without a TLS handshake. `refuse` is called with each connection above the limit, before that is
/// closed.
pub async fn accept_streams<F, S, R>(
    listener: StdListener,
    open: Arc<InFlight>,
    mut stop: watch::Receiver<bool>,
    refuse: R,
    serve: S,
) where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream, SocketAddr, InFlightGuard) -> F,
    R: Fn(&TcpStream, IpAddr),
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
                // Mostly there are no descriptors left, and others must be closed first.
                warn!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match open.enter() {
            Some(entered) => {
                tokio::spawn(serve(stream, peer, entered));
            }
            None => {
                refuse(&stream, peer.ip().to_canonical());
            }
        }
    }
}

async fn welcome(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Acceptor>>,
    refusals: &RefusedConnections,
    entered: InFlightGuard,
    counted: CountedConnection,
) -> Option<Connection> {
    let Some(acceptor) = tls else {
        let socket = GatheringStream::new(stream).ok()?;
        return Some(Connection { stream: Box::new(socket), peer, tls: false, entered, counted });
    };
    let listener = stream.local_addr().ok();
    let handshake = async {
        // A client that only looks whether the port is open is not refused anything.
        if !matches!(stream.peek(&mut [0]).await, Ok(1..)) {
            return None;
        }
        let socket = GatheringStream::new(stream).ok()?;
        Some(acceptor.tls_handshake(socket).await)
    };
    let (reason, detail) = match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Some(Ok(stream))) => {
            return Some(Connection { stream: Box::new(stream), peer, tls: true, entered, counted });
        }
        Ok(None) => return None,
        Ok(Some(Err(error))) => (RefusalReason::Handshake, cause(&error.to_string()).to_owned()),
        Err(_) => (RefusalReason::SlowHandshake, String::new()),
    };
    refusals.log_at(reason, listener, peer.ip(), &detail);
    None
}

/// The part of an error of pingora's acceptor that is rustls' own.
fn cause(error: &str) -> &str {
    error.rsplit_once("error: ").map_or(error, |(_, cause)| cause)
}
