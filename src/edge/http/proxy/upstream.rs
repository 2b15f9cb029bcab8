//! Groups of HTTP backends: their turns, connections to them, and their health.

use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::connectors::TransportConnector;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::upstreams::peer::HttpPeer;
use prometheus::IntGauge;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{self, ConfigError, HealthCheck, Scheme, Timeouts};
use crate::domain::Entry;
use crate::edge::http::http1::backend::Http1Backend;
use crate::edge::net::happy_eyeballs::{self, Unreachable};
use crate::edge::net::resolver::Addresses;
use crate::edge::net::tcp_stream::GatheringStream;
use crate::edge::net::tls_roots;
use crate::state::metrics::Metrics;

/// The reason that there is no connection to a backend.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Its name has no address, or each address, or the network, refused the connection.
    #[error("{0}: {1}")]
    Refused(String, Unreachable<String>),
    /// At least one of its addresses didn't respond in time.
    #[error("{0}: {1}")]
    Timeout(String, Unreachable<String>),
}

/// Counts an entry's connections to its backends.
#[derive(Clone)]
pub struct UpstreamGauges {
    entry: Entry,
    idle: IntGauge,
    active: IntGauge,
}

impl UpstreamGauges {
    /// The gauges of one entry.
    pub fn new(metrics: &Metrics, entry: Entry) -> UpstreamGauges {
        UpstreamGauges {
            entry,
            idle: metrics.upstream_connections(entry, "idle"),
            active: metrics.upstream_connections(entry, "active"),
        }
    }
}

/// Backends that serve the same requests.
pub struct UpstreamGroup {
    settings: config::GroupSettings,
    servers: Vec<Server>,
    turn: AtomicUsize,
    tls: Option<TransportConnector>,
    authority: String,
}

impl UpstreamGroup {
    /// Makes the group for that many workers. Together they keep at most `idle` connections to each backend, each for `keepalive`.
    ///
    /// # Errors
    /// The root certificates for `https` can't be used.
    pub fn new(
        settings: &config::GroupSettings,
        workers: usize,
        idle: usize,
        keepalive: Duration,
        gauges: &UpstreamGauges,
    ) -> Result<UpstreamGroup, ConfigError> {
        let ca = settings.upstream_ca.as_ref();
        let tls = match settings.upstreams.iter().any(|u| u.scheme == Scheme::Https) {
            true => Some(
                tls_roots::connector(ca.map(|file| file.path.as_path()))
                    .map_err(|e| e.at(ca, &settings.place))?,
            ),
            false => None,
        };
        let per_worker = idle.div_ceil(workers.max(1));
        let server = |upstream: &config::Upstream| Server {
            name: upstream.to_string(),
            addresses: Addresses::new(&upstream.host, upstream.port),
            // Checked with the configuration.
            host: settings.host.of(upstream),
            group: settings.name.clone(),
            entry: gauges.entry,
            upstream: upstream.clone(),
            up: AtomicBool::new(true),
            idle: (0..workers.max(1)).map(|_| Mutex::new(Vec::new())).collect(),
            idle_limit: per_worker,
            keepalive,
            gauges: gauges.clone(),
        };
        let authority = settings.upstreams.first().map(config::Upstream::authority).unwrap_or_default();
        Ok(UpstreamGroup {
            authority,
            servers: settings.upstreams.iter().map(server).collect(),
            turn: AtomicUsize::new(0),
            tls,
            settings: settings.clone(),
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Host and port of its first backend, for a request that names no host.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host that its first backend gets; `None` for the client's. Others may get [their own](Server::host).
    pub fn host(&self) -> Option<&str> {
        self.servers.first().and_then(Server::host)
    }

    /// The timeouts of requests for its backends.
    pub fn timeouts(&self) -> &Timeouts {
        &self.settings.timeouts
    }

    /// Its backends.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Its settings.
    pub fn settings(&self) -> &config::GroupSettings {
        &self.settings
    }

    /// The next backend in turn that is up and isn't in `tried`, which has a bit for each index. If none is up, one that is down, since
    /// a health check can be wrong. `None` if all were tried.
    pub fn next(&self, tried: u64) -> Option<usize> {
        let count = self.servers.len();
        let start = if count == 1 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) };
        let untried = |index: &usize| *index >= 64 || tried & (1 << index) == 0;
        let order = || (0..count).map(|step| (start + step) % count).filter(untried);
        order().find(|index| self.servers[*index].is_up()).or_else(|| order().next())
    }

    /// An idle connection of `worker`, or a new one, and true if it was idle.
    ///
    /// # Errors
    /// No connection to any of its addresses can be made within the group's time. The backend then counts as down.
    pub async fn connect(
        &self,
        index: usize,
        worker: usize,
    ) -> Result<(Box<Http1Backend>, bool), ConnectError> {
        if let Some(kept) = self.servers[index].take_idle(worker) {
            return Ok((kept, true));
        }
        self.connect_new(index).await.map(|new| (new, false))
    }

    /// A new connection.
    ///
    /// # Errors
    /// As [`UpstreamGroup::connect`].
    pub async fn connect_new(&self, index: usize) -> Result<Box<Http1Backend>, ConnectError> {
        let server = &self.servers[index];
        let prepare = |address, stream| self.prepare(server, address, stream);
        let limit = self.settings.connect_timeout;
        let connected = happy_eyeballs::connect(&server.addresses, limit, prepare, |_| true).await;
        connected.map(|stream| Box::new(Http1Backend::new(stream))).map_err(|error| {
            if !error.is_shortage() {
                server.set_down(&error);
            }
            match error.is_timeout() {
                true => ConnectError::Timeout(server.name.clone(), error),
                false => ConnectError::Refused(server.name.clone(), error),
            }
        })
    }

    /// The health checks of a backend.
    pub fn checks(&self, index: usize) -> Checks<'_> {
        Checks { group: self, server: &self.servers[index], running: Vec::new() }
    }

