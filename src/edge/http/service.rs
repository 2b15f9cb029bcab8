//! An HTTP entry, as its workers share it, and the plan that a reload replaces: routes, backends, limits.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::task::JoinSet;

use super::console::services::Console;
use super::pages::site::PageSite;
use super::proxy::upstream::{Server, UpstreamGauges, UpstreamGroup};
use super::quota::Quota;
use super::router::Router;
use crate::config::{AllowedOrigin, ConfigError, CredentialPlaces, Forms, GateSettings, HttpEntry, Timeouts};
use crate::domain::Entry;
use crate::edge::net::refusal_log::RefusalLog;
use crate::edge::net::request_ids::RequestIds;
use crate::edge::net::source_limit::{CountedConnection, SourceLimit};
use crate::service::access::Access;
use crate::service::{Credentials, Sessions};
use crate::state::metrics::{ConnectionLimit, Metrics};

/// The part of an entry that a reload replaces as a whole: routes, groups, limits.
pub struct Plan {
    /// The choice of routes.
    pub router: Router,
    /// The groups of backends, by the index that routes have.
    pub groups: Vec<UpstreamGroup>,
    /// The time limits.
    pub timeouts: Timeouts,
    /// The limits for forms that are read for their credential.
    pub forms: Forms,
    /// The origins of pages of other sites that may call the entry.
    pub cors_origins: Vec<AllowedOrigin>,
    /// The networks whose `X-Forwarded-*` fields are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The rules of the gate; on the web entry only.
    pub gate: Option<GateSettings>,
    /// Gatepost's own pages; on the web entry and the console.
    pub pages: Option<PageSite>,
}

impl Plan {
    /// Makes the plan for that many workers.
    ///
    /// # Errors
    /// The groups whose root certificates can't be used, and the logo if it can't.
    pub fn new(
        settings: &HttpEntry,
        trusted_proxies: &[IpNet],
        workers: usize,
        metrics: &Metrics,
    ) -> Result<Plan, Vec<ConfigError>> {
        let gauges = UpstreamGauges::new(metrics, settings.entry);
        let (mut groups, mut wrong) = (Vec::new(), Vec::new());
        for group in &settings.groups {
            let idle = settings.upstream_idle_connections;
            match UpstreamGroup::new(group, workers, idle, settings.upstream_keepalive, &gauges) {
                Ok(group) => groups.push(group),
                Err(error) => wrong.push(error),
            }
        }
        let prefix = settings.gate.as_ref().map_or("", |gate| gate.prefix.as_str());
        let pages = settings.pages.as_ref().map(|pages| PageSite::new(prefix, pages)).transpose();
        let pages = pages.map_err(|error| wrong.push(error)).unwrap_or_default();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Plan {
            router: Router::new(settings),
            groups,
            timeouts: settings.timeouts.clone(),
            forms: settings.forms.clone(),
            cors_origins: settings.cors_origins.clone(),
            trusted_proxies: trusted_proxies.to_vec(),
            gate: settings.gate.clone(),
            pages,
        })
    }

    /// The places where a call of the management API may have its credential: those of the entry.
    pub fn places_of_management(&self) -> CredentialPlaces {
        self.groups.first().map_or(CredentialPlaces::of(Entry::Api), |group| group.settings().credentials)
    }

    /// Looks up the names of all backends before the first request. A name that takes longer than 5 s is left to the health checks.
    pub async fn resolve(&self) {
        let lookups = self.groups.iter().flat_map(UpstreamGroup::servers).map(|server| server.resolve());
        let all = async {
            for lookup in lookups {
                lookup.await;
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), all).await;
    }

    /// Closes connections that `worker` has kept for too long.
    pub fn sweep(&self, worker: usize) {
        self.groups.iter().flat_map(UpstreamGroup::servers).for_each(|server| server.sweep(worker));
    }
}

