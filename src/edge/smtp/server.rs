//! A client's connection until its session starts: finds out the address, counts the connection, and performs implicit TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pingora_timeout::timeout;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::client_io::{ClientIo, UnreadInput};
use super::proxy_protocol;
use super::service::ServedListener;
use super::session_driver::SessionDriver;
use super::worker::SmtpWorker;
use crate::domain::{Entry, MailId, RefusalReason};
use crate::edge::net::in_flight::InFlightGuard;
use crate::edge::net::refusal_log::RefusalLine;
use crate::edge::net::source_limit::CountedConnection;
use crate::state::metrics::{ConnectionLimit, SmtpLimit};
use crate::wire::smtp::{Reply, replies};

/// The longest time for a refusal to a client that may not read it.
const FAREWELL: Duration = Duration::from_secs(5);

/// The server of one worker's connections of one SMTP listener.
#[derive(Clone)]
pub struct SmtpServer {
    /// The worker.
    pub worker: SmtpWorker,
    /// The listener that the connections come from.
    pub listener: Arc<ServedListener>,
    /// The address that the listener is bound to, for the log.
    pub address: SocketAddr,
}

impl SmtpServer {
    /// Serves a connection until either side closes it.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr, entered: InFlightGuard) {
        let Some(_session) = self.worker.entry.sessions.enter() else { return };
        let Some((stream, address, counted)) = self.welcome(stream, peer).await else { return };
        self.worker.entry.metrics.smtp_sessions.inc();
        let metrics = self.worker.entry.metrics.clone();
        SessionDriver::new(self.worker, &self.listener, stream, address).run().await;
        drop((counted, entered));
        metrics.smtp_sessions.dec();
    }

    /// Sends a refusal to a connection that exceeds `limit`, and counts it.
    pub fn refuse(&self, stream: &TcpStream, source: IpAddr, limit: ConnectionLimit) {
        let metrics = &self.worker.entry.metrics;
        metrics.connection_refused(Entry::Smtp, limit);
        match limit {
            ConnectionLimit::Connections => metrics.smtp_limit(SmtpLimit::Connections),
            ConnectionLimit::Source => metrics.smtp_limit(SmtpLimit::Source),
            ConnectionLimit::Descriptors => {}
        }
        let id = MailId { session: self.worker.entry.ids.next(), transaction: 0 };
        let reason = match limit {
            ConnectionLimit::Source => RefusalReason::ConnectionsOfSource,
            ConnectionLimit::Connections | ConnectionLimit::Descriptors => RefusalReason::Connections,
        };
        let told = !self.listener.has_implicit_tls();
        let code = if told { replies::TOO_MANY_CONNECTIONS.codes() } else { String::new() };
        self.log(reason, source, &id.to_string(), &code, "");
        if told {
            // Without waiting. If the reply does not fit into the socket buffer, the client does not get it.
            let _ = stream.try_write(&written(&replies::TOO_MANY_CONNECTIONS, id));
        }
    }

    /// Finds out the client's address, counts the connection, performs implicit TLS, and refuses a client that is not in the
    /// networks of the listener. The count comes first, because a handshake costs CPU time. The state for this is on the heap
    /// and freed before the session starts.
    async fn welcome(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<(ClientIo, IpAddr, CountedConnection)> {
        let mut address = peer.ip().to_canonical();
        if self.listener.config.rules.proxy_protocol && self.worker.entry.is_proxy(&address) {
            address = Box::pin(self.identify(&mut stream, peer)).await?.unwrap_or(address);
        }
        let Some(counted) = self.worker.entry.sources.enter(address) else {
            self.refuse(&stream, address, ConnectionLimit::Source);
            return None;
        };
        let acceptor = self.worker.entry.tls.as_ref().filter(|_| self.listener.has_implicit_tls());
        let is_admitted = self.listener.admits(&address);
        let mut outsider = None;
        if acceptor.is_some() && !is_admitted {
            outsider = self.worker.entry.outsiders.enter();
            if outsider.is_none() {
                // Without a word, since that would cost a handshake.
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Network);
                self.log_unmet(RefusalReason::Network, address, self.listener.config.key);
                return None;
            }
        }
        let stream = match acceptor {
            Some(acceptor) => Box::pin(self.encrypt(stream, acceptor, address)).await?,
            None => ClientIo::Cleartext(stream),
        };
        if !is_admitted {
            Box::pin(self.turn_away(stream, address)).await;
            drop(outsider);
            return None;
        }
        Some((stream, address, counted))
    }

    /// Performs a TLS handshake; `None` if it fails.
    async fn encrypt(&self, stream: TcpStream, acceptor: &TlsAcceptor, address: IpAddr) -> Option<ClientIo> {
        let handshake = timeout(self.worker.entry.handshake, async {
            // A client that only looks whether the port is open is not refused anything.
            if !matches!(stream.peek(&mut [0]).await, Ok(1..)) {
                return None;
            }
            Some(ClientIo::Cleartext(stream).encrypt(acceptor).await)
        });
        let (reason, detail) = match self.worker.unless_stopped(handshake).await? {
            Ok(Some(Ok(stream))) => return Some(stream),
            Ok(None) => return None,
            Ok(Some(Err(error))) => (RefusalReason::Handshake, error.to_string()),
            Err(_) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                (RefusalReason::SlowHandshake, String::new())
            }
        };
        self.log_unmet(reason, address, &detail);
        None
    }

    /// Greets a client that is not in the networks of the listener with a refusal, and closes its connection. Logs and counts
    /// it.
    async fn turn_away(&self, stream: ClientIo, address: IpAddr) {
        self.worker.entry.metrics.smtp_limit(SmtpLimit::Network);
        let id = MailId { session: self.worker.entry.ids.next(), transaction: 0 };
        let code = replies::NETWORK_NOT_ADMITTED.codes();
        self.log(RefusalReason::Network, address, &id.to_string(), &code, self.listener.config.key);
        let refusal = written(&replies::NETWORK_NOT_ADMITTED, id);
        let closing = stream.close(&refusal, UnreadInput::Bounded);
        let _ = self.worker.unless_stopped(timeout(FAREWELL, closing)).await;
    }

    /// Reads the client's address from a trusted proxy. The inner `None` means that the proxy speaks for itself, the outer
    /// `None` that it sent no valid header.
    async fn identify(&self, stream: &mut TcpStream, peer: SocketAddr) -> Option<Option<IpAddr>> {
        let header = timeout(self.worker.entry.handshake, async {
            // A proxy that only looks whether the port is open is not refused anything.
            if !matches!(stream.peek(&mut [0]).await, Ok(1..)) {
                return None;
            }
            Some(proxy_protocol::read(stream).await)
        });
        match self.worker.unless_stopped(header).await?.map(Option::transpose) {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(source))) => Some(source.map(|source| source.ip().to_canonical())),
            Ok(Err(error)) => {
                self.log_unmet(RefusalReason::ProxyHeader, peer.ip().to_canonical(), &error.to_string());
                None
            }
            Err(_) => {
                self.worker.entry.metrics.smtp_limit(SmtpLimit::Time);
                self.log_unmet(RefusalReason::SlowProxyHeader, peer.ip().to_canonical(), "");
                None
            }
        }
    }

    /// Logs a refusal of which the client is told nothing.
    fn log_unmet(&self, reason: RefusalReason, source: IpAddr, detail: &str) {
        self.log(reason, source, self.worker.entry.ids.next().as_str(), "", detail);
    }

    fn log(&self, reason: RefusalReason, source: IpAddr, request_id: &str, code: &str, detail: &str) {
        self.worker.entry.refusals.write(&RefusalLine {
            request_id,
            listener: &self.address.to_string(),
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
