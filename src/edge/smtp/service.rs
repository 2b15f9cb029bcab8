//! The SMTP entry as its workers share it: settings, backends, limits and metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::backend::group::BackendGroup;
use super::hostname;
use crate::config::{ConfigError, SmtpEntry, SmtpTimeouts};
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::request_ids::RequestIds;
use crate::edge::net::source_limit::SourceLimit;
use crate::service::access::Access;
use crate::state::metrics::Metrics;
use crate::wire::smtp::session::{SessionEnvironment, SessionSettings};

/// The longest TLS handshake, and the longest wait for a header of the PROXY protocol.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The SMTP entry.
pub struct SmtpService {
    /// The settings that all sessions have in common.
    pub settings: Arc<SessionSettings>,
    /// The configured timeouts.
    pub timeouts: SmtpTimeouts,
    /// The longest TLS handshake, and the longest wait for a header of the PROXY protocol.
    pub handshake: Duration,
    /// True if trusted proxies send a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The networks of the trusted proxies; replaced at a reload.
    pub trusted_proxies: ArcSwap<Vec<IpNet>>,
    /// True if the gateway logs in at its backends.
    pub logs_in: bool,
    /// The TLS acceptor; `None` without a certificate.
    pub tls: Option<TlsAcceptor>,
    /// Decides on credentials.
    pub access: Arc<Access>,
    /// The mail backends.
    pub backends: Arc<BackendGroup>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Open connections by source.
    pub sources: Arc<SourceLimit>,
    /// Open sessions, so that a stop can wait for them.
    pub sessions: Arc<InFlight>,
    /// Becomes true at the deadline of a stop, after which no wait continues.
    pub cut_off: watch::Sender<bool>,
    /// The IDs of sessions, and of connections that are refused before they have one.
    pub ids: RequestIds,
}

impl SmtpService {
    /// Creates the entry for `workers` workers.
    ///
    /// # Errors
    /// The backends can't be set up.
    pub fn new(
        config: &SmtpEntry,
        trusted_proxies: &[IpNet],
        tls: Option<Arc<rustls::ServerConfig>>,
        workers: usize,
        access: Arc<Access>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<SmtpService>, Vec<ConfigError>> {
        let settings = SessionSettings {
            host: hostname::of(config),
            starttls: tls.is_some(),
            require_tls: config.require_tls,
            max_message: config.max_message,
            recipients: config.limits.recipients,
            messages: config.limits.messages,
            errors: config.limits.errors,
            failed_logins: config.limits.failed_logins,
            user_header: config.identity.header,
        };
        Ok(Arc::new(SmtpService {
            settings: Arc::new(settings),
            timeouts: config.timeouts.clone(),
            handshake: HANDSHAKE.min(config.timeouts.command),
            proxy_protocol: config.proxy_protocol,
            trusted_proxies: ArcSwap::from_pointee(trusted_proxies.to_vec()),
            logs_in: config.relay.login.is_some(),
            tls: tls.map(TlsAcceptor::from),
            access,
            backends: BackendGroup::new(config, workers, &metrics)?,
            metrics,
            sources: SourceLimit::new(config.limits.connections_per_source),
            sessions: InFlight::new(usize::MAX),
            cut_off: watch::Sender::new(false),
            ids: RequestIds::new(),
        }))
    }

    /// Returns true if connections from `address` start with a header of the PROXY protocol.
    pub fn is_proxy(&self, address: &IpAddr) -> bool {
        self.proxy_protocol && self.trusted_proxies.load().iter().any(|network| network.contains(address))
    }

    /// The environment of a session at this moment.
    pub fn environment(&self) -> SessionEnvironment {
        SessionEnvironment { clock: SystemTime::now, offered: self.backends.capabilities() }
    }
}
