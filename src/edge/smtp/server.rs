//! A client's connection until its session starts: finds out the address, counts the connection, and performs implicit TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora_timeout::timeout;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info};

use super::client_io::{ClientIo, UnreadInput};
use super::proxy_protocol;
use super::service::ServedListener;
use super::session_driver::SessionDriver;
use super::worker::SmtpWorker;
use crate::domain::{Entry, MailId};
use crate::edge::net::in_flight::InFlightGuard;
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
    pub fn refuse(&self, stream: &TcpStream, limit: ConnectionLimit) {
        let metrics = &self.worker.entry.metrics;
        metrics.connection_refused(Entry::Smtp, limit);
        match limit {
            ConnectionLimit::Connections => metrics.smtp_limit(SmtpLimit::Connections),
            ConnectionLimit::Source => metrics.smtp_limit(SmtpLimit::Source),
            ConnectionLimit::Descriptors => {}
        }
        let id = MailId { session: self.worker.entry.ids.next(), transaction: 0 };
        if !self.listener.has_implicit_tls() {
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
            debug!(%address, "connection refused: too many connections from this source");
            self.refuse(&stream, ConnectionLimit::Source);
            return None;
        };
        let mut stream = ClientIo::Cleartext(stream);
        if let Some(acceptor) = self.worker.entry.tls.as_ref().filter(|_| self.listener.has_implicit_tls()) {
            stream = Box::pin(self.encrypt(stream, acceptor, address)).await?;
        }
        if !self.listener.admits(&address) {
            Box::pin(self.turn_away(stream, address)).await;
            return None;
        }
        Some((stream, address, counted))
    }

    /// Performs a TLS handshake; `None` if it fails.
    async fn encrypt(&self, stream: ClientIo, acceptor: &TlsAcceptor, address: IpAddr) -> Option<ClientIo> {
        let handshake = timeout(self.worker.entry.handshake, stream.encrypt(acceptor));
        match self.worker.unless_stopped(handshake).await? {
            Ok(Ok(stream)) => Some(stream),
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

    /// Greets a client that is not in the networks of the listener with a refusal, and closes its connection. Logs and counts
    /// it. The lines are rare, since anyone who reaches the port can cause them.
    async fn turn_away(&self, stream: ClientIo, address: IpAddr) {
        self.worker.entry.metrics.smtp_limit(SmtpLimit::Network);
        let id = MailId { session: self.worker.entry.ids.next(), transaction: 0 };
        if let Some(left_out) = self.listener.turned_away.pass(Instant::now()) {
            let (key, listener) = (self.listener.config.key, self.listener.config.address);
            info!(%id, %address, key, %listener, left_out, "connection refused: address is not in the networks of the listener");
        }
        let refusal = written(&replies::NETWORK_NOT_ADMITTED, id);
        let closing = stream.close(&refusal, UnreadInput::Bounded);
        let _ = self.worker.unless_stopped(timeout(FAREWELL, closing)).await;
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

fn written(reply: &Reply, id: MailId) -> Vec<u8> {
    let mut out = Vec::new();
    reply.write_with_id(id, &mut out);
    out
}
