//! The group of all mail backends: their common capabilities, the choice of the next one, and connections to them.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::attempts::BackendAttempts;
use super::client::{BackendClient, BackendError};
use super::connect::{DialError, Dialer, RelayLogin};
use super::mail_backend::{MailBackend, NoConnection};
use super::pool::{self, Checkout, ConnectionFit, Pool, PooledConnection};
use crate::config::{ConfigError, NamedFile, SmtpEntry, SmtpLogin, SmtpScheme, SmtpTimeouts};
use crate::domain::Entry;
use crate::edge::net::tls_roots;
use crate::edge::smtp::hostname;
use crate::edge::smtp::submitter::Submitter;
use crate::state::file_access::{self, FileUse};
use crate::state::metrics::Metrics;
use crate::wire::smtp::Capabilities;
use crate::wire::smtp::extensions::{ServiceExtensions, XclientAttributes};
use crate::wire::smtp::xclient::{self, XclientCommand};

/// The longest wait of a transaction for a connection if all are in use (docs/operations.md, `smtp.upstream_connections`).
const QUEUE: Duration = Duration::from_secs(30);
/// The capabilities that are offered before a backend was seen.
const UNSEEN: Capabilities = Capabilities {
    size: None,
    pipelining: true,
    eight_bit_mime: true,
    smtp_utf8: true,
    chunking: false,
    dsn: true,
    enhanced_status_codes: false,
};
/// The default of [`BackendGroup::trusted_idle`].
const TRUSTED_IDLE: Duration = Duration::from_secs(10);

/// The reason why a transaction gets no backend connection.
#[derive(Debug, Error)]
pub enum NoBackend {
    /// The last failure: each backend cannot be reached, or refuses Gatepost.
    #[error("{0}")]
    Down(String),
    /// All connections stayed in use.
    #[error("all connections to the backends are in use")]
    Busy,
    /// The wait for a connection outlasted the trust in which the transaction was permitted.
    #[error("cut off from the database")]
    CutOff,
}

/// All mail backends, with the connections to them.
pub struct BackendGroup {
    backends: Vec<MailBackend>,
    next: AtomicUsize,
    xclient: bool,
    hostname: String,
    idle: Duration,
    /// The idle time after which a connection is tested before it is used. Shorter only in tests.
    pub(super) trusted_idle: Duration,
    /// The longest wait of a transaction for a connection. Shorter only in tests.
    pub(super) queue: Duration,
    interval: Duration,
    timeouts: SmtpTimeouts,
    /// Hashes the accounts that share the connections.
    accounts: RandomState,
    /// The capabilities that all backends have; `None` before one was seen.
    common: Mutex<Option<Capabilities>>,
}

/// A connection in use: the index of its backend, and whether it was used before.
pub(super) struct BackendConnection {
    pub(super) index: usize,
    pub(super) pooled: PooledConnection<BackendClient>,
    pub(super) reused: bool,
}