/// The services that an entry has besides the decision.
#[derive(Default)]
pub struct EntryServices {
    /// The management of credentials by the API; on the API entry only.
    pub credentials: Option<Credentials>,
    /// The sessions of browsers; on the web entry and the console.
    pub sessions: Option<Sessions>,
    /// The console, which answers every request of its entry.
    pub console: Option<Console>,
}

/// An HTTP entry.
pub struct HttpService {
    /// The entry's name.
    pub entry: Entry,
    /// The decision about credentials.
    pub access: Arc<Access>,
    /// The management of credentials; on the API entry only.
    pub credentials: Option<Credentials>,
    /// The sessions of browsers; on the web entry and the console.
    pub sessions: Option<Sessions>,
    /// The console, which answers every request of its entry.
    pub console: Option<Console>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The current plan.
    pub plan: ArcSwap<Plan>,
    /// The quota of requests without an accepted credential.
    pub room: Arc<Quota>,
    /// The connections of each source, over all HTTP entries.
    pub sources: Arc<SourceLimit>,
    /// The log of refusals.
    pub refusals: Arc<RefusalLog>,
    /// The request IDs.
    pub ids: Arc<RequestIds>,
}

impl HttpService {
    /// Makes an entry of its parts.
    pub fn new(
        entry: Entry,
        access: Arc<Access>,
        services: EntryServices,
        metrics: Arc<Metrics>,
        plan: Plan,
        sources: Arc<SourceLimit>,
    ) -> Arc<HttpService> {
        let refusals = Arc::new(RefusalLog::new(metrics.clone()));
        Arc::new(HttpService {
            entry,
            access,
            credentials: services.credentials,
            sessions: services.sessions,
            console: services.console,
            metrics,
            plan: ArcSwap::from_pointee(plan),
            room: Arc::new(Quota::default()),
            sources,
            refusals,
            ids: Arc::default(),
        })
    }

    /// Counts a connection of `address`; `None` if it has as many as one source may have. Trusted proxies have any number.
    pub fn count_connection(&self, address: IpAddr) -> Option<CountedConnection> {
        if self.plan.load().trusted_proxies.iter().any(|net| net.contains(&address)) {
            return Some(CountedConnection::exempt());
        }
        let counted = self.sources.enter(address);
        if counted.is_none() {
            self.metrics.connection_refused(self.entry, ConnectionLimit::Source);
        }
        counted
    }

    /// The backends of the current plan: the name of the group, the URL, and true if it counts as up.
    pub fn backends(&self) -> Vec<(String, String, bool)> {
        let plan = self.plan.load();
        let of_group = |group: &UpstreamGroup| -> Vec<_> {
            let of = |server: &Server| (group.name().to_owned(), server.name().to_owned(), server.is_up());
            group.servers().iter().map(of).collect()
        };
        plan.groups.iter().flat_map(of_group).collect()
    }

    /// Checks the backends, each at its group's interval. A slow backend delays no other check. Ends with the process.
    pub async fn watch_health(self: Arc<HttpService>) {
        loop {
            let plan = self.plan.load_full();
            let mut watches = JoinSet::new();
            for (group, servers) in plan.groups.iter().map(|group| group.servers().len()).enumerate() {
                for server in 0..servers {
                    watches.spawn(self.clone().watch(plan.clone(), group, server));
                }
            }
            drop(plan);
            // The first check that sees another plan ends, and the others with it.
            if watches.join_next().await.is_none() {
                return;
            }
        }
    }

    /// Checks one backend until there is another plan. The interval is measured from the beginning of a check.
    async fn watch(self: Arc<HttpService>, plan: Arc<Plan>, group: usize, server: usize) {
        let group = &plan.groups[group];
        let mut checks = group.checks(server);
        while Arc::ptr_eq(&plan, &self.plan.load()) {
            let next_at = tokio::time::Instant::now() + group.settings().health_interval;
            checks.round().await;
            let _ = tokio::time::timeout_at(next_at, checks.continue_slow()).await;
        }
    }
}
