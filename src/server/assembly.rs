//! The parts of a running gateway, made from a configuration.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::tls::Acceptor;
use tokio::sync::watch;
use tracing::info;

use super::certificate_stamp::CertificateStamp;
use super::error::StartError;
use super::observed;
use super::prepared::Prepared;
use super::sockets::Sockets;
use super::workers::{Listening, MailListening, Workers};
use crate::config::{AllowedOrigin, Config, StoreUrl};
use crate::domain::Entry;
use crate::edge::http::console::endpoints::Endpoints;
use crate::edge::http::console::services::Console;
use crate::edge::http::server::PROTOCOLS;
use crate::edge::http::service::{EntryServices, HttpService};
use crate::edge::net::descriptors::{self, DescriptorLimits};
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::listener::AdmissionLimits;
use crate::edge::net::source_limit::SourceLimit;
use crate::edge::net::tls_certificate::TlsCertificate;
use crate::edge::ops::server::OpsServer;
use crate::edge::smtp::service::SmtpService;
use crate::service::access::Access;
use crate::service::{Credentials, Mutations, Sessions};
use crate::state::cluster::{self, Cluster};
use crate::state::store::Store;
use crate::state::{Epochs, Hasher, Metrics, clock};

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
    /// The listeners of the addresses whose port was chosen for 0.
    pub chosen: Vec<SocketAddr>,
    /// Turns true when no new work is accepted.
    pub stop: watch::Sender<bool>,
    /// Turns true when all work has ended.
    pub ended: watch::Sender<bool>,
    pub store: Store,
    pub access: Arc<Access>,
    pub cluster: Arc<Cluster>,
    pub mutations: Mutations,
    pub metrics: Arc<Metrics>,
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
    async fn open(
        config: &Config,
        cores: usize,
        metrics: Arc<Metrics>,
        epochs: Arc<Epochs>,
    ) -> Result<Core, StartError> {
        cluster::ask_running(&config.store).await?;
        let store = Store::open(&config.store).await?;
        store.log_faults();
        let cluster = Arc::new(Cluster::join(&store, &config.store, epochs.clone(), metrics.clone()).await?);
        let (auth, threads) = (&config.auth, config.auth.hash_threads_on(cores));
        let hasher = Hasher::start(auth.bcrypt_cost, threads, auth.hash_queue, metrics.clone());
        let hasher = Arc::new(hasher.map_err(StartError::HashThreads)?);
        let access = Access::new(store.clone(), hasher.clone(), epochs.clone(), metrics.clone(), auth);
        let access = Arc::new(access.map_err(StartError::Random)?);
        let mutations = Mutations::new(store.clone(), hasher, epochs, cluster.clone(), metrics.clone());
        let mutations = mutations.beside(&access);
        Ok(Core { metrics, store, cluster, access, mutations })
    }
}

impl Assembly {
    /// Opens the listeners and the store, in this order, and starts the workers.
    ///
    /// # Errors
    /// Everything that prevents the start. No listener is open then.
    pub async fn build(config: Config) -> Result<Assembly, StartError> {
        let epochs = match config.store.url {
            StoreUrl::Sqlite(_) => Epochs::new(),
            StoreUrl::Postgres(_) => Epochs::without_trust(),
        };
        Assembly::build_with(config, Arc::new(epochs)).await
    }