impl BackendGroup {
    /// Sets the backends up for `workers` workers, without a connection yet.
    ///
    /// # Errors
    /// All that is wrong: the file with the CA roots or with the password is unusable, or a host name can't be verified by TLS.
    pub fn new(
        settings: &SmtpEntry,
        workers: usize,
        metrics: &Metrics,
    ) -> Result<Arc<BackendGroup>, Vec<ConfigError>> {
        let (relay, mut wrong) = (&settings.relay, Vec::new());
        let hostname = hostname::of(settings);
        let connector = match relay.upstreams.iter().any(|upstream| upstream.scheme != SmtpScheme::Clear) {
            true => match tls_roots::client_config(relay.ca.as_ref().map(|file| file.path.as_path())) {
                Ok(config) => Some(TlsConnector::from(config)),
                Err(error) => {
                    wrong.push(error.at(relay.ca.as_ref(), &relay.place));
                    None
                }
            },
            false => None,
        };
        let login = relay.login.as_ref().map(read_login).transpose();
        let login = login.unwrap_or_else(|error| {
            wrong.push(error);
            None
        });
        let login = login.map(Arc::new);
        let mut backends = Vec::new();
        for upstream in &relay.upstreams {
            let tls = match &connector {
                Some(connector) if upstream.scheme != SmtpScheme::Clear => {
                    let name = relay.server_name.as_ref().unwrap_or(&upstream.host);
                    let Ok(verified) = ServerName::try_from(name.clone()) else {
                        let reason = format!("'{name}' is not a valid TLS server name");
                        wrong.push(ConfigError::at(&relay.place, reason));
                        continue;
                    };
                    Some((connector.clone(), verified))
                }
                _ => None,
            };
            let dialer = Dialer {
                scheme: upstream.scheme,
                tls,
                login: login.clone(),
                hostname: hostname.clone(),
                timeouts: settings.timeouts.clone(),
            };
            let gauge = |state| metrics.upstream_connections(Entry::Smtp, state);
            let pool = Pool::new(workers, relay.connections, gauge("idle"), gauge("active"));
            backends.push(MailBackend::new(upstream, dialer, pool, relay.connect_timeout));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Arc::new(BackendGroup {
            backends,
            next: AtomicUsize::new(0),
            xclient: settings.identity.xclient,
            hostname,
            idle: relay.idle,
            trusted_idle: TRUSTED_IDLE,
            queue: QUEUE,
            interval: relay.health_interval,
            timeouts: settings.timeouts.clone(),
            accounts: RandomState::new(),
            common: Mutex::new(None),
        }))
    }

    /// The capabilities of every backend that may get the next message. Before a backend was seen, those that a client could
    /// not do without: a message that needs them must not be refused for good.
    pub fn capabilities(&self) -> Capabilities {
        self.common.lock().unwrap_or(UNSEEN)
    }

    /// Returns true once a backend was seen.
    pub fn has_seen_one(&self) -> bool {
        self.common.lock().is_some()
    }

    /// The configured timeouts.
    pub fn timeouts(&self) -> &SmtpTimeouts {
        &self.timeouts
    }

    /// Returns true if there is more than one backend.
    pub(super) fn are_several(&self) -> bool {
        self.backends.len() > 1
    }

    /// The backends: the URL, and true if it counts as up.
    pub fn states(&self) -> Vec<(String, bool)> {
        self.backends.iter().map(|backend| (backend.name().to_owned(), backend.is_up())).collect()
    }

    /// Checks the backends for as long as the gateway runs, and closes connections that were idle for too long.
    pub async fn watch_health(self: Arc<Self>) {
        let mut tick = tokio::time::interval(self.interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.check_all().await;
        }
    }

    /// Checks all backends once.
    pub async fn check_all(self: &Arc<Self>) {
        let checks: Vec<_> = (0..self.backends.len())
            .map(|index| {
                let this = self.clone();
                tokio::spawn(async move { this.check(index).await })
            })
            .collect();
        for check in checks {
            let _ = check.await;
        }
    }

    async fn check(self: &Arc<Self>, index: usize) {
        let backend = &self.backends[index];
        for pooled in backend.pool.sweep(|client| client.last_used().elapsed() >= self.idle) {
            pooled.connection.close();
        }
        backend.resolve().await;
        // A backend that has just replied needs no check.
        if backend.extensions().is_none() || !backend.was_seen_within(self.interval) {
            backend.probe().await;
        }
        self.combine();
        // In a task of its own: addresses that don't respond must not delay the checks of other backends.
        let this = self.clone();
        tokio::spawn(async move { this.backends[index].retry_failed().await });
    }

    /// Combines the capabilities of the backends that are up or, if none is, of all that ever were.
    fn combine(&self) {
        let of = |only_up: bool| {
            let counted = self.backends.iter().filter(|backend| !only_up || backend.is_up());
            counted.filter_map(|backend| Some(backend.extensions()?.capabilities)).reduce(Capabilities::both)
        };
        *self.common.lock() = of(true).or_else(|| of(false));
    }

