//! The composition root: a configuration becomes a running gateway, is reloaded, and stops.

mod reload;
mod workers;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::tls::Acceptor;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::{Config, HttpEntry, LogFormat, LogSettings};
use crate::domain::Entry;
use crate::edge::certificate::{Certificate, CertificateError};
use crate::edge::gauge::Gauge;
use crate::edge::listener::{self, BindError};
use crate::edge::ops::OpsServer;
use crate::edge::site::{Plan, PlanError, Site};
use crate::edge::smtp::backends::{Backends, SetupError};
use crate::edge::smtp::entry::Entry as MailEntry;
use crate::service::access::Access;
use crate::service::{Accounts, Credentials, Mutations, Origin};
use crate::state::fleet::Fleet;
use crate::state::store::{Store, StoreError};
use crate::state::{Epochs, Hasher, Metrics};

pub use reload::Source;
use workers::{Listening, MailListening, Workers};

/// How long a start waits to see what mail backends can do.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Why the gateway doesn't start; one line each.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Mail(#[from] SetupError),
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
    #[error("server.threads: {0}")]
    Threads(std::io::Error),
    #[error("auth.hash_threads: {0}")]
    HashThreads(std::io::Error),
    #[error("no random numbers from the system: {0}")]
    Random(std::io::Error),
}

/// A gateway whose listeners are open.
pub struct Gateway {
    config: Config,
    sites: Vec<Arc<Site>>,
    mail: Option<Arc<MailEntry>>,
    certificate: Option<Arc<Certificate>>,
    workers: Workers,
    ops: Option<(OpsServer, TcpListener)>,
    addresses: Vec<(&'static str, SocketAddr)>,
    stop: watch::Sender<bool>,
    mutations: Mutations,
}

impl Gateway {
    /// Opens the store and all listeners. Needs a tokio runtime that lives as long as the gateway.
    ///
    /// # Errors
    /// Whatever keeps it from starting; nothing is listening then.
    pub async fn start(config: Config) -> Result<Gateway, StartError> {
        allow_descriptors();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.server.threads_on(cores);
        let (stop, stopped) = watch::channel(false);

        let mut addresses = Vec::new();
        let mut bind = |key, address| {
            let listener = listener::bind(key, address)?;
            addresses.push((key, listener.local_addr().unwrap_or(address)));
            Ok::<_, BindError>(listener)
        };
        let entries: Vec<HttpEntry> = config.api.iter().chain(&config.web).cloned().collect();
        let mut sockets = Vec::new();
        for settings in &entries {
            let (clear_key, tls_key) = listener_keys(settings.entry);
            let clear = settings.listen.iter().map(|a| bind(clear_key, *a)).collect::<Result<Vec<_>, _>>()?;
            let tls = settings.tls_listen.iter().map(|a| bind(tls_key, *a)).collect::<Result<Vec<_>, _>>()?;
            sockets.push((clear, tls));
        }
        let mut mail_sockets = Vec::new();
        for (implicit_tls, key, addresses) in config.smtp.iter().flat_map(|smtp| {
            [(false, "smtp.listen", &smtp.listen), (true, "smtp.tls_listen", &smtp.tls_listen)]
        }) {
            for address in addresses {
                mail_sockets.push((implicit_tls, bind(key, *address)?));
            }
        }
        let ops_listener = config.ops.as_ref().map(|ops| bind("ops.listen", ops.listen)).transpose()?;

        let certificate = match &config.tls {
            Some(tls) => Some(Certificate::load(&tls.certificate, &tls.private_key)?),
            None => None,
        };
        let acceptor = match &certificate {
            Some(certificate) => Some(Arc::new(Acceptor::from_server_config(certificate.server_config()?))),
            None => None,
        };

        let metrics = Arc::new(Metrics::new());
        let epochs = Arc::new(Epochs::new());
        let store = Store::open(&config.store).await?;
        let fleet = Arc::new(Fleet::join(&store, epochs.clone()).await?);
        let hash_threads = config.auth.hash_threads_on(cores);
        let hasher =
            Hasher::start(config.auth.bcrypt_cost, hash_threads, config.auth.hash_queue, metrics.clone());
        let hasher = Arc::new(hasher.map_err(StartError::HashThreads)?);
        let access =
            Access::new(store.clone(), hasher.clone(), epochs.clone(), metrics.clone(), &config.auth);
        let access = Arc::new(access.map_err(StartError::Random)?);
        let mutations = Mutations::new(store, hasher, epochs, fleet, metrics.clone());

        let open = Gauge::new(config.server.max_connections);
        let mut sites = Vec::new();
        let mut listening = Vec::new();
        for (settings, (clear, tls)) in entries.iter().zip(sockets) {
            let plan = Plan::new(settings, &config.server.trusted_proxies, threads, &metrics)?;
            plan.resolve().await;
            let manages = (settings.entry == Entry::Api).then(|| Credentials::new(mutations.clone()));
            let site = Site::new(settings.entry, access.clone(), manages, metrics.clone(), plan);
            listening.extend(clear.into_iter().map(|l| Listening {
                socket: l,
                tls: None,
                site: site.clone(),
            }));
            listening.extend(tls.into_iter().map(|l| Listening {
                socket: l,
                tls: acceptor.clone(),
                site: site.clone(),
            }));
            sites.push(site);
        }
        let mail = match &config.smtp {
            Some(smtp) => {
                let tls = certificate.as_ref().map(Certificate::mail_config).transpose()?;
                let trusted = &config.server.trusted_proxies;
                let mail = MailEntry::new(smtp, trusted, tls, threads, access.clone(), metrics.clone())?;
                // What is offered to the first client is what the backends can; one that isn't there yet is waited for no
                // longer than this.
                let _ = tokio::time::timeout(FIRST_LOOK, mail.backends.look()).await;
                Some(mail)
            }
            None => None,
        };
        let mail_listening: Vec<MailListening> = mail_sockets
            .into_iter()
            .zip(mail.iter().cycle())
            .map(|((implicit_tls, socket), entry)| MailListening {
                socket,
                implicit_tls,
                entry: entry.clone(),
            })
            .collect();
        let ops = ops_listener.map(|socket| {
            let server =
                OpsServer { access: access.clone(), metrics: metrics.clone(), stop: stopped.clone() };
            (server, socket)
        });
        let deadline = config.server.shutdown_deadline;
        let workers = Workers::start(threads, &listening, &mail_listening, &sites, &open, &stopped, deadline)
            .map_err(StartError::Threads)?;
        Ok(Gateway { config, sites, mail, certificate, workers, ops, addresses, stop, mutations })
    }

