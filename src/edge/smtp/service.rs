//! The SMTP entry, as its workers share it: settings, backends, limits, counters.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::backend::group::BackendGroup;
use super::hostname;
use super::source_limit::SourceLimit;
use crate::config::{ConfigError, SmtpEntry, SmtpTimeouts};
use crate::edge::net::in_flight::InFlight;
use crate::service::access::Access;
use crate::state::metrics::Metrics;
use crate::wire::smtp::session::{SessionEnvironment, SessionSettings};

/// The most until a TLS handshake is done, or a proxy has said whom it forwards.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The SMTP entry.
pub struct SmtpService {
    /// What all sessions have in common.
    pub settings: Arc<SessionSettings>,
    /// How long things may take.
    pub timeouts: SmtpTimeouts,
    /// How long a TLS handshake may take, and a proxy's header.
    pub handshake: Duration,
    /// Whether trusted proxies say whom they forward.
    pub proxy_protocol: bool,
    /// Who they are, at the moment.
    pub trusted_proxies: ArcSwap<Vec<IpNet>>,
    /// Whether the gateway itself logs in at its backends.
    pub logs_in: bool,
    /// What begins TLS; there where there is a certificate.
    pub tls: Option<TlsAcceptor>,
    /// Who decides.
    pub access: Arc<Access>,
    /// Where messages go.
    pub backends: Arc<BackendGroup>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Connections by source.
    pub sources: Arc<SourceLimit>,
    /// Open sessions, so that a stop can wait for them.
    pub sessions: Arc<InFlight>,
    /// Turns true at the deadline of a stop: nothing is waited for any more.
    pub cut_off: watch::Sender<bool>,
    numbers: AtomicU64,
}

impl SmtpService {
    /// Puts the entry together for so many workers.
    ///
    /// # Errors
    /// Where the backends can't be set up.
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
            // Without randomness two processes might number alike, which harms nobody.
            numbers: AtomicU64::new(u64::from(getrandom::u32().unwrap_or(0)) << 32),
        }))
    }

    /// Whether a connection from there begins with a header that says whom it is for.
    pub fn is_proxy(&self, address: &IpAddr) -> bool {
        self.proxy_protocol && self.trusted_proxies.load().iter().any(|network| network.contains(address))
    }

    /// A number for a session; others of other processes are most likely different.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// What is true now.
    pub fn environment(&self) -> SessionEnvironment {
        SessionEnvironment { clock: SystemTime::now, offered: self.backends.capabilities() }
    }
}