    /// A connection that is ready for a transaction of `submitter`, to a backend that `attempts` does not exclude.
    ///
    /// # Errors
    /// No such backend is left, or no connection was free in time.
    pub(super) async fn connect(
        &self,
        worker: usize,
        submitter: &Submitter,
        attempts: &mut BackendAttempts,
    ) -> Result<BackendConnection, NoBackend> {
        loop {
            let (index, taken) = self.take(worker, submitter, attempts).await?;
            let backend = &self.backends[index];
            let taken = match taken {
                Checkout::Idle(mut pooled) => match self.is_usable(&mut pooled.connection, attempts).await {
                    true => Checkout::Idle(pooled),
                    // Replaced by a new one, since this transaction has waited for its turn.
                    false => pooled.into_permit(),
                },
                permit => permit,
            };
            let mut connection = match taken {
                Checkout::Idle(pooled) => BackendConnection { index, pooled, reused: true },
                Checkout::Permit(permit) => match Box::pin(backend.connect(permit)).await {
                    Ok(pooled) => {
                        self.combine();
                        BackendConnection { index, pooled, reused: false }
                    }
                    // The backend has other connections, one of which will be free.
                    Err(NoConnection::Full) => continue,
                    Err(NoConnection::Down(detail)) => {
                        attempts.note(index, false, detail);
                        continue;
                    }
                },
            };
            if !self.xclient {
                return Ok(connection);
            }
            match Box::pin(self.send_xclient(backend, &mut connection.pooled.connection, submitter)).await {
                Ok(()) => return Ok(connection),
                Err(error) => attempts.note(index, connection.reused, format!("{}: {error}", backend.name())),
            }
        }
    }

    /// Returns a connection to its pool for the next transaction.
    pub(super) fn give(&self, worker: usize, mut connection: BackendConnection) {
        let backend = &self.backends[connection.index];
        backend.note_alive();
        if connection.pooled.connection.is_worn() {
            connection.pooled.connection.close();
            return;
        }
        connection.pooled.connection.touch();
        backend.pool.give(worker, connection.pooled);
    }

    /// The URL of a backend.
    pub(super) fn name(&self, index: usize) -> &str {
        self.backends[index].name()
    }

    /// Takes from the backends that are up, or from all if none is, and that offer what is needed. The first one in turn that
    /// has a connection gives it. If none has, the one that has one first.
    async fn take(
        &self,
        worker: usize,
        submitter: &Submitter,
        attempts: &mut BackendAttempts,
    ) -> Result<(usize, Checkout<BackendClient>), NoBackend> {
        let count = self.backends.len();
        let start = if count == 1 { 0 } else { self.next.fetch_add(1, Ordering::Relaxed) };
        let (fresh, needs) = (attempts.fresh, attempts.needs);
        let will_do = |index: &usize| {
            // A single backend reports itself what it lacks.
            let covers = |extensions: ServiceExtensions| extensions.capabilities.cover(needs);
            !attempts.excludes(*index)
                && (count == 1 || self.backends[*index].extensions().is_none_or(covers))
        };
        let order = |up: bool| {
            let all = (0..count).map(move |step| start.wrapping_add(step) % count);
            all.filter(will_do).filter(move |index| self.backends[*index].is_up() == up)
        };
        let up = order(true).next().is_some();
        let owner = self.accounts.hash_one(submitter.account.as_str());
        let fit =
            |client: &BackendClient| if fresh { ConnectionFit::Never } else { self.fit(client, submitter) };
        for index in order(up) {
            if let Some(taken) = self.backends[index].pool.try_take(worker, owner, fit) {
                return Ok((index, taken));
            }
        }
        let pools: Vec<_> = order(up).map(|index| (index, &self.backends[index].pool)).collect();
        if pools.is_empty() {
            let detail = attempts.detail.clone();
            return Err(NoBackend::Down(
                detail.unwrap_or_else(|| BackendError::MissingExtension.to_string()),
            ));
        }
        Box::pin(pool::take_any(&pools, owner, attempts.patience(self.queue), fit))
            .await
            .ok_or(NoBackend::Busy)
    }