    /// Has an address of a backend answer the health check, and notes the result. The error is the reason for the log.
    async fn check(&self, server: &Server, address: SocketAddr) -> Result<(), String> {
        let limit = self.settings.connect_timeout;
        let connected = timeout(limit, async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            self.prepare(server, address, stream).await
        });
        let checked = match (&self.settings.health_check, connected.await) {
            (_, Err(_)) => Err("no connection in time".to_owned()),
            (_, Ok(Err(error))) => Err(error),
            (HealthCheck::Tcp, Ok(Ok(_))) => Ok(()),
            (HealthCheck::Http(path), Ok(Ok(stream))) => {
                let own = server.host().map(str::to_owned);
                let host = own.unwrap_or_else(|| server.upstream.authority());
                let asked = timeout(limit, super::health::ask(stream, path, &host)).await;
                asked.unwrap_or_else(|_| Err(format!("no response to GET {path} in time")))
            }
        };
        server.addresses.note(address, checked.is_ok());
        checked.map_err(|reason| format!("{address}: {reason}"))
    }

    /// Makes a connection to a backend ready for a request: with TLS, if it is configured.
    async fn prepare(
        &self,
        server: &Server,
        address: SocketAddr,
        stream: TcpStream,
    ) -> Result<Stream, String> {
        if let (Scheme::Https, Some(connector)) = (server.upstream.scheme, &self.tls) {
            let name = self.settings.upstream_server_name.as_ref().unwrap_or(&server.upstream.host);
            let mut peer = HttpPeer::new(address, true, name.clone());
            peer.options.custom_l4 = Some(Arc::new(Connected(Mutex::new(Some(stream)))));
            peer.options.alpn = ALPN::H1;
            return connector.new_stream(&peer).await.map_err(|error| error.to_string());
        }
        let socket = GatheringStream::new(stream).map_err(|error| error.to_string())?;
        Ok(Box::new(socket))
    }
}

/// A health check of one address, and the reason if it fails.
type RunningCheck<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// The health checks of one backend: those of its addresses run side by side, and a slow one continues during the next round.
pub struct Checks<'a> {
    group: &'a UpstreamGroup,
    server: &'a Server,
    running: Vec<(SocketAddr, RunningCheck<'a>)>,
}

