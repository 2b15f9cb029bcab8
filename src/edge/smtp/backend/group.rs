//! The backends of the SMTP entry: what they can do, which one comes next, and connections to them.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::client::{BackendClient, BackendError};
use super::connect::{DialError, Dialer, RelayLogin};
use super::mail_backend::{MailBackend, NoConnection};
use super::pool::{self, Checkout, ConnectionFit, Pool, PooledConnection};
use crate::config::{ConfigError, NamedFile, SmtpEntry, SmtpLogin, SmtpScheme, SmtpTimeouts};
use crate::domain::Entry;
use crate::edge::net::tls_roots;
use crate::edge::smtp::hostname;
use crate::edge::smtp::submitter::{BackendAttempts, Submitter};
use crate::state::metrics::Metrics;
use crate::wire::smtp::Capabilities;
use crate::wire::smtp::client::ServiceExtensions;
use crate::wire::smtp::xclient::XclientCommand;

/// How long a transaction waits for a connection where all are in use (docs/operations.md, `smtp.upstream_connections`), but
/// for tests.
const QUEUE: Duration = Duration::from_secs(30);
/// What [`BackendGroup::trusted_idle`] is but for tests.
const TRUSTED_IDLE: Duration = Duration::from_secs(10);

/// Why there is no connection to a backend.
#[derive(Debug, Error)]
pub enum NoBackend {
    /// None can be reached, or none takes us; what the last one that was attempts did.
    #[error("{0}")]
    Down(String),
    /// All connections stayed in use.
    #[error("all connections to the backends are in use")]
    Busy,
}

/// All backends, with the connections to them.
pub struct BackendGroup {
    backends: Vec<MailBackend>,
    turn: AtomicUsize,
    xclient: bool,
    hostname: String,
    idle: Duration,
    /// After so long without use, a connection is asked whether it still works before it is used.
    pub(super) trusted_idle: Duration,
    /// How long a transaction waits in turn.
    pub(super) queue: Duration,
    interval: Duration,
    timeouts: SmtpTimeouts,
    /// Tells the accounts apart that share the connections.
    accounts: RandomState,
    common: Mutex<Capabilities>,
}

/// A connection in use: to which backend, and whether it was used before.
pub(super) struct BackendConnection {
    pub(super) index: usize,
    pub(super) pooled: PooledConnection<BackendClient>,
    pub(super) reused: bool,
}

