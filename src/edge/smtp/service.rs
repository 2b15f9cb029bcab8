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
use super::last_look::LastLook;
use crate::config::{ConfigError, SmtpEntry, SmtpListener, SmtpListenerTls, SmtpTimeouts};
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::refusal_log::RefusalLog;
use crate::edge::net::request_ids::RequestIds;
use crate::edge::net::source_limit::SourceLimit;
use crate::service::access::Access;
use crate::state::metrics::Metrics;
use crate::wire::smtp::session::{SessionEnvironment, SessionSettings};

/// The longest TLS handshake, and the longest wait for a header of the PROXY protocol.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// A listener as its connections share it.
pub struct ServedListener {
    /// The configured listener.
    pub config: SmtpListener,
    /// The settings that all its sessions have in common.
    pub settings: Arc<SessionSettings>,
}

impl ServedListener {
    fn new(entry: &SmtpEntry, listener: &SmtpListener, host: &str, has_tls: bool) -> ServedListener {
        let settings = SessionSettings {
            host: host.to_owned(),
            starttls: has_tls && listener.tls == SmtpListenerTls::StartTls,
            require_tls: listener.rules.require_tls,
            bare_newline: listener.rules.bare_newline,
            max_message: entry.max_message,
            recipients: entry.limits.recipients,
            messages: entry.limits.messages,
            errors: entry.limits.errors,
            failed_logins: entry.limits.failed_logins,
            user_header: entry.identity.header,
        };
        ServedListener { config: listener.clone(), settings: Arc::new(settings) }
    }

    /// Returns true if TLS begins with the first byte.
    pub fn has_implicit_tls(&self) -> bool {
        self.config.tls == SmtpListenerTls::Implicit
    }

    /// Returns true if a client at `address` may connect.
    pub fn admits(&self, address: &IpAddr) -> bool {
        let networks = &self.config.rules.networks;
        networks.is_empty() || networks.iter().any(|network| network.contains(address))
    }
}

/// The most TLS handshakes at once only to tell a client that it is in no network of its listener.
const OUTSIDERS: usize = 16;

/// The longest pause within a message that its client may take for complete.
const STALL: Duration = Duration::from_secs(5);

/// The SMTP entry.
pub struct SmtpService {
    /// The listeners, in their configured order.
    pub listeners: Vec<Arc<ServedListener>>,
    /// The configured timeouts.
    pub timeouts: SmtpTimeouts,
    /// The longest TLS handshake, and the longest wait for a header of the PROXY protocol.
    pub handshake: Duration,
    /// The longest pause within a message that its client may take for complete.
    pub stall: Duration,
    /// The networks of the trusted proxies; replaced at a reload.
    pub trusted_proxies: ArcSwap<Vec<IpNet>>,
    /// True if the gateway logs in at its backends.
    pub logs_in: bool,
    /// The TLS acceptor; `None` without a certificate.
    pub tls: Option<TlsAcceptor>,
    /// Decides on credentials.
    pub access: Arc<Access>,
    /// The last look before a transaction is forwarded.
    pub last_look: LastLook,
    /// The mail backends.
    pub backends: Arc<BackendGroup>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Open connections by source.
    pub sources: Arc<SourceLimit>,
    /// TLS handshakes of clients that are in no network of their listener.
    pub outsiders: Arc<InFlight>,
    /// Open sessions, so that a stop can wait for them.
    pub sessions: Arc<InFlight>,
    /// Becomes true at the deadline of a stop, after which no wait continues.
    pub cut_off: watch::Sender<bool>,
    /// The log of refusals.
    pub refusals: Arc<RefusalLog>,
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
        let refusals = Arc::new(RefusalLog::new(metrics.clone()));
        let host = hostname::of(config);
        let listeners = config.listeners.iter();
        let listeners =
            listeners.map(|listener| Arc::new(ServedListener::new(config, listener, &host, tls.is_some())));
        Ok(Arc::new(SmtpService {
            listeners: listeners.collect(),
            timeouts: config.timeouts.clone(),
            handshake: HANDSHAKE.min(config.timeouts.command),
            stall: STALL.min(config.timeouts.data),
            trusted_proxies: ArcSwap::from_pointee(trusted_proxies.to_vec()),
            logs_in: config.relay.login.is_some(),
            tls: tls.map(TlsAcceptor::from),
            last_look: LastLook::of(&access),
            access,
            backends: BackendGroup::new(config, workers, &metrics)?,
            metrics,
            sources: SourceLimit::new(config.limits.connections_per_source),
            outsiders: InFlight::new(OUTSIDERS),
            sessions: InFlight::new(usize::MAX),
            cut_off: watch::Sender::new(false),
            refusals,
            ids: RequestIds::new(),
        }))
    }

    /// Returns true if `address` is that of a trusted proxy.
    pub fn is_proxy(&self, address: &IpAddr) -> bool {
        self.trusted_proxies.load().iter().any(|network| network.contains(address))
    }

    /// The environment of a session at this moment.
    pub fn environment(&self) -> SessionEnvironment {
        SessionEnvironment { clock: SystemTime::now, offered: self.backends.capabilities() }
    }
}
