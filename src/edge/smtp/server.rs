//! A client's connection until its session starts: finds out the address, counts the connection, and performs implicit TLS.

use std::net::{IpAddr, SocketAddr};

use pingora_timeout::timeout;
use tokio::net::TcpStream;

use super::client_io::ClientIo;
use super::proxy_protocol;
use super::session_driver::SessionDriver;
use super::worker::SmtpWorker;
use crate::domain::{Entry, MailId, RefusalReason};
use crate::edge::net::in_flight::InFlightGuard;
use crate::edge::net::refusal_log::RefusalLine;
use crate::edge::net::source_limit::CountedConnection;
use crate::state::metrics::SmtpLimit;
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
    pub fn refuse(&self, stream: &TcpStream, source: IpAddr, limit: SmtpLimit) {
        self.worker.entry.metrics.smtp_limit(limit);
        let id = MailId { session: self.worker.entry.ids.next(), transaction: 0 };
        let reason = match limit {
            SmtpLimit::Source => RefusalReason::ConnectionsOfSource,
            _ => RefusalReason::Connections,
        };
        let code = if self.implicit_tls { String::new() } else { replies::TOO_MANY_CONNECTIONS.codes() };
        self.log(reason, source, stream.local_addr().ok(), &id.to_string(), &code, "");
        if !self.implicit_tls {
            // Without waiting. If the reply does not fit into the socket buffer, the client does not get it.
            let _ = stream.try_write(&written(&replies::TOO_MANY_CONNECTIONS, id));
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
            self.refuse(&stream, address, SmtpLimit::Source);
            return None;
        };
        let Some(acceptor) = self.worker.entry.tls.as_ref().filter(|_| self.implicit_tls) else {
            return Some((ClientIo::Cleartext(stream), address, counted));
        };
        let listener = stream.local_addr().ok();
        let handshake = timeout(self.worker.entry.handshake, async {
            // A client that only looks whether the port is open is not refused anything.
            if !matches!(stream.peek(&mut [0]).await, Ok(1..)) {
                return None;
            }
            Some(ClientIo::Cleartext(stream).encrypt(acceptor).await)
        });
        let (reason, detail) = match Box::pin(self.worker.unless_stopped(handshake)).await? {
            Ok(Some(Ok(stream))) => return Some((stream, address, counted)),
            Ok(None) => return None,
            Ok(Some(Err(error))) => (RefusalReason::Handshake, error.to_string()),
            Err(_) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                (RefusalReason::SlowHandshake, String::new())
            }
        };
        self.log_unmet(reason, address, listener, &detail);
        None
    }

    /// Reads the client's address from a trusted proxy. The inner `None` means that the proxy speaks for itself, the outer
    /// `None` that it sent no valid header.
    async fn identify(&self, stream: &mut TcpStream, peer: SocketAddr) -> Option<Option<IpAddr>> {
        let header = timeout(self.worker.entry.handshake, proxy_protocol::read(stream));
        match self.worker.unless_stopped(header).await? {
            Ok(Ok(source)) => Some(source.map(|source| source.ip().to_canonical())),
            Ok(Err(error)) => {
                let listener = stream.local_addr().ok();
                let source = peer.ip().to_canonical();
                self.log_unmet(RefusalReason::ProxyHeader, source, listener, &error.to_string());
                None
            }
            Err(_) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                let listener = stream.local_addr().ok();
                self.log_unmet(RefusalReason::SlowProxyHeader, peer.ip().to_canonical(), listener, "");
                None
            }
        }
    }

    /// Logs a refusal of which the client is told nothing.
    fn log_unmet(&self, reason: RefusalReason, source: IpAddr, listener: Option<SocketAddr>, detail: &str) {
        let id = self.worker.entry.ids.next();
        self.log(reason, source, listener, id.as_str(), "", detail);
    }

    fn log(
        &self,
        reason: RefusalReason,
        source: IpAddr,
        listener: Option<SocketAddr>,
        request_id: &str,
        code: &str,
        detail: &str,
    ) {
        let listener = listener.map(|listener| listener.to_string()).unwrap_or_default();
        self.worker.entry.refusals.write(&RefusalLine {
            request_id,
            listener: &listener,
            code,
            detail,
            ..RefusalLine::new(Entry::Smtp, source, reason.as_str())
        });
    }
}

fn written(reply: &Reply, id: MailId) -> Vec<u8> {
    let mut out = Vec::new();
    reply.write_with_id(id, &mut out);
    out
}
