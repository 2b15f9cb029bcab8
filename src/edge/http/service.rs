//! One HTTP entry, as its workers share it, and the plan that a reload replaces: routes, backends, limits.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::task::JoinSet;

use super::proxy::upstream::{Group, UpstreamGauges};
use super::quota::Quota;
use super::request_id::RequestIds;
use super::router::Router;
use crate::config::{ConfigError, Forms, HttpEntry, Timeouts};
use crate::domain::Entry;
use crate::service::Credentials;
use crate::service::access::Access;
use crate::state::metrics::Metrics;

/// What a reload replaces as a whole: routes, groups, limits.
pub struct Plan {
    /// Which route a request takes.
    pub router: Router,
    /// The groups of backends, by the index that routes have.
    pub groups: Vec<Group>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What a body may cost that has to be read first.
    pub forms: Forms,
    /// Networks whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Plan {
    /// Makes the plan for so many workers.
    ///
    /// # Errors
    /// Each group whose file of roots can't be used.
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
            match Group::new(group, workers, idle, settings.upstream_keepalive, &gauges) {
                Ok(group) => groups.push(group),
                Err(error) => wrong.push(error),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let router = Router::new(settings);
        let (timeouts, forms) = (settings.timeouts.clone(), settings.forms.clone());
        Ok(Plan { router, groups, timeouts, forms, trusted_proxies: trusted_proxies.to_vec() })
    }

    /// Looks up the names of all backends, so that the first request finds them; what takes longer than 5 s is left to
    /// the health checks.
    pub async fn resolve(&self) {
        let lookups = self.groups.iter().flat_map(Group::servers).map(|server| server.resolve());
        let all = async {
            for lookup in lookups {
                lookup.await;
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), all).await;
    }

    /// Closes connections that `worker` kept for too long.
    pub fn sweep(&self, worker: usize) {
        self.groups.iter().flat_map(Group::servers).for_each(|server| server.sweep(worker));
    }
}

/// One HTTP entry.
pub struct HttpService {
    /// Which one it is.
    pub entry: Entry,
    /// Who decides.
    pub access: Arc<Access>,
    /// Who manages credentials; on the API entry only.
    pub credentials: Option<Credentials>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Routes, groups, limits of the moment.
    pub plan: ArcSwap<Plan>,
    /// Room for forms that have to be read first.
    pub room: Arc<Quota>,
    /// The IDs of requests.
    pub ids: RequestIds,
}

impl HttpService {
    /// Puts an entry together.
    pub fn new(
        entry: Entry,
        access: Arc<Access>,
        credentials: Option<Credentials>,
        metrics: Arc<Metrics>,
        plan: Plan,
    ) -> Arc<HttpService> {
        Arc::new(HttpService {
            entry,
            access,
            credentials,
            metrics,
            plan: ArcSwap::from_pointee(plan),
            room: Arc::new(Quota::default()),
            ids: RequestIds::new(),
        })
    }

    /// Asks the backends whether they are up, each at its group's interval: one that lets itself be waited for keeps no
    /// other from being asked. Ends with the process.
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
            // The first one that sees another plan ends, and the rest with it.
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
