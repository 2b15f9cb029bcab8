//! A client's connection until its session begins: finds out its address, counts it for its source, and begins TLS.

use std::net::{IpAddr, SocketAddr};

use pingora_timeout::timeout;
use tokio::net::TcpStream;
use tracing::debug;

use super::client_io::ClientIo;
use super::proxy_protocol;
use super::session_driver::SessionDriver;
use super::source_limit::CountedConnection;
use super::worker::SmtpWorker;
use crate::edge::net::in_flight::InFlightGuard;
use crate::state::metrics::SmtpLimit;
use crate::wire::smtp::{Reply, replies};

/// Serves connections of one worker.
#[derive(Clone)]
pub struct SmtpServer {
    /// The worker.
    pub worker: SmtpWorker,
    /// Whether TLS begins with the first byte.
    pub implicit_tls: bool,
}

impl SmtpServer {
    /// Serves a connection until either side has enough.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr, entered: InFlightGuard) {
        let Some(_session) = self.worker.entry.sessions.enter() else { return };
        let Some((stream, address, counted)) = self.welcome(stream, peer).await else { return };
        self.worker.entry.metrics.smtp_sessions.inc();
        let metrics = self.worker.entry.metrics.clone();
        SessionDriver::new(self.worker, stream, address).run().await;
        drop((counted, entered));
        metrics.smtp_sessions.dec();
    }

    /// Says so where there is no room for a connection.
    pub fn refuse(&self, stream: &TcpStream, limit: SmtpLimit) {
        self.worker.entry.metrics.smtp_limit(limit);
        if !self.implicit_tls {
            // It fits, or the client doesn't get to know.
            let _ = stream.try_write(&written(&replies::TOO_MANY_CONNECTIONS));
        }
    }

    /// Finds out who it is, counts it, and begins TLS: a handshake costs work, and nobody gets more of that than others. What
    /// that takes is on the heap, and gone before the session begins.
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
            debug!(%address, "closed: too many connections from there");
            self.refuse(&stream, SmtpLimit::Source);
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
                debug!(%address, %error, "no TLS");
                None
            }
            Err(_) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                debug!(%address, "the TLS handshake took too long");
                None
            }
        }
    }

    /// The client's address as a trusted proxy says it; within that none where it speaks for itself, and `None` where it
    /// says nothing of use.
    async fn identify(&self, stream: &mut TcpStream, peer: SocketAddr) -> Option<Option<IpAddr>> {
        let header = timeout(self.worker.entry.handshake, proxy_protocol::read(stream));
        match self.worker.unless_stopped(header).await? {
            Ok(Ok(source)) => Some(source.map(|source| source.ip().to_canonical())),
            Ok(Err(error)) => {
                debug!(%peer, %error, "closed: the proxy doesn't say whom it forwards");
                None
            }
            Err(_) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                debug!(%peer, "closed: the proxy doesn't say in time whom it forwards");
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
