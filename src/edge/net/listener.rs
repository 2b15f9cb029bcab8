//! Listening sockets, and the connections that are accepted from them.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::Stream;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::in_flight::{InFlight, InFlightGuard};
use super::tcp_stream::{Meter, MeteredStream};

/// Until a TLS handshake is done.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// An address that can't be listened on; one line that names address and key.
#[derive(Debug, Error)]
#[error("{key}: can't listen on {address}: {error}")]
pub struct BindError {
    /// The configuration's key.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub error: io::Error,
}

/// Begins to listen; port 0 becomes a free one.
///
/// # Errors
/// Where the address is in use, isn't this machine's, or needs more rights.
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

/// A connection that was let in.
pub struct Connection {
    /// Its bytes, decrypted where it has TLS.
    pub stream: Stream,
    /// What it has received; with TLS, counted before decryption.
    pub meter: Arc<Meter>,
    /// The other end.
    pub peer: SocketAddr,
    /// Whether it has TLS.
    pub tls: bool,
    /// Counts it as open.
    pub entered: InFlightGuard,
}

/// Accepts until `stop` turns true, and gives each connection, after its TLS handshake, to `serve` in a task of its own.
/// Connections over the limit of `open` are closed at once, since waiting would let the kernel's queue hide them.
pub async fn accept<F, S>(
    listener: StdListener,
    tls: Option<Arc<Acceptor>>,
    open: Arc<InFlight>,
    stop: watch::Receiver<bool>,
    serve: S,
) where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(Connection) -> F + Clone + Send + Sync + 'static,
{
    let welcomed = move |stream, peer, entered| {
        let (tls, serve) = (tls.clone(), serve.clone());
        async move {
            if let Some(connection) = welcome(stream, peer, tls, entered).await {
                serve(connection).await;
            }
        }
    };
    accept_streams(listener, open, stop, |_| {}, welcomed).await;
}

/// As [`accept`], with each connection as it comes in. Of those over the limit, `refuse` is told before they are closed.
pub async fn accept_streams<F, S, R>(
    listener: StdListener,
    open: Arc<InFlight>,
    mut stop: watch::Receiver<bool>,
    refuse: R,
    serve: S,
) where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream, SocketAddr, InFlightGuard) -> F,
    R: Fn(&TcpStream),
{
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(%error, "the listener can't be used");
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
                // Out of descriptors, mostly: what is open has to end first.
                warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match open.enter() {
            Some(entered) => {
                tokio::spawn(serve(stream, peer, entered));
            }
            None => {
                debug!(%peer, "closed: too many connections are open");
                refuse(&stream);
            }
        }
    }
}

async fn welcome(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Acceptor>>,
    entered: InFlightGuard,
) -> Option<Connection> {
    let meter = Arc::new(Meter::default());
    let socket = MeteredStream::new(stream, meter.clone()).ok()?;
    let Some(acceptor) = tls else {
        return Some(Connection { stream: Box::new(socket), meter, peer, tls: false, entered });
    };
    match tokio::time::timeout(HANDSHAKE, acceptor.tls_handshake(socket)).await {
        Ok(Ok(stream)) => Some(Connection { stream: Box::new(stream), meter, peer, tls: true, entered }),
        Ok(Err(error)) => {
            debug!(%peer, %error, "no TLS");
            None
        }
        Err(_) => {
            debug!(%peer, "the TLS handshake took too long");
            None
        }
    }
}
