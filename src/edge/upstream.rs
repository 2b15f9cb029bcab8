//! Backends: which one is asked next, connections to it, and whether it is up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::upstreams::peer::HttpPeer;
use prometheus::IntGauge;
use thiserror::Error;
use tokio::net::TcpStream;

use super::addresses::Addresses;
use super::at_once;
use super::roots;
use super::socket::{Meter, Socket};
use crate::config::{self, ConfigError, HealthCheck, Scheme};
use crate::domain::Entry;
use crate::state::metrics::Metrics;

/// Why there is no connection to a backend.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Its name has no address.
    #[error("{0}: the name has no address yet")]
    Unresolved(String),
    /// It refused, or the network did.
    #[error("{0}: {1}")]
    Refused(String, String),
    /// It didn't answer in time.
    #[error("{0}: no connection within {1:?}")]
    Timeout(String, Duration),
}

/// Counts an entry's connections to its backends.
#[derive(Clone)]
pub struct UpstreamGauges {
    idle: IntGauge,
    active: IntGauge,
}

impl UpstreamGauges {
    /// Those of one entry.
    pub fn new(metrics: &Metrics, entry: Entry) -> UpstreamGauges {
        UpstreamGauges {
            idle: metrics.upstream_connections(entry, "idle"),
            active: metrics.upstream_connections(entry, "active"),
        }
    }
}

/// Backends that are as good as each other.
pub struct Group {
    settings: config::Group,
    servers: Vec<Server>,
    turn: AtomicUsize,
    tls: Option<TransportConnector>,
    authority: HeaderValue,
}

impl Group {
    /// Sets the group up for so many workers; each keeps at most `idle` connections to each backend for `keepalive`.
    ///
    /// # Errors
    /// Where the file with the roots for `https` can't be used.
    pub fn new(
        settings: &config::Group,
        workers: usize,
        idle: usize,
        keepalive: Duration,
        gauges: &UpstreamGauges,
    ) -> Result<Group, ConfigError> {
        let ca = settings.upstream_ca.as_ref();
        let tls = match settings.upstreams.iter().any(|u| u.scheme == Scheme::Https) {
            true => Some(
                roots::connector(ca.map(|file| file.path.as_path()))
                    .map_err(|e| e.at(ca, &settings.place))?,
            ),
            false => None,
        };
        let per_worker = idle.div_ceil(workers.max(1));
        let server = |upstream: &config::Upstream| Server {
            name: upstream.to_string(),
            addresses: Addresses::new(&upstream.host, upstream.port),
            upstream: upstream.clone(),
            up: AtomicBool::new(true),
            idle: (0..workers.max(1)).map(|_| Mutex::new(Vec::new())).collect(),
            idle_limit: per_worker,
            keepalive,
            gauges: gauges.clone(),
        };
        let authority = settings.upstreams.first().map(config::Upstream::authority).unwrap_or_default();
        Ok(Group {
            // An address, or a name that is one for the resolver.
            authority: HeaderValue::from_str(&authority).unwrap_or_else(|_| HeaderValue::from_static("")),
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
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Whether all of its backends are spoken to in clear.
    pub fn is_clear(&self) -> bool {
        self.tls.is_none()
    }

    /// Its backends.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Its settings.
    pub fn settings(&self) -> &config::Group {
        &self.settings
    }

    /// The next backend in turn that is up and isn't in `tried` (a bit for each by its index); where none is up, one
    /// that is down, since a health check can be wrong; `None` where all were tried.
    pub fn next(&self, tried: u64) -> Option<usize> {
        let count = self.servers.len();
        let start = if count == 1 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) };
        let untried = |index: &usize| *index >= 64 || tried & (1 << index) == 0;
        let order = || (0..count).map(|step| (start + step) % count).filter(untried);
        order().find(|index| self.servers[*index].is_up()).or_else(|| order().next())
    }

    /// A connection that `worker` kept, or a new one; and whether it was kept.
    ///
    /// # Errors
    /// Where no connection can be made within the group's time; the backend then counts as down.
    pub async fn connect(&self, index: usize, worker: usize) -> Result<(Stream, bool), ConnectError> {
        if let Some(stream) = self.servers[index].take_idle(worker) {
            return Ok((stream, true));
        }
        self.connect_new(index).await.map(|stream| (stream, false))
    }

    /// A new connection.
    ///
    /// # Errors
    /// As [`Group::connect`].
    pub async fn connect_new(&self, index: usize) -> Result<Stream, ConnectError> {
        let server = &self.servers[index];
        let limit = self.settings.connect_timeout;
        let connected = match tokio::time::timeout(limit, self.open(server)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout(server.name.clone(), limit)),
        };
        if connected.is_err() {
            server.set_up(false);
        }
        connected
    }