    /// The same with these epochs, and their trust.
    pub(super) async fn build_with(config: Config, epochs: Arc<Epochs>) -> Result<Assembly, StartError> {
        let raised = descriptors::raise_limit();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.server.threads_on(cores);
        let mut sockets = Sockets::bind(&config)?;
        let metrics = Arc::new(Metrics::of(&config));
        let certificate_stamp = config.tls.as_ref().map(CertificateStamp::of);
        let mut prepared = Prepared::for_start(&config, threads, &metrics).map_err(StartError::Unfit)?;
        info!(version = env!("CARGO_PKG_VERSION"), "starting");
        if let Some((before, after)) = raised {
            info!(before, after, "limit of open files raised");
        }
        let core = Core::open(&config, cores, metrics, epochs).await?;
        prepared.resolve().await;

        let certificate = prepared.certificate.take().map(TlsCertificate::new);
        let (stop, stopped) = watch::channel(false);
        let (ended, end) = watch::channel(false);
        let open = InFlight::new(config.server.max_connections);
        let (sites, listening) =
            sites(&config, &mut sockets, &mut prepared, certificate.as_ref(), &core, &open)?;
        let mail = mail(&config, certificate.as_ref(), threads, &core).await?;
        let mail_limits = AdmissionLimits::for_clients(&open, &core.metrics);
        let served =
            mail.iter().flat_map(|entry| entry.listeners.iter().map(move |listener| (entry, listener)));
        let mail_listening: Vec<MailListening> = std::mem::take(&mut sockets.mail)
            .into_iter()
            .zip(served)
            .map(|(socket, (entry, listener))| MailListening {
                socket,
                listener: listener.clone(),
                entry: entry.clone(),
                limits: mail_limits.clone(),
            })
            .collect();
        let Core { metrics, store, cluster, access, mutations } = core;
        let ops = sockets.ops.take().map(|socket| {
            let (access, metrics) = (access.clone(), metrics.clone());
            (OpsServer { access, metrics, stop: stopped.clone(), end }, socket)
        });
        let deadline = config.server.shutdown_deadline;
        let limits = DescriptorLimits::apply().map_err(StartError::Descriptors)?;
        let workers = Workers::start(threads, &listening, &mail_listening, &sites, &stopped, deadline)
            .map_err(StartError::Threads)?;
        observed::descriptors(&metrics, limits);
        observed::backends(&metrics, &sites, mail.as_ref());
        observed::connections(&metrics, &listening, &mail_listening);
        observed::certificate(&metrics, certificate.as_ref());
        let Sockets { addresses, chosen, .. } = sockets;
        Ok(Assembly {
            config,
            sites,
            mail,
            certificate,
            certificate_stamp,
            workers,
            ops,
            addresses,
            chosen,
            stop,
            ended,
            store,
            access,
            cluster,
            mutations,
            metrics,
        })
    }
}

fn sites(
    config: &Config,
    sockets: &mut Sockets,
    prepared: &mut Prepared,
    certificate: Option<&Arc<TlsCertificate>>,
    core: &Core,
    open: &Arc<InFlight>,
) -> Result<(Vec<Arc<HttpService>>, Vec<Listening>), StartError> {
    let tls = certificate.map(|certificate| certificate.server_config(&PROTOCOLS)).transpose()?;
    let acceptor = tls.map(|config| Arc::new(Acceptor::from_server_config(config)));
    let (mut sites, mut listening) = (Vec::new(), Vec::new());
    let sources = SourceLimit::new(config.server.max_connections_per_source);
    let http = std::mem::take(&mut sockets.http);
    for (settings, bound) in config.http_entries().zip(http) {
        let entry = settings.entry;
        let Some(plan) = prepared.take_plan(entry) else { continue };
        let credentials = || Credentials::new(core.mutations.clone());
        let services = EntryServices {
            credentials: (entry == Entry::Api).then(credentials),
            sessions: matches!(entry, Entry::Web | Entry::Console)
                .then(|| Sessions::new(core.mutations.clone(), core.access.clone())),
            console: (entry == Entry::Console).then(|| console(config, &sockets.addresses, core)),
        };
        let (access, metrics) = (core.access.clone(), core.metrics.clone());
        let site = HttpService::new(entry, access, services, metrics, plan, sources.clone());
        let clear = bound.clear.into_iter().map(|socket| (socket, None));
        let tls = bound.tls.into_iter().map(|socket| (socket, acceptor.clone()));
        let limits = AdmissionLimits::for_clients(open, &core.metrics);
        let all = clear.chain(tls);
        listening.extend(all.map(|(socket, tls)| Listening {
            socket,
            tls,
            site: site.clone(),
            limits: limits.clone(),
        }));
        sites.push(site);
    }
    Ok((sites, listening))
}

/// The services of the console, which tells the addresses of the other entries.
fn console(config: &Config, addresses: &[(&'static str, SocketAddr)], core: &Core) -> Console {
    let pages = config.console.as_ref().and_then(|console| console.http.pages.as_ref());
    let origin = pages.and_then(|pages| pages.public_origin.as_ref());
    let host = pages.and_then(|pages| pages.host.as_deref()).or(origin.map(AllowedOrigin::host));
    Console {
        access: core.access.clone(),
        sessions: Sessions::new(core.mutations.clone(), core.access.clone()),
        credentials: Credentials::new(core.mutations.clone()),
        activity: core.access.activity().clone(),
        endpoints: Endpoints::of(config, addresses, host),
        tls_port: addresses.iter().find(|(key, _)| *key == "console.tls_listen").map(|(_, at)| at.port()),
        has_other_nodes: matches!(config.store.url, StoreUrl::Postgres(_)),
        started_at: clock::unix_time_at(clock::now()),
    }
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
