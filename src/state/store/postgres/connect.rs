//! Connecting to the servers of a URL: each in turn, without those in recovery, each step within a bounded time.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;

use super::faults;
use crate::config::{PostgresHost, PostgresUrl, SslMode, StoreSettings, StoreUrl};
use crate::state::file_access::{self, FileUse};
use crate::state::store::StoreError;

/// The most bytes of a password file.
const LONGEST_PASSWORD: u64 = 4096;
/// The name of the connections in `pg_stat_activity`.
const APPLICATION: &str = "gatepost";
/// The server ends a connection whose client was silent for 10 s and does not answer three probes.
const KEEPALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];

/// The servers of a URL, and how to log in.
#[derive(Clone, Debug)]
pub(in crate::state) struct Servers {
    url: PostgresUrl,
    password_file: Option<PathBuf>,
    /// The index of the server that was the primary at the last connection.
    last: Arc<AtomicUsize>,
    /// True once a server has refused settings for the connection, as a pooler does.
    refuses_settings: Arc<AtomicBool>,
}

/// A server that takes changes, and the options that it accepts.
struct Primary {
    options: PgConnectOptions,
    connection: PgConnection,
}

/// The place of a server in its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerIndex(usize);

impl Servers {
    /// The servers of `url`, with the password of these settings.
    pub(super) fn of(url: &PostgresUrl, settings: &StoreSettings) -> Servers {
        let password_file = settings.password_file.as_ref().map(|file| file.path.clone());
        let (last, refuses_settings) = (Arc::default(), Arc::default());
        Servers { url: url.clone(), password_file, last, refuses_settings }
    }

    /// The servers of `store.url`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the store is not in PostgreSQL.
    pub(in crate::state) fn pooled(settings: &StoreSettings) -> Result<Servers, StoreError> {
        match &settings.url {
            StoreUrl::Postgres(url) => Ok(Servers::of(url, settings)),
            StoreUrl::Sqlite(_) => Err(elsewhere()),
        }
    }

    /// The servers of `store.direct_url`.
    ///
    /// # Errors
    /// As [`Servers::pooled`].
    pub(in crate::state) fn direct(settings: &StoreSettings) -> Result<Servers, StoreError> {
        Ok(Servers::of(settings.direct().ok_or_else(elsewhere)?, settings))
    }

    /// Connects to the primary: first to the server that was it last, then to the others in their order. Takes `patience` at most for
    /// each server.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with the reason of each server, and [`StoreError::Open`] if one of them will refuse it as long as its
    /// configuration is the same.
    pub(in crate::state) async fn connect(&self, patience: Duration) -> Result<PgConnection, StoreError> {
        self.connect_to(patience).await.map(|(connection, _)| connection)
    }

    /// Does the same, and tells the server.
    ///
    /// # Errors
    /// As [`Servers::connect`].
    pub(super) async fn connect_to(
        &self,
        patience: Duration,
    ) -> Result<(PgConnection, ServerIndex), StoreError> {
        let (primary, server) = self.find_primary(self.last.load(Ordering::Relaxed), patience).await?;
        Ok((primary.connection, server))
    }

    /// Opens a connection that receives notifications, and another one. They are never opened again silently: once the first is lost, every
    /// use of the listener fails within `step`, which is also the longest time for each step here.
    ///
    /// # Errors
    /// As [`Servers::connect`].
    pub(in crate::state) async fn listen(
        &self,
        step: Duration,
    ) -> Result<(PgListener, PgConnection), StoreError> {
        let first = self.last.load(Ordering::Relaxed);
        let (Primary { options, connection }, _) = self.find_primary(first, step).await?;
        let was_opened = AtomicBool::new(false);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(step)
            .after_connect(move |_, _| {
                let is_second = was_opened.swap(true, Ordering::Relaxed);
                Box::pin(async move {
                    match is_second {
                        true => Err(sqlx::Error::Protocol("the connection was lost".to_owned())),
                        false => Ok(()),
                    }
                })
            })
            .connect_lazy_with(options);
        let opened = timeout(step, PgListener::connect_with(&pool)).await;
        let mut listener = opened
            .map_err(|_| StoreError::Unavailable(format!("no answer within {step:?}")))?
            .map_err(|error| StoreError::Unavailable(faults::in_words(&error)))?;
        listener.eager_reconnect(false);
        Ok((listener, connection))
    }

    /// Begins with the next server at the next connection: the last one may be a primary that the others have left.
    pub(in crate::state) fn skip(&self) {
        self.last.fetch_add(1, Ordering::Relaxed);
    }

