//! A client's connection until its session starts: finds out the address, counts the connection, and performs implicit TLS.

use std::net::{IpAddr, SocketAddr};

use pingora_timeout::timeout;
use tokio::net::TcpStream;
use tracing::debug;

use super::client_io::ClientIo;
use super::proxy_protocol;
use super::session_driver::SessionDriver;
use super::worker::SmtpWorker;
use crate::domain::Entry;
use crate::edge::net::in_flight::InFlightGuard;
use crate::edge::net::source_limit::CountedConnection;
use crate::state::metrics::{ConnectionLimit, SmtpLimit};
use crate::wire::smtp::{Reply, replies};

/// The server of one worker's SMTP connections.
#[derive(Clone)]
pub struct SmtpServer {
    /// The worker.
    pub worker: SmtpWorker,
    /// True if the connection starts with a TLS handshake.
    pub implicit_tls: bool,
}

impl SmtpServer {
    /// Serves a connection until either side closes it.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr, entered: InFlightGuard) {
        let Some(_session) = self.worker.entry.sessions.enter() else { return };
        let Some((stream, address, counted)) = self.welcome(stream, peer).await else { return };
        self.worker.entry.metrics.smtp_sessions.inc();
        let metrics = self.worker.entry.metrics.clone();
        SessionDriver::new(self.worker, stream, address).run().await;
        drop((counted, entered));
        metrics.smtp_sessions.dec();
    }

    /// Sends a refusal to a connection that exceeds `limit`, and counts it.
    pub fn refuse(&self, stream: &TcpStream, limit: ConnectionLimit) {
        let metrics = &self.worker.entry.metrics;
        metrics.connection_refused(Entry::Smtp, limit);
        match limit {
            ConnectionLimit::Connections => metrics.smtp_limit(SmtpLimit::Connections),
            ConnectionLimit::Source => metrics.smtp_limit(SmtpLimit::Source),
            ConnectionLimit::Descriptors => {}
        }
        if !self.implicit_tls {
            // Without waiting. If the reply does not fit into the socket buffer, the client does not get it.
            let _ = stream.try_write(&written(&replies::TOO_MANY_CONNECTIONS));
        }
    }

    /// Finds out the client's address, counts the connection, and performs implicit TLS. The count comes first, because a
    /// handshake costs CPU time. The state for this is on the heap and freed before the session starts.
    async fn welcome(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<(ClientIo, IpAddr, CountedConnection)> {
        let mut address = peer.ip().to_canonical();
        if self.worker.entry.is_proxy(&address) {
            address = Box::pin(self.identify(&mut stream, peer)).await?.unwrap_or(address);
        }
        let Some(counted) = self.worker.entry.sources.enter(address) else {
            debug!(%address, "connection refused: too many connections from this source");
            self.refuse(&stream, ConnectionLimit::Source);
            return None;
        };
        let stream = ClientIo::Cleartext(stream);
        let Some(acceptor) = self.worker.entry.tls.as_ref().filter(|_| self.implicit_tls) else {
            return Some((stream, address, counted));
        };
        let handshake = timeout(self.worker.entry.handshake, stream.encrypt(acceptor));
        match Box::pin(self.worker.unless_stopped(handshake)).await? {
            Ok(Ok(stream)) => Some((stream, address, counted)),
            Ok(Err(error)) => {
                debug!(%address, %error, "TLS handshake failed");
                None
            }
            Err(_) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                debug!(%address, "TLS handshake timed out");
                None
            }
        }
    }

    /// Reads the client's address from a trusted proxy. The inner `None` means that the proxy speaks for itself, the outer
    /// `None` that it sent no valid header.
    async fn identify(&self, stream: &mut TcpStream, peer: SocketAddr) -> Option<Option<IpAddr>> {
        let header = timeout(self.worker.entry.handshake, proxy_protocol::read(stream));
        match self.worker.unless_stopped(header).await? {
            Ok(Ok(source)) => Some(source.map(|source| source.ip().to_canonical())),
            Ok(Err(error)) => {
                debug!(%peer, %error, "connection closed: no valid PROXY protocol header");
                None
            }
            Err(_) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                debug!(%peer, "connection closed: PROXY protocol header timed out");
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