    /// The suitability of an idle connection for `submitter`. Postfix accepts XCLIENT only from trusted addresses, and so
    /// only once on a connection that XCLIENT gave another address. Such a connection serves only the same client again.
    fn fit(&self, client: &BackendClient, submitter: &Submitter) -> ConnectionFit {
        if !self.xclient || client.xclient_offered.is_none() {
            ConnectionFit::Good
        } else if client.xclient_sent == xclient_command(client, submitter, XclientAttributes::default()) {
            ConnectionFit::Best
        } else if client.xclient_sent.is_empty() || client.extensions.xclient.is_some() {
            ConnectionFit::Good
        } else {
            ConnectionFit::Never
        }
    }

    /// Tests whether an idle connection can be used. If one fails the test, no other one is tested for this transaction,
    /// because each test may take as long.
    async fn is_usable(&self, client: &mut BackendClient, attempts: &mut BackendAttempts) -> bool {
        let idle = client.last_used().elapsed();
        if idle >= self.idle || !client.is_quiet() {
            return false;
        }
        if idle < self.trusted_idle {
            return true;
        }
        let tested = Box::pin(timeout(TRUSTED_IDLE, client.exchange(&[b"RSET\r\n"]))).await;
        let is_alive = matches!(tested, Ok(Ok(reply)) if reply.is_acceptance());
        attempts.fresh |= !is_alive;
        is_alive
    }

    /// Sends XCLIENT if it is configured, the backend offers it, and the connection is not already this client's.
    async fn send_xclient(
        &self,
        backend: &MailBackend,
        client: &mut BackendClient,
        submitter: &Submitter,
    ) -> Result<(), DialError> {
        if client.xclient_offered.is_none() {
            return Ok(());
        }
        let mut withheld = XclientAttributes::default();
        let command = xclient_command(client, submitter, withheld);
        if client.xclient_sent == command {
            return Ok(());
        }
        let mut answer = client.exchange(&[&command]).await?;
        while !answer.is_positive() {
            let offered = client.xclient_offered.unwrap_or_default();
            let Some(more) = xclient::withhold_next(&answer, offered, withheld) else {
                return Err(DialError::Refused("XCLIENT", answer));
            };
            tracing::debug!(upstream = backend.name(), reply = %answer, "backend refused a value of XCLIENT");
            withheld = more;
            answer = client.exchange(&[&xclient_command(client, submitter, withheld)]).await?;
        }
        // XCLIENT restarts the session, and the name in EHLO now counts as the client's.
        let plain = !submitter.helo.is_empty() && submitter.helo.bytes().all(|b| b.is_ascii_graphic());
        let name = if plain { &submitter.helo } else { &self.hostname };
        match backend.dialer.hello(client, name).await {
            // The backend may not accept what the client calls itself.
            Err(DialError::Refused(_, reply)) if reply.is_permanent() && *name != self.hostname => {
                backend.dialer.hello(client, &self.hostname).await?;
            }
            greeted => greeted?,
        }
        client.xclient_sent = command;
        Ok(())
    }
}

/// The XCLIENT command for `submitter`, with the attributes that the backend offers and without those that are `withheld`.
fn xclient_command(client: &BackendClient, submitter: &Submitter, withheld: XclientAttributes) -> Vec<u8> {
    let command = XclientCommand {
        login: submitter.user.as_str(),
        address: submitter.address,
        helo: &submitter.helo,
        esmtp: submitter.esmtp,
    };
    command.command(client.xclient_offered.unwrap_or_default(), withheld)
}

fn read_login(login: &SmtpLogin) -> Result<RelayLogin, ConfigError> {
    let NamedFile { path, place } = &login.password_file;
    let wrong = |reason: String| ConfigError::at(place, format!("{}: {reason}", path.display()));
    let text =
        Zeroizing::new(file_access::open_regular(path).and_then(io::read_to_string).map_err(|error| {
            wrong(match error.kind() {
                io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
                _ => file_access::explain(path, FileUse::Read, &error),
            })
        })?);
    match text.lines().next() {
        None | Some("") => Err(wrong("the first line is empty".into())),
        Some(line) if line.contains('\0') => Err(wrong("a password must not contain a NUL".into())),
        Some(line) => Ok(RelayLogin { user: login.user.clone(), password: Zeroizing::new(line.to_owned()) }),
    }
}
