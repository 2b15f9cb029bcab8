//! A client's connection from its first byte on: who it is, whether there is room, TLS; then its visit.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pingora_timeout::timeout;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use super::entry::Entry;
use super::proxied;
use super::stream::Stream;
use super::visit::Visit;
use crate::edge::gauge::{Entered, Gauge};
use crate::wire::smtp::{Reply, answers};

/// Until a TLS handshake is done, or a proxy has said whom it forwards.
pub const HANDSHAKE: Duration = Duration::from_secs(30);

/// For a last word to a client that may not listen.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves connections of one worker.
#[derive(Clone)]
pub struct SmtpServer {
    /// The entry.
    pub entry: Arc<Entry>,
    /// The worker.
    pub worker: usize,
    /// Whether TLS begins with the first byte.
    pub implicit_tls: bool,
    /// Transactions under way, so that a stop can wait for them.
    pub under_way: Arc<Gauge>,
    /// Turns true when the gateway stops.
    pub stop: watch::Receiver<bool>,
}

impl SmtpServer {
    /// Serves a connection until either side has enough.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr, entered: Entered) {
        let Some(_session) = self.entry.sessions.enter() else { return };
        // On the heap, and gone before the session begins.
        let Some((stream, address)) = Box::pin(self.welcome(stream, peer)).await else { return };
        let Some(counted) = self.entry.sources.enter(address) else {
            debug!(%address, "closed: too many connections from there");
            let mut stream = stream;
            let _ = timeout(FAREWELL, stream.write(&written(&answers::TOO_MANY_CONNECTIONS))).await;
            return;
        };
        self.entry.metrics.smtp_sessions.inc();
        let metrics = self.entry.metrics.clone();
        Visit::new(self, stream, address).run().await;
        metrics.smtp_sessions.dec();
        drop((counted, entered));
    }

    /// Says so where there is no room for a connection.
    pub fn refuse(stream: &TcpStream, implicit_tls: bool) {
        if !implicit_tls {
            // It fits, or the client doesn't get to know.
            let _ = stream.try_write(&written(&answers::TOO_MANY_CONNECTIONS));
        }
    }

    async fn welcome(&self, mut stream: TcpStream, peer: SocketAddr) -> Option<(Stream, IpAddr)> {
        stream.set_nodelay(true).ok()?;
        let mut address = peer.ip().to_canonical();
        if self.entry.proxy_protocol && self.entry.trusted_proxies.iter().any(|net| net.contains(&address)) {
            match timeout(HANDSHAKE, proxied::read(&mut stream)).await {
                Ok(Ok(source)) => address = source.map_or(address, |source| source.ip().to_canonical()),
                Ok(Err(error)) => {
                    debug!(%peer, %error, "closed: the proxy doesn't say whom it forwards");
                    return None;
                }
                Err(_) => {
                    debug!(%peer, "closed: the proxy doesn't say in time whom it forwards");
                    return None;
                }
            }
        }
        let stream = Stream::Clear(stream);
        let Some(acceptor) = self.entry.tls.as_ref().filter(|_| self.implicit_tls) else {
            return Some((stream, address));
        };
        match timeout(HANDSHAKE, stream.encrypt(acceptor)).await {
            Ok(Ok(stream)) => Some((stream, address)),
            Ok(Err(error)) => {
                debug!(%address, %error, "no TLS");
                None
            }
            Err(_) => {
                debug!(%address, "the TLS handshake took too long");
                None
            }
        }
    }
}

fn written(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    reply.write(&mut out);
    out
}