    /// Asks a backend whether it is up, and looks its name up again; each part within the time for a connection.
    pub async fn check(&self, index: usize) {
        let server = &self.servers[index];
        let limit = self.settings.connect_timeout;
        if tokio::time::timeout(limit, server.resolve()).await.is_err() {
            tracing::warn!(upstream = server.name, "the backend's name can't be resolved in time");
        }
        let up = match (&self.settings.health_check, self.connect_new(index).await) {
            (_, Err(_)) => false,
            (HealthCheck::Tcp, Ok(_)) => true,
            (HealthCheck::Http(path), Ok(stream)) => {
                let host = server.upstream.authority();
                let asked = super::health::ask(stream, path, &host);
                tokio::time::timeout(limit, asked).await.unwrap_or(false)
            }
        };
        server.set_up(up);
    }

    async fn open(&self, server: &Server) -> Result<Stream, ConnectError> {
        let refused = |e: &dyn std::fmt::Display| ConnectError::Refused(server.name.clone(), e.to_string());
        let address = server.addresses.next().ok_or_else(|| ConnectError::Unresolved(server.name.clone()))?;
        if let (Scheme::Https, Some(connector)) = (server.upstream.scheme, &self.tls) {
            let name = self.settings.upstream_server_name.as_ref().unwrap_or(&server.upstream.host);
            let mut peer = HttpPeer::new(address, true, name.clone());
            peer.options.connection_timeout = Some(self.settings.connect_timeout);
            peer.options.total_connection_timeout = Some(self.settings.connect_timeout);
            peer.options.alpn = ALPN::H1;
            return connector.new_stream(&peer).await.map_err(|e| refused(&e));
        }
        let open = async { Socket::new(TcpStream::connect(address).await?, Arc::new(Meter::default())) };
        let socket = open.await.map_err(|e: io::Error| refused(&e))?;
        Ok(Box::new(socket))
    }
}

/// One backend.
pub struct Server {
    name: String,
    upstream: config::Upstream,
    addresses: Addresses,
    up: AtomicBool,
    idle: Box<[Mutex<Vec<Idle>>]>,
    idle_limit: usize,
    keepalive: Duration,
    gauges: UpstreamGauges,
}

struct Idle {
    stream: Stream,
    since: Instant,
}

impl Server {
    /// Its URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it counts as up.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Notes whether it is up, and logs a change.
    pub fn set_up(&self, up: bool) {
        if self.up.swap(up, Ordering::Relaxed) != up {
            if up {
                tracing::info!(upstream = self.name, "the backend is up");
            } else {
                tracing::warn!(upstream = self.name, "the backend is down");
            }
        }
    }

    /// Counts one connection as in use until the guard is dropped.
    pub fn count_active(&self) -> Active {
        self.gauges.active.inc();
        Active(self.gauges.active.clone())
    }

    /// Keeps a connection for the next request of `worker`.
    pub fn keep(&self, worker: usize, stream: Stream) {
        let Some(slot) = self.idle.get(worker) else { return };
        let mut idle = slot.lock();
        if idle.len() < self.idle_limit {
            idle.push(Idle { stream, since: Instant::now() });
            self.gauges.idle.inc();
        }
    }

    /// Closes what `worker` has kept for too long.
    pub fn sweep(&self, worker: usize) {
        let Some(slot) = self.idle.get(worker) else { return };
        let mut idle = slot.lock();
        let before = idle.len();
        idle.retain(|kept| kept.since.elapsed() < self.keepalive);
        self.gauges.idle.sub((before - idle.len()) as i64);
    }

    /// Looks its name up again, where it is a name.
    pub async fn resolve(&self) {
        self.addresses.resolve(&self.name).await;
    }

    /// The connection kept last, since it is the least likely to be closed; those found closed are dropped.
    fn take_idle(&self, worker: usize) -> Option<Stream> {
        let mut idle = self.idle.get(worker)?.lock();
        while let Some(mut kept) = idle.pop() {
            self.gauges.idle.dec();
            if kept.since.elapsed() < self.keepalive && at_once::is_quiet(&mut kept.stream) {
                return Some(kept.stream);
            }
        }
        None
    }
}

/// A connection in use.
pub struct Active(IntGauge);

impl Drop for Active {
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