    /// Does the same if the last connection was to this server: of all users that leave it, one is enough.
    pub(super) fn leave(&self, server: ServerIndex) {
        let (left, next) = (server.0, server.0 + 1);
        let _ = self.last.compare_exchange(left, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The number of servers.
    pub(super) fn count(&self) -> usize {
        self.url.hosts.len()
    }

    async fn find_primary(
        &self,
        first: usize,
        patience: Duration,
    ) -> Result<(Primary, ServerIndex), StoreError> {
        let password = self.password().await.map_err(StoreError::Unavailable)?;
        let (mut reasons, mut is_final) = (Vec::new(), false);
        for nth in 0..self.count() {
            let index = (first + nth) % self.count();
            let host = &self.url.hosts[index];
            let options = self.options(host, password.as_deref());
            match timeout(patience, log_in(options, &self.refuses_settings)).await {
                Ok(Ok(primary)) => {
                    self.last.store(index, Ordering::Relaxed);
                    return Ok((primary, ServerIndex(index)));
                }
                Ok(Err(fault)) => {
                    is_final |= fault.is_final;
                    reasons.push(format!("{host}: {}", fault.reason));
                }
                Err(_) => reasons.push(format!("{host}: no answer within {patience:?}")),
            }
        }
        let detail = reasons.join("; ");
        match is_final {
            true => Err(StoreError::Open { path: self.url.to_string(), detail }),
            false => Err(StoreError::Unavailable(detail)),
        }
    }

    fn options(&self, host: &PostgresHost, password: Option<&str>) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass()
            .username(&self.url.user)
            .database(&self.url.database)
            .application_name(APPLICATION)
            // A pooler of transactions accepts no such setting, and has no memory for prepared statements.
            .extra_float_digits(None)
            .statement_cache_capacity(0)
            .ssl_mode(match self.url.ssl_mode(host) {
                SslMode::Disable => PgSslMode::Disable,
                SslMode::Prefer => PgSslMode::Prefer,
                SslMode::Require => PgSslMode::Require,
                SslMode::VerifyCa => PgSslMode::VerifyCa,
                SslMode::VerifyFull => PgSslMode::VerifyFull,
            })
            .disable_statement_logging();
        let options = match host {
            PostgresHost::Tcp(name, port) => options.host(name).port(*port),
            PostgresHost::Socket(directory, port) => options.socket(directory).port(*port),
        };
        let options = match &self.url.sslrootcert {
            Some(file) => options.ssl_root_cert(file),
            None => options,
        };
        match password {
            Some(password) => options.password(password),
            None => options,
        }
    }

    /// Reads the password, which may be another one by now.
    async fn password(&self) -> Result<Option<String>, String> {
        let Some(path) = self.password_file.clone() else {
            return Ok(self.url.password.as_ref().map(|password| password.expose().to_owned()));
        };
        let shown = format!("store.password_file: {}", path.display());
        let read = tokio::task::spawn_blocking(move || read_password(&path)).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        read.map(Some).map_err(|reason| format!("{shown}: {reason}"))
    }
}

/// Checks that a password can be read from a file.
///
/// # Errors
/// The text for the operator, without the path and the content.
pub fn check_password(path: &Path) -> Result<(), String> {
    read_password(path).map(drop)
}

/// Reads the first line of a password file.
fn read_password(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = file_access::open_regular(path)
        .and_then(|file| file.take(LONGEST_PASSWORD).read_to_string(&mut text));
    read.map_err(|error| file_access::explain(path, FileUse::Read, &error))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err("its first line is empty, expected the password".to_owned()),
    }
}

/// The reason for which a server cannot be used.
struct LoginFault {
    reason: String,
    /// True if the server was reached, and refuses the login as such.
    is_final: bool,
}

impl From<sqlx::Error> for LoginFault {
    fn from(error: sqlx::Error) -> LoginFault {
        LoginFault { reason: faults::in_words(&error), is_final: faults::is_refused_login(&error) }
    }
}

/// Logs in to a server that takes changes.
async fn log_in(options: PgConnectOptions, refuses_settings: &AtomicBool) -> Result<Primary, LoginFault> {
    let with_keepalive = match refuses_settings.load(Ordering::Relaxed) {
        true => options.clone(),
        false => options.clone().options(KEEPALIVE),
    };
    let (options, connected) = match with_keepalive.connect().await {
        Err(error) if faults::is_unsupported_setting(&error) => {
            refuses_settings.store(true, Ordering::Relaxed);
            let connected = options.connect().await;
            (options, connected)
        }
        connected => (with_keepalive, connected),
    };
    let mut connection = connected?;
    // As text, without a prepared statement.
    let row = sqlx::raw_sql("SELECT pg_is_in_recovery()").fetch_one(&mut connection).await?;
    match sqlx::Row::try_get::<bool, _>(&row, 0)? {
        false => Ok(Primary { options, connection }),
        true => Err(LoginFault { reason: "it is in recovery, not the primary".to_owned(), is_final: false }),
    }
}

fn elsewhere() -> StoreError {
    StoreError::Unavailable("the store is not in PostgreSQL".to_owned())
}
