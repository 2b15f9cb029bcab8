//! The checked configuration, and the sections other than `[api]`, `[web]` and `[smtp]`.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::address;
use super::listeners::Listeners;
use super::quantity::{DAY, SHORTEST};
use super::reader::ConfigTable;
use super::{ConsoleEntry, HttpEntry, KeyLocation, NamedFile, PostgresUrl, SmtpEntry, StoreUrl};

/// A complete, checked configuration. A section that is absent from the file is off or has its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[store]`
    pub store: StoreSettings,
    /// The place of `store.url`, or of its section.
    pub store_place: KeyLocation,
    /// `[server]`
    pub server: ServerSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[tls]`; present whenever an entry has a TLS listener or requires TLS.
    pub tls: Option<TlsSettings>,
    /// `[auth]`
    pub auth: AuthSettings,
    /// `[api]`
    pub api: Option<HttpEntry>,
    /// `[web]`
    pub web: Option<HttpEntry>,
    /// `[console]`
    pub console: Option<ConsoleEntry>,
    /// `[smtp]`
    pub smtp: Option<SmtpEntry>,
    /// `[ops]`
    pub ops: Option<OpsSettings>,
}

impl Config {
    /// Iterates over the HTTP entries that are present.
    pub fn http_entries(&self) -> impl Iterator<Item = &HttpEntry> {
        self.api.iter().chain(&self.web).chain(self.console.as_ref().map(|console| &console.http))
    }
}

/// The section `[store]`: the database of accounts and credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    /// The database.
    pub url: StoreUrl,
    /// The direct way to the servers, if the one of `url` leads through a connection pooler. Only with PostgreSQL.
    pub direct_url: Option<PostgresUrl>,
    /// A file whose first line is the password, for both URLs. Only with PostgreSQL.
    pub password_file: Option<NamedFile>,
    /// SQLite: the number of connections for reads, at least 1; writes have a separate one. PostgreSQL: the number of connections for
    /// reads and writes.
    pub read_connections: u32,
    /// SQLite: the longest time for which a statement waits while another process has locked the database. PostgreSQL: the longest time
    /// for each statement, and for the connection before it.
    pub busy_timeout: Duration,
}

impl StoreSettings {
    pub(super) fn read(table: ConfigTable<'_>) -> StoreSettings {
        let default = StoreSettings::default();
        let minute = Duration::from_secs(60);
        let settings = StoreSettings {
            url: table.read("url", default.url, |v| v.parsed(StoreUrl::parse)),
            direct_url: table.optional("direct_url", |v| v.parsed(PostgresUrl::parse)),
            password_file: table.optional("password_file", |v| v.file()),
            read_connections: table.read("read_connections", default.read_connections, |v| v.number(1..=64)),
            busy_timeout: table.read("busy_timeout", default.busy_timeout, |v| v.duration(SHORTEST..=minute)),
        };
        settings.check(&table);
        table.finish();
        settings
    }

    /// Notes the keys that do not go together.
    fn check(&self, table: &ConfigTable<'_>) {
        let (Some(_), StoreUrl::Postgres(url)) = (&self.password_file, &self.url) else { return };
        let passwords = [("url", Some(url)), ("direct_url", self.direct_url.as_ref())];
        let mut both = passwords.into_iter().filter(|(_, url)| url.is_some_and(|url| url.password.is_some()));
        if let Some((key, _)) = both.next() {
            table.refuse(
                "password_file",
                format!("the password is in {key}, too: remove it from one of them"),
            );
        }
    }

    /// The URL of the direct connection to the servers, if the store is in PostgreSQL.
    pub fn direct(&self) -> Option<&PostgresUrl> {
        match &self.url {
            StoreUrl::Sqlite(_) => None,
            StoreUrl::Postgres(url) => Some(self.direct_url.as_ref().unwrap_or(url)),
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        StoreSettings {
            url: StoreUrl::Sqlite("data/gatepost.db".into()),
            direct_url: None,
            password_file: None,
            read_connections: 4,
            busy_timeout: Duration::from_secs(2),
        }
    }
}

/// The section `[server]`: the process.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// The number of worker threads; 0 for one per core, see [`ServerSettings::threads_on`].
    pub threads: usize,
    /// The longest time for which a stop waits for requests and messages in progress.
    pub shutdown_deadline: Duration,
    /// The networks whose `X-Forwarded-*` fields are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The largest number of open client connections, over all listeners. Further ones are closed at once.
    pub max_connections: usize,
    /// The largest number of open connections to `[api]`, `[web]` and `[console]` from one source.
    pub max_connections_per_source: usize,
}

impl ServerSettings {
    pub(super) fn read(table: ConfigTable<'_>) -> ServerSettings {
        let default = ServerSettings::default();
        let max_connections =
            table.read("max_connections", default.max_connections, |v| v.number(1..=10_000_000));
        let settings = ServerSettings {
            threads: table.read("threads", default.threads, |v| v.number(0..=1024)),
            shutdown_deadline: table
                .read("shutdown_deadline", default.shutdown_deadline, |v| v.duration(SHORTEST..=DAY)),
            trusted_proxies: table
                .read("trusted_proxies", default.trusted_proxies, |v| v.list(|v| v.parsed(address::network))),
            max_connections,
            max_connections_per_source: table.read(
                "max_connections_per_source",
                quarter(max_connections),
                |v| v.number(1..=10_000_000),
            ),
        };
        table.finish();
        settings
    }

    /// Returns the number of worker threads on a machine with `cores` cores; at least 1.
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
            max_connections_per_source: quarter(20_000),
        }
    }
}

/// The part of all connections that one source may have by default, so that it does not shut out the others.
fn quarter(max_connections: usize) -> usize {
    (max_connections / 4).max(1)
}

/// The section `[log]`: the content and the format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// The lowest level that is logged.
    pub level: LogLevel,
    /// The format of a line.
    pub format: LogFormat,
    /// True if each answered request and each accepted message is logged, at any level.
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

/// The lowest level that is logged.
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
    /// All levels, beginning with the one that logs least.
    pub const ALL: [LogLevel; 5] =
        [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// The word in the configuration, which `tracing` understands as well.
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

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// [`LogFormat::Human`] on a terminal, otherwise [`LogFormat::Json`].
    #[default]
    Auto,
    /// A readable line.
    Human,
    /// A JSON object per line.
    Json,
}

impl LogFormat {
    /// All formats.
    pub const ALL: [LogFormat; 3] = [LogFormat::Auto, LogFormat::Human, LogFormat::Json];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogFormat::Auto => "auto",
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        }
    }
}

/// The section `[tls]`: one certificate for all TLS listeners. Relative paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate followed by its intermediate certificates, in PEM format.
    pub certificate: NamedFile,
    /// The private key of the certificate, in PEM format.
    pub private_key: NamedFile,
}

/// The files of a section `[tls]`, as far as they are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate.
    pub certificate: Option<NamedFile>,
    /// The private key.
    pub private_key: Option<NamedFile>,
}

impl TlsFiles {
    pub(super) fn read(table: ConfigTable<'_>) -> TlsFiles {
        let certificate = table.required("certificate", |v| v.file());
        let private_key = table.required("private_key", |v| v.file());
        table.finish();
        TlsFiles { certificate, private_key }
    }

    /// The settings, if both files are named.
    pub(super) fn both(&self) -> Option<TlsSettings> {
        let (certificate, private_key) = (self.certificate.clone()?, self.private_key.clone()?);
        Some(TlsSettings { certificate, private_key })
    }
}

/// The section `[auth]`: the decision, its cache, and password hashing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// The bcrypt cost, 4 to 15. Each step doubles the work of a check.
    pub bcrypt_cost: u32,
    /// The largest number of verified principals in the cache.
    pub cache_capacity: u64,
    /// The age after which a cached principal's row is read again, even if no change is known.
    pub cache_ttl: Duration,
    /// The number of hashing threads; 0 for one less than the cores, see [`AuthSettings::hash_threads_on`].
    pub hash_threads: usize,
    /// The largest number of password checks that wait for such a thread, at least 1.
    pub hash_queue: usize,
    /// True if failures are followed by growing delays.
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

    /// Returns the number of hashing threads on a machine with `cores` cores; at least 1.
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

/// The section `[ops]`: metrics and health checks, never on a public listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpsSettings {
    /// The only address.
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