    /// Where it listens: the configuration's key and the address, with the port that 0 became.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// The first address that was opened for a configuration key.
    pub fn address_of(&self, key: &str) -> Option<SocketAddr> {
        self.addresses.iter().find(|(k, _)| *k == key).map(|(_, address)| *address)
    }

    /// The accounts in its store, for whoever runs it.
    pub fn accounts(&self) -> Accounts {
        Accounts::new(self.mutations.clone(), Origin::CommandLine)
    }

    /// The credentials in its store.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(self.mutations.clone())
    }

    /// Serves until SIGTERM or SIGINT; on SIGHUP rereads `source` and the certificate. Then stops accepting, waits for
    /// what is in flight for `server.shutdown_deadline` at most, and returns.
    ///
    /// # Errors
    /// Where the system gives no signal handlers.
    pub async fn run(mut self, source: Source) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        for site in &self.sites {
            tokio::spawn(site.clone().watch_health());
        }
        if let Some(mail) = &self.mail {
            tokio::spawn(mail.backends.clone().watch_health());
        }
        if let Some((server, socket)) = self.ops.take() {
            let serve = move |connection| server.clone().serve(connection);
            tokio::spawn(listener::accept(socket, None, Gauge::new(1000), self.stop.subscribe(), serve));
        }
        for (key, address) in &self.addresses {
            info!(listener = key, %address, "listening");
        }
        for warning in self.config.warnings() {
            warn!("{warning}");
        }
        let mut reloader = reload::Reloader::new(source, self.config.clone(), self.certificate.clone());
        let mut look = tokio::time::interval(Duration::from_secs(10));
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reloader.reload(&self.sites, self.workers.count()).await,
                _ = look.tick() => reloader.look_at_certificate(),
            }
        }
        let under_way = self.workers.requests();
        info!(under_way, "stopping");
        let _ = self.stop.send(true);
        let left = self.workers.join().await;
        if left > 0 {
            warn!(left, "the deadline passed: what was still under way is cut off");
        }
        info!("stopped");
        Ok(())
    }
}

/// What is wrong with a configuration that only shows outside of its file: a route's path, a certificate, a file of roots.
/// One line each; empty where it can be served.
pub fn check(config: &Config) -> Vec<String> {
    let metrics = Metrics::new();
    let mut wrong = Vec::new();
    for settings in config.api.iter().chain(&config.web) {
        let plan = Plan::new(settings, &config.server.trusted_proxies, 1, &metrics);
        wrong.extend(plan.err().map(|error| error.to_string()));
    }
    if let Some(smtp) = &config.smtp {
        wrong.extend(Backends::new(smtp, 1, &metrics).err().map(|error| error.to_string()));
    }
    if let Some(tls) = &config.tls {
        let certificate = Certificate::load(&tls.certificate, &tls.private_key);
        wrong.extend(certificate.err().map(|error| error.to_string()));
    }
    wrong
}

/// Raises the soft limit of open files to the hard one: a shell's 1,024 are fewer than `max_connections`.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it isn't allowed, accepting says so once there are too many.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The configuration's keys for listeners in clear and with TLS.
const fn listener_keys(entry: Entry) -> (&'static str, &'static str) {
    match entry {
        Entry::Api => ("api.listen", "api.tls_listen"),
        Entry::Web => ("web.listen", "web.tls_listen"),
        Entry::Smtp => ("smtp.listen", "smtp.tls_listen"),
    }
}

/// Sends the log to standard error, as the configuration wants it. Only the first call counts.
pub fn start_log(settings: &LogSettings) {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    let level = settings.level.as_str();
    let filter = EnvFilter::try_new(format!("{level},sqlx=warn,h2=warn,rustls=warn"));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let human = match settings.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let started = if human {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // A second gateway in one process, as in tests, logs where the first does.
    let _ = started;
}
