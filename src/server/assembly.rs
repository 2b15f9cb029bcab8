//! The parts of a running gateway, made from a configuration.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::tls::Acceptor;
use tokio::sync::watch;
use tracing::info;

use super::certificate_stamp::CertificateStamp;
use super::error::StartError;
use super::prepared::Prepared;
use super::sockets::Sockets;
use super::workers::{Listening, MailListening, Workers};
use crate::config::Config;
use crate::domain::Entry;
use crate::edge::http::server::PROTOCOLS;
use crate::edge::http::service::HttpService;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::source_limit::SourceLimit;
use crate::edge::net::tls_certificate::TlsCertificate;
use crate::edge::ops::server::OpsServer;
use crate::edge::smtp::service::SmtpService;
use crate::service::access::Access;
use crate::service::{Credentials, Mutations};
use crate::state::cluster::{self, Cluster};
use crate::state::store::Store;
use crate::state::{Epochs, Hasher, Metrics};

/// The longest wait at the start for the capabilities of mail backends.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The running parts, and the signals that end them.
pub struct Assembly {
    pub config: Config,
    pub sites: Vec<Arc<HttpService>>,
    pub mail: Option<Arc<SmtpService>>,
    pub certificate: Option<Arc<TlsCertificate>>,
    /// The state of the certificate's files from before they were read.
    pub certificate_stamp: Option<CertificateStamp>,
    pub workers: Workers,
    pub ops: Option<(OpsServer, TcpListener)>,
    pub addresses: Vec<(&'static str, SocketAddr)>,
    /// Turns true when no new work is accepted.
    pub stop: watch::Sender<bool>,
    /// Turns true when all work has ended.
    pub ended: watch::Sender<bool>,
    pub store: Store,
    pub access: Arc<Access>,
    pub cluster: Arc<Cluster>,
    pub mutations: Mutations,
}

/// The services over the open store: decisions and changes.
struct Core {
    metrics: Arc<Metrics>,
    store: Store,
    cluster: Arc<Cluster>,
    access: Arc<Access>,
    mutations: Mutations,
}

impl Core {
    async fn open(config: &Config, cores: usize, metrics: Arc<Metrics>) -> Result<Core, StartError> {
        let epochs = Arc::new(Epochs::new());
        cluster::ask_running(&config.store).await?;
        let store = Store::open(&config.store).await?;
        store.log_faults();
        let cluster = Arc::new(Cluster::join(&store, epochs.clone()).await?);
        let (auth, threads) = (&config.auth, config.auth.hash_threads_on(cores));
        let hasher = Hasher::start(auth.bcrypt_cost, threads, auth.hash_queue, metrics.clone());
        let hasher = Arc::new(hasher.map_err(StartError::HashThreads)?);
        let access = Access::new(store.clone(), hasher.clone(), epochs.clone(), metrics.clone(), auth);
        let access = Arc::new(access.map_err(StartError::Random)?);
        let mutations = Mutations::new(store.clone(), hasher, epochs, cluster.clone(), metrics.clone());
        Ok(Core { metrics, store, cluster, access, mutations })
    }
}

impl Assembly {
    /// Opens the listeners and the store, in this order, and starts the workers.
    ///
    /// # Errors
    /// Everything that prevents the start. No listener is open then.
    pub async fn build(config: Config) -> Result<Assembly, StartError> {
        allow_descriptors();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.server.threads_on(cores);
        let mut sockets = Sockets::bind(&config)?;
        let metrics = Arc::new(Metrics::new());
        let certificate_stamp = config.tls.as_ref().map(CertificateStamp::of);
        let mut prepared = Prepared::for_start(&config, threads, &metrics).map_err(StartError::Unfit)?;
        info!(version = env!("CARGO_PKG_VERSION"), "starting");
        let core = Core::open(&config, cores, metrics).await?;
        prepared.resolve().await;

        let certificate = prepared.certificate.take().map(TlsCertificate::new);
        let (stop, stopped) = watch::channel(false);
        let (ended, end) = watch::channel(false);
        let (sites, listening) = sites(&config, &mut sockets, &mut prepared, certificate.as_ref(), &core)?;
        let mail = mail(&config, certificate.as_ref(), threads, &core).await?;
        let served =
            mail.iter().flat_map(|entry| entry.listeners.iter().map(move |listener| (entry, listener)));
        let mail_listening: Vec<MailListening> = std::mem::take(&mut sockets.mail)
            .into_iter()
            .zip(served)
            .map(|(socket, (entry, listener))| MailListening {
                socket,
                listener: listener.clone(),
                entry: entry.clone(),
            })
            .collect();
        let Core { metrics, store, cluster, access, mutations } = core;
        let ops = sockets.ops.map(|socket| {
            (OpsServer { access: access.clone(), metrics, stop: stopped.clone(), end }, socket)
        });
        let open = InFlight::new(config.server.max_connections);
        let deadline = config.server.shutdown_deadline;
        let workers = Workers::start(threads, &listening, &mail_listening, &sites, &open, &stopped, deadline)
            .map_err(StartError::Threads)?;
        let addresses = sockets.addresses;
        Ok(Assembly {
            config,
            sites,
            mail,
            certificate,
            certificate_stamp,
            workers,
            ops,
            addresses,
            stop,
            ended,
            store,
            access,
            cluster,
            mutations,
        })
    }
}

fn sites(
    config: &Config,
    sockets: &mut Sockets,
    prepared: &mut Prepared,
    certificate: Option<&Arc<TlsCertificate>>,
    core: &Core,
) -> Result<(Vec<Arc<HttpService>>, Vec<Listening>), StartError> {
    let tls = certificate.map(|certificate| certificate.server_config(&PROTOCOLS)).transpose()?;
    let acceptor = tls.map(|config| Arc::new(Acceptor::from_server_config(config)));
    let (mut sites, mut listening) = (Vec::new(), Vec::new());
    let sources = SourceLimit::new(config.server.max_connections_per_source);
    for (settings, sockets) in config.http_entries().zip(std::mem::take(&mut sockets.http)) {
        let entry = settings.entry;
        let Some(plan) = prepared.take_plan(entry) else { continue };
        let manages = (entry == Entry::Api).then(|| Credentials::new(core.mutations.clone()));
        let (access, metrics) = (core.access.clone(), core.metrics.clone());
        let site = HttpService::new(entry, access, manages, metrics, plan, sources.clone());
        let clear = sockets.clear.into_iter().map(|socket| (socket, None));
        let tls = sockets.tls.into_iter().map(|socket| (socket, acceptor.clone()));
        let all = clear.chain(tls);
        listening.extend(all.map(|(socket, tls)| Listening { socket, tls, site: site.clone() }));
        sites.push(site);
    }
    Ok((sites, listening))
}

async fn mail(
    config: &Config,
    certificate: Option<&Arc<TlsCertificate>>,
    threads: usize,
    core: &Core,
) -> Result<Option<Arc<SmtpService>>, StartError> {
    let Some(smtp) = &config.smtp else { return Ok(None) };
    let tls = certificate.map(|certificate| certificate.server_config(&[])).transpose()?;
    let trusted = &config.server.trusted_proxies;
    let mail = SmtpService::new(smtp, trusted, tls, threads, core.access.clone(), core.metrics.clone())
        .map_err(StartError::Unfit)?;
    // The first client is offered what the backends are capable of. A backend that does not answer yet is not waited for any
    // longer.
    let _ = tokio::time::timeout(FIRST_LOOK, mail.backends.check_all()).await;
    Ok(Some(mail))
}

/// Raises the soft limit of open files to the hard one. The 1,024 of a shell are fewer than `max_connections`.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // If that is not allowed, accepting a connection fails later, and that is logged.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