impl Checks<'_> {
    /// Looks the backend's name up again, and asks each address that isn't being asked. The backend is up as soon as one of them
    /// is well, and down when all have failed.
    pub async fn round(&mut self) {
        let (group, server) = (self.group, self.server);
        if timeout(group.settings.connect_timeout, server.resolve()).await.is_err() {
            tracing::warn!(upstream = server.name, "the name of a backend was not resolved in time");
        }
        for address in server.addresses.known() {
            if self.running.iter().all(|(running, _)| *running != address) {
                self.running.push((address, Box::pin(group.check(server, address))));
            }
        }
        let mut failures = Vec::new();
        loop {
            match self.next().await {
                Some(Err(reason)) => failures.push(reason),
                Some(Ok(())) => return server.set_up(),
                None if failures.is_empty() => return server.set_down(&"its name has no address"),
                None => return server.set_down(&failures.join(", ")),
            }
        }
    }

    /// Lets the slow checks of a round continue, for the caller to drop at the time of the next round. Never ends.
    pub async fn continue_slow(&mut self) {
        while self.next().await.is_some() {}
        pending().await
    }

    /// Waits for the next check to end; `None` if none is running.
    async fn next(&mut self) -> Option<Result<(), String>> {
        poll_fn(|cx| {
            for index in 0..self.running.len() {
                if let Poll::Ready(checked) = self.running[index].1.as_mut().poll(cx) {
                    drop(self.running.swap_remove(index));
                    return Poll::Ready(Some(checked));
                }
            }
            if self.running.is_empty() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

/// A connection that was made before, for pingora, which would make one itself otherwise.
#[derive(Debug)]
struct Connected(Mutex<Option<TcpStream>>);

#[async_trait]
impl Connect for Connected {
    async fn connect(&self, _: &PeerAddr) -> pingora_error::Result<L4Stream> {
        match self.0.lock().take() {
            Some(stream) => Ok(stream.into()),
            None => Err(pingora_error::Error::explain(
                pingora_error::ErrorType::ConnectError,
                "it was used before",
            )),
        }
    }
}

/// A backend for HTTP.
pub struct Server {
    name: String,
    upstream: config::Upstream,
    addresses: Addresses,
    host: Option<String>,
    group: String,
    entry: Entry,
    up: AtomicBool,
    idle: Box<[Mutex<Vec<Idle>>]>,
    idle_limit: usize,
    keepalive: Duration,
    gauges: UpstreamGauges,
}

struct Idle {
    connection: Box<Http1Backend>,
    since: Instant,
}

impl Server {
    /// Its URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if it counts as up.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// The host that it gets; `None` for the client's.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Notes that it is up, and logs a change.
    pub fn set_up(&self) {
        if !self.up.swap(true, Ordering::Relaxed) {
            let (entry, group) = (self.entry.as_str(), &self.group);
            tracing::info!(upstream = self.name, entry, group, "the backend is up");
        }
    }

    /// Notes that it is down for that reason, and logs a change.
    pub fn set_down(&self, reason: &dyn std::fmt::Display) {
        if self.up.swap(false, Ordering::Relaxed) {
            let (entry, group) = (self.entry.as_str(), &self.group);
            tracing::warn!(upstream = self.name, entry, group, %reason, "the backend is down");
        }
    }

    /// Counts one connection as in use until the guard is dropped.
    pub fn count_active(&self) -> Active<'_> {
        self.gauges.active.inc();
        Active(&self.gauges.active)
    }

    /// Keeps a connection, which has been idle since `since`, for the next request of `worker`.
    pub fn keep(&self, worker: usize, mut connection: Box<Http1Backend>, since: Instant) {
        let Some(slot) = self.idle.get(worker) else { return };
        connection.shrink();
        let mut idle = slot.lock();
        if idle.len() < self.idle_limit {
            idle.push(Idle { connection, since });
            self.gauges.idle.inc();
        }
    }

    /// Closes connections that `worker` has kept for too long.
    pub fn sweep(&self, worker: usize) {
        let Some(slot) = self.idle.get(worker) else { return };
        let mut idle = slot.lock();
        let before = idle.len();
        idle.retain(|kept| kept.since.elapsed() < self.keepalive);
        self.gauges.idle.sub((before - idle.len()) as i64);
    }

    /// Looks its name up again, if it isn't an address.
    pub async fn resolve(&self) {
        self.addresses.resolve(&self.name).await;
    }

    /// The connection that was kept last, since it is the least likely to be closed. Closed ones are dropped.
    fn take_idle(&self, worker: usize) -> Option<Box<Http1Backend>> {
        let mut idle = self.idle.get(worker)?.lock();
        while let Some(mut kept) = idle.pop() {
            self.gauges.idle.dec();
            if kept.since.elapsed() < self.keepalive && kept.connection.is_quiet() {
                return Some(kept.connection);
            }
        }
        None
    }
}

/// A connection in use.
pub struct Active<'a>(&'a IntGauge);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let left: usize = self.idle.iter_mut().map(|slot| slot.get_mut().len()).sum();
        self.gauges.idle.sub(left as i64);
    }
}

#[cfg(test)]
mod tests;
