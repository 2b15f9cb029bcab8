//! The checked configuration, and its sections but for the HTTP entries.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::address::{self, StoreUrl};
use super::listeners::Listeners;
use super::quantity::{DAY, SHORTEST};
use super::reader::ConfigTable;
use super::{HttpEntry, NamedFile, SmtpEntry};

/// A whole configuration, checked. A section that is absent from the file is off, or has its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[store]`
    pub store: StoreSettings,
    /// `[server]`
    pub server: ServerSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[tls]`; there whenever an entry has a TLS listener or requires TLS.
    pub tls: Option<TlsSettings>,
    /// `[auth]`
    pub auth: AuthSettings,
    /// `[api]`
    pub api: Option<HttpEntry>,
    /// `[web]`
    pub web: Option<HttpEntry>,
    /// `[smtp]`
    pub smtp: Option<SmtpEntry>,
    /// `[ops]`
    pub ops: Option<OpsSettings>,
}

impl Config {
    /// The HTTP entries that are there.
    pub fn http_entries(&self) -> impl Iterator<Item = &HttpEntry> {
        self.api.iter().chain(&self.web)
    }
}

/// `[store]`: where accounts and credentials are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    /// Which store.
    pub url: StoreUrl,
    /// Connections that read, at least 1; writes have one of their own.
    pub read_connections: u32,
    /// How long a statement waits while another process holds the database.
    pub busy_timeout: Duration,
}

impl StoreSettings {
    pub(super) fn read(table: ConfigTable<'_>) -> StoreSettings {
        let default = StoreSettings::default();
        let minute = Duration::from_secs(60);
        let settings = StoreSettings {
            url: table.read("url", default.url, |v| v.parsed(address::store)),
            read_connections: table.read("read_connections", default.read_connections, |v| v.number(1..=64)),
            busy_timeout: table.read("busy_timeout", default.busy_timeout, |v| v.duration(SHORTEST..=minute)),
        };
        table.finish();
        settings
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        StoreSettings {
            url: StoreUrl::Sqlite("data/gatepost.db".into()),
            read_connections: 4,
            busy_timeout: Duration::from_secs(2),
        }
    }
}

/// `[server]`: the process.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// Worker threads; 0 is one for each core, see [`ServerSettings::threads_on`].
    pub threads: usize,
    /// How long a stop waits for what is in flight.
    pub shutdown_deadline: Duration,
    /// Networks whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Client connections open at once, over all listeners; what comes above is closed at once.
    pub max_connections: usize,
}

impl ServerSettings {
    pub(super) fn read(table: ConfigTable<'_>) -> ServerSettings {
        let default = ServerSettings::default();
        let settings = ServerSettings {
            threads: table.read("threads", default.threads, |v| v.number(0..=1024)),
            shutdown_deadline: table
                .read("shutdown_deadline", default.shutdown_deadline, |v| v.duration(SHORTEST..=DAY)),
            trusted_proxies: table
                .read("trusted_proxies", default.trusted_proxies, |v| v.list(|v| v.parsed(address::network))),
            max_connections: table
                .read("max_connections", default.max_connections, |v| v.number(1..=10_000_000)),
        };
        table.finish();
        settings
    }

    /// The number of worker threads on a machine of so many cores; at least 1.
    pub fn threads_on(&self, cores: usize) -> usize {
        if self.threads > 0 { self.threads } else { cores.max(1) }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            threads: 0,
            shutdown_deadline: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            max_connections: 20_000,
        }
    }
}

/// `[log]`: what is logged, and how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// The least that is logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
    /// Whether each request that was answered and each message that was accepted has a line, whatever the level.
    pub access: bool,
}

impl LogSettings {
    pub(super) fn read(table: ConfigTable<'_>) -> LogSettings {
        let default = LogSettings::default();
        let settings = LogSettings {
            level: table.read("level", default.level, |v| v.word(&LogLevel::ALL, LogLevel::as_str)),
            format: table.read("format", default.format, |v| v.word(&LogFormat::ALL, LogFormat::as_str)),
            access: table.read("access", default.access, |v| v.flag()),
        };
        table.finish();
        settings
    }
}

/// The least that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// All levels, from the quietest on.
    pub const ALL: [LogLevel; 5] =
        [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// The word for it, as `tracing` reads it, too.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One readable line.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// All formats.
    pub const ALL: [LogFormat; 3] = [LogFormat::Auto, LogFormat::Human, LogFormat::Json];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogFormat::Auto => "auto",
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        }
    }
}

/// `[tls]`: one certificate for every TLS listener. Relative paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM: the certificate, then those that lead to its root.
    pub certificate: NamedFile,
    /// PEM: its private key.
    pub private_key: NamedFile,
}

impl TlsSettings {
    pub(super) fn read(table: ConfigTable<'_>) -> Option<TlsSettings> {
        let certificate = table.required("certificate", |v| v.file());
        let private_key = table.required("private_key", |v| v.file());
        table.finish();
        Some(TlsSettings { certificate: certificate?, private_key: private_key? })
    }
}

/// `[auth]`: the decision, its cache, and the hashing behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// 4 to 15; each step doubles the work of a check.
    pub bcrypt_cost: u32,
    /// Verified principals that are remembered at most.
    pub cache_capacity: u64,
    /// After this long the row is read again, even if nothing is known to have changed.
    pub cache_ttl: Duration,
    /// Threads that hash; 0 is one less than the cores, see [`AuthSettings::hash_threads_on`].
    pub hash_threads: usize,
    /// Password checks that wait for such a thread at most, at least 1.
    pub hash_queue: usize,
    /// Whether failures are followed by growing delays.
    pub throttle: bool,
}

impl AuthSettings {
    pub(super) fn read(table: ConfigTable<'_>) -> AuthSettings {
        let default = AuthSettings::default();
        let settings = AuthSettings {
            bcrypt_cost: table.read("bcrypt_cost", default.bcrypt_cost, |v| v.number(4..=15)),
            cache_capacity: table
                .read("cache_capacity", default.cache_capacity, |v| v.number(1..=14_000_000)),
            cache_ttl: table.read("cache_ttl", default.cache_ttl, |v| v.duration(SHORTEST..=DAY)),
            hash_threads: table.read("hash_threads", default.hash_threads, |v| v.number(0..=1024)),
            hash_queue: table.read("hash_queue", default.hash_queue, |v| v.number(1..=1_000_000)),
            throttle: table.read("throttle", default.throttle, |v| v.flag()),
        };
        table.finish();
        settings
    }

    /// The number of hashing threads on a machine of so many cores; at least 1.
    pub fn hash_threads_on(&self, cores: usize) -> usize {
        if self.hash_threads > 0 { self.hash_threads } else { cores.saturating_sub(1).max(1) }
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        AuthSettings {
            bcrypt_cost: 10,
            cache_capacity: 100_000,
            cache_ttl: Duration::from_secs(600),
            hash_threads: 0,
            hash_queue: 256,
            throttle: true,
        }
    }
}

/// `[ops]`: metrics and health, never on a public listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpsSettings {
    /// Its one address.
    pub listen: SocketAddr,
}

impl OpsSettings {
    pub(super) fn read(table: ConfigTable<'_>, listeners: &mut Listeners) -> OpsSettings {
        let default = OpsSettings::default();
        let settings = OpsSettings { listen: table.read("listen", default.listen, |v| listeners.read(v)) };
        table.finish();
        settings
    }
}

impl Default for OpsSettings {
    fn default() -> Self {
        OpsSettings { listen: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}