impl BackendGroup {
    /// Sets them up for so many workers; connects to none yet.
    ///
    /// # Errors
    /// All of it: where the file with the roots or the one with the password can't be used, and names that can't stand in
    /// a certificate.
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
                        let reason = format!("'{name}' is no name that TLS can verify");
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
            turn: AtomicUsize::new(0),
            xclient: settings.identity.xclient,
            hostname,
            idle: relay.idle,
            trusted_idle: TRUSTED_IDLE,
            queue: QUEUE,
            interval: relay.health_interval,
            timeouts: settings.timeouts.clone(),
            accounts: RandomState::new(),
            common: Mutex::new(Capabilities::default()),
        }))
    }

    /// What every backend that may get the next message can do; nothing before the first health check.
    pub fn capabilities(&self) -> Capabilities {
        *self.common.lock()
    }

    /// How long things may take.
    pub fn timeouts(&self) -> &SmtpTimeouts {
        &self.timeouts
    }

    /// Returns true if there is more than one backend.
    pub(super) fn are_several(&self) -> bool {
        self.backends.len() > 1
    }

    /// Asks the backends how they are, for as long as the gateway runs, and closes what was idle for too long.
    pub async fn watch_health(self: Arc<Self>) {
        let mut tick = tokio::time::interval(self.interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look().await;
        }
    }

    /// Asks all of them once.
    pub async fn look(self: &Arc<Self>) {
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
        // One that has just answered needs no question.
        if backend.extensions().is_none() || !backend.was_seen_within(self.interval) {
            backend.probe().await;
        }
        self.combine();
        // Addresses that swallow all that is sent to them hold up no other backend's check.
        let this = self.clone();
        tokio::spawn(async move { this.backends[index].retry_failed().await });
    }

    /// Combines what those can do that are up, or, where none is, all that ever were.
    fn combine(&self) {
        let of = |only_up: bool| {
            let counted = self.backends.iter().filter(|backend| !only_up || backend.is_up());
            counted.filter_map(|backend| Some(backend.extensions()?.capabilities)).reduce(Capabilities::both)
        };
        *self.common.lock() = of(true).or_else(|| of(false)).unwrap_or_default();
    }

    /// A connection that is ready for a transaction of `who`; not to a backend that was attempts.
    ///
    /// # Errors
    /// Where there is no other backend, or none was free in time.
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
                    // A new one in its place: its turn was waited for.
                    false => pooled.into_permit(),
                },
                room => room,
            };
            let mut connection = match taken {
                Checkout::Idle(pooled) => BackendConnection { index, pooled, reused: true },
                Checkout::Permit(room) => match Box::pin(backend.connect(room)).await {
                    Ok(pooled) => {
                        self.combine();
                        BackendConnection { index, pooled, reused: false }
                    }
                    // There are others, of which one will be free.
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

    /// Puts a connection back for the next transaction.
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

    /// From the backends that are up, or else from any, that can do what is needed: the first in turn that has a connection to
    /// give; where none has, the one that has one first.
    async fn take(
        &self,
        worker: usize,
        submitter: &Submitter,
        attempts: &mut BackendAttempts,
    ) -> Result<(usize, Checkout<BackendClient>), NoBackend> {
        let count = self.backends.len();
        let start = if count == 1 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) };
        let (fresh, needs) = (attempts.fresh, attempts.needs);
        let will_do = |index: &usize| {
            // The only one says for itself what it can't do.
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

    /// How well a kept connection serves `who`. Postfix takes XCLIENT only from whom it believes to be trusted, and so, once
    /// it was told of another address, not a second time: such a connection is of use to the same client only.
    fn fit(&self, client: &BackendClient, submitter: &Submitter) -> ConnectionFit {
        if !self.xclient || client.xclient_offered.is_none() {
            ConnectionFit::Good
        } else if client.xclient_sent == self.xclient_command(client, submitter) {
            ConnectionFit::Best
        } else if client.xclient_sent.is_empty() || client.extensions.xclient.is_some() {
            ConnectionFit::Good
        } else {
            ConnectionFit::Never
        }
    }

    /// Whether a kept connection can be used for another transaction. Where one doesn't answer, no other one is asked: that may
    /// take as long each time.
    async fn is_usable(&self, client: &mut BackendClient, attempts: &mut BackendAttempts) -> bool {
        let idle = client.last_used().elapsed();
        if idle >= self.idle || !client.is_quiet() {
            return false;
        }
        if idle < self.trusted_idle {
            return true;
        }
        let asked = Box::pin(timeout(TRUSTED_IDLE, client.exchange(&[b"RSET\r\n"]))).await;
        let is_alive = matches!(asked, Ok(Ok(reply)) if reply.is_positive());
        attempts.fresh |= !is_alive;
        is_alive
    }

    /// Tells the backend who submits, where that is configured and it offers it; nothing where it knows that already.
    async fn send_xclient(
        &self,
        backend: &MailBackend,
        client: &mut BackendClient,
        submitter: &Submitter,
    ) -> Result<(), DialError> {
        if client.xclient_offered.is_none() {
            return Ok(());
        }
        let command = self.xclient_command(client, submitter);
        if client.xclient_sent == command {
            return Ok(());
        }
        let answer = client.exchange(&[&command]).await?;
        if !answer.is_positive() {
            return Err(DialError::Refused("XCLIENT", answer));
        }
        // The session starts over, and what we say in EHLO now counts as the client's.
        let plain = !submitter.helo.is_empty() && submitter.helo.bytes().all(|b| b.is_ascii_graphic());
        let name = if plain { &submitter.helo } else { &self.hostname };
        backend.dialer.hello(client, name).await?;
        client.xclient_sent = command;
        Ok(())
    }

    fn xclient_command(&self, client: &BackendClient, submitter: &Submitter) -> Vec<u8> {
        let xclient_sent = XclientCommand {
            login: submitter.user.as_str(),
            address: submitter.address,
            helo: &submitter.helo,
            esmtp: submitter.esmtp,
        };
        xclient_sent.command(client.xclient_offered.unwrap_or_default())
    }
}

fn read_login(login: &SmtpLogin) -> Result<RelayLogin, ConfigError> {
    let NamedFile { path, place } = &login.password_file;
    let wrong = |reason: String| ConfigError::at(place, format!("{}: {reason}", path.display()));
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?);
    match text.lines().next() {
        None | Some("") => Err(wrong("its first line is empty".into())),
        Some(line) if line.contains('\0') => Err(wrong("no password holds a NUL".into())),
        Some(line) => Ok(RelayLogin { user: login.user.clone(), password: Zeroizing::new(line.to_owned()) }),
    }
}
