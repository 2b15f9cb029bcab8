//! The metrics, under the names of docs/operations.md. No label ever holds what an attacker can multiply.
//!
//! Counts of every request are striped and summed at each scrape (`requests`). The rest are plain handles.

mod at_scrape;
mod handles;
mod labels;
mod log_lines;
mod node;
mod process;
mod requests;
mod scope;
mod striped;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::proto::MetricType;
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

use crate::config::Config;
use crate::domain::fleet::WaitReason;
use crate::domain::{Entry, Permission};
use at_scrape::AtScrape;
use handles::{Counters, Handle, handles, valid};
use requests::{Requests, RequestsCollector};

pub use at_scrape::Labelled;
pub use labels::{
    ConnectionLimit, DecisionOutcome, Label, Lookup, MessageOutcome, PasswordCheck, RecipientOutcome,
    ReloadOutcome, Reloaded, SmtpLimit, ThrottledBy,
};
pub use log_lines::LostLines;
pub use node::NodeGauges;
pub use scope::MetricsScope;

handles! {
    /// All metrics of one gateway, in a registry of its own.
    pub struct Metrics {
        /// The running version; always 1.
        build_info: IntGaugeVec = "gatepost_build_info" ["version"],
        /// Password checks that the cache couldn't answer.
        password_checks: Counters<PasswordCheck> = "gatepost_password_checks_total" ["outcome"],
        /// Time of one password check on its thread.
        pub password_check_seconds: Histogram = "gatepost_password_check_seconds"
            [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5],
        /// Password checks that wait for a thread.
        password_queue: IntGaugeVec = "gatepost_password_queue" ["lane"],
        /// Checks refused after too many failures.
        throttled: IntCounterVec = "gatepost_throttled_total" ["entry", "by"],
        /// Changes of credentials.
        mutations: IntCounterVec = "gatepost_mutations_total" ["action", "outcome"],
        /// From the commit of a revocation to its answer.
        pub revocation_seconds: Histogram = "gatepost_revocation_seconds"
            [0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
        /// Revocations by what their answer had to wait for.
        revocation_waits: Counters<WaitReason> = "gatepost_revocation_waits_total" ["why"],
        /// The lease in use. Trust lasts for nine tenths of it after each contact.
        pub lease_seconds: Gauge = "gatepost_lease_seconds" [],
        /// Decisions that were not made since this node may have missed a revocation.
        pub decisions_without_trust: IntCounter = "gatepost_decisions_without_trust_total" [],
        /// The timeline of PostgreSQL. A failover begins another one.
        pub database_timeline: IntGauge = "gatepost_database_timeline" [],
        /// Start of PostgreSQL, in seconds since 1970, by its own clock.
        pub database_start_time: IntGauge = "gatepost_database_start_time_seconds" [],
        /// Times that PostgreSQL had lost changes that it had committed before.
        pub database_went_back: IntCounter = "gatepost_database_went_back_total" [],
        /// The part of PostgreSQL's notify queue that is in use, from 0 to 1. Commits fail once it is full.
        pub notify_queue_ratio: Gauge = "gatepost_notify_queue_ratio" [],
        /// Open sessions and tunnels ended since their credential lost its right.
        sessions_cut: IntCounterVec = "gatepost_sessions_cut_total" ["entry"],
        /// Connections of clients that were refused at a limit.
        connections_refused: IntCounterVec = "gatepost_connections_refused_total" ["entry", "limit"],
        /// Connections that the system could not hand over.
        pub accept_errors: IntCounter = "gatepost_accept_errors_total" [],
        /// Reads and changes that the store could not do.
        pub store_errors: IntCounter = "gatepost_store_errors_total" [],
        /// Reloads of the configuration and of the certificate.
        reloads: IntCounterVec = "gatepost_reloads_total" ["part", "outcome"],
        /// 1 if the configuration in use is the last one that was to be loaded.
        pub config_last_reload_successful: IntGauge = "gatepost_config_last_reload_successful" [],
        /// Time of the last load of the configuration that succeeded, in seconds since 1970.
        pub config_last_reload_success: IntGauge = "gatepost_config_last_reload_success_timestamp_seconds" [],
        /// Settings that have changed in the file and take a restart.
        pub config_restart_needed: IntGauge = "gatepost_config_restart_needed" [],
        /// 1 if the certificate in use is the last one that was to be loaded.
        pub certificate_last_reload_successful: IntGauge = "gatepost_certificate_last_reload_successful" [],
        /// Connections to backends.
        upstream_connections: IntGaugeVec = "gatepost_upstream_connections" ["entry", "state"],
        /// Open SMTP sessions.
        pub smtp_sessions: IntGauge = "gatepost_smtp_sessions" [],
        /// Recipients that clients named, by the reply.
        smtp_recipients: Counters<RecipientOutcome> = "gatepost_smtp_recipients_total" ["outcome"],
        /// Messages that clients began to send, by how that ended.
        smtp_messages: Counters<MessageOutcome> = "gatepost_smtp_messages_total" ["outcome"],
        /// Clients that ran into a limit of the SMTP entry.
        smtp_limits: Counters<SmtpLimit> = "gatepost_smtp_limits_total" ["limit"],
        /// Bytes of messages that clients sent to the end or not.
        pub smtp_message_bytes: IntCounter = "gatepost_smtp_message_bytes_total" [],
        /// Lines about refusals that were left out, since there were too many of one source.
        pub refusal_lines_suppressed: IntCounter = "gatepost_refusal_lines_suppressed_total" [],
    } with {
        registry: Registry,
        requests: Arc<Requests>,
        node: Arc<NodeGauges>,
    }
}

/// The metrics that can move only with several nodes, besides those that are read at each scrape.
const OF_A_NODE: [&str; 6] = [
    "gatepost_lease_seconds",
    "gatepost_decisions_without_trust_total",
    "gatepost_database_timeline",
    "gatepost_database_start_time_seconds",
    "gatepost_database_went_back_total",
    "gatepost_notify_queue_ratio",
];

impl Metrics {
    /// Metrics of a gateway in which everything is configured, all at zero.
    pub fn new() -> Metrics {
        Metrics::in_scope(&MetricsScope::everything(), true)
    }

    /// Metrics of a gateway with this configuration, all at zero. Everything that can count there is shown from the start, since a
    /// series that appears with its first count has no rate; nothing else is.
    pub fn of(config: &Config) -> Metrics {
        Metrics::in_scope(&MetricsScope::of(config), config.tls.is_some())
    }

    fn in_scope(scope: &MetricsScope, has_certificate: bool) -> Metrics {
        let (registry, hidden) = (Registry::new(), Registry::new());
        let requests = Arc::new(Requests::new(scope));
        valid(registry.register(Box::new(RequestsCollector::new(Arc::clone(&requests)))));
        valid(registry.register(Box::new(LostLines::of_this_process().series())));
        process::register(&registry);
        let can_count = |name: &str| match name {
            "gatepost_revocation_seconds" | "gatepost_mutations_total" => scope.makes_changes(),
            "gatepost_certificate_last_reload_successful" => has_certificate,
            "gatepost_revocation_waits_total" => scope.is_node && scope.makes_changes(),
            name if OF_A_NODE.contains(&name) => scope.is_node,
            name => !name.starts_with("gatepost_smtp_") || scope.has(Entry::Smtp),
        };
        let place = |name: &str| if can_count(name) { &registry } else { &hidden };
        let node = NodeGauges::registered(if scope.is_node { &registry } else { &hidden });
        let metrics = Metrics::registered(place, registry.clone(), requests, node);
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for entry in &scope.entries {
            metrics.sessions_cut.with_label_values(&[entry.word()]);
            for limit in ConnectionLimit::WORDS {
                metrics.connections_refused.with_label_values(&[entry.word(), limit]);
            }
            for by in ThrottledBy::WORDS.iter().filter(|_| scope.throttles) {
                metrics.throttled.with_label_values(&[entry.word(), by]);
            }
        }
        for part in [Reloaded::Configuration, Reloaded::Certificate] {
            if has_certificate || part == Reloaded::Configuration {
                for outcome in ReloadOutcome::WORDS {
                    metrics.reloads.with_label_values(&[part.word(), outcome]);
                }
            }
        }
        metrics.config_last_reload_successful.set(1);
        metrics.config_last_reload_success.set(now());
        metrics.certificate_last_reload_successful.set(1);
        metrics
    }

    /// Shows the decisions that a reloaded configuration may lead to. What has counted stays.
    pub fn reconfigure(&self, config: &Config) {
        self.requests.expect(&MetricsScope::of(config));
    }

    /// Counts a decision; `None` for a management call, which needs the account holder and no permission.
    #[inline]
    pub fn decision(&self, entry: Entry, permission: Option<Permission>, outcome: DecisionOutcome) {
        self.requests.decision(entry, permission, outcome);
    }

    /// Counts a cache lookup.
    #[inline]
    pub fn lookup(&self, result: Lookup) {
        self.requests.lookup(result);
    }

    /// Counts an answered HTTP request and the time it took. A status outside 100 to 599 counts as the nearest of them.
    #[inline]
    pub fn http_request(&self, entry: Entry, status: u16, took: Duration) {
        self.requests.http_request(entry, status, took);
    }

    /// Counts a password check.
    pub fn password_check(&self, outcome: PasswordCheck) {
        self.password_checks.inc(outcome);
    }

    /// The number of password checks that ended so.
    pub fn password_checks(&self, outcome: PasswordCheck) -> u64 {
        self.password_checks.get(outcome)
    }

    /// The gauge of the password checks that wait in a lane. To be kept.
    pub fn password_queue(&self, lane: &'static str) -> IntGauge {
        self.password_queue.with_label_values(&[lane])
    }

    /// Counts a throttled check.
    pub fn throttled(&self, entry: Entry, by: ThrottledBy) {
        self.throttled.with_label_values(&[entry.word(), by.word()]).inc();
    }

    /// Returns true if one of these entries is configured.
    pub fn has_any(&self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| self.requests.has(*entry))
    }

    /// Shows the mutations of such an outcome from now on, although there was none yet. Both words come from a fixed set of the caller's.
    pub fn expect_mutation(&self, action: &'static str, outcome: &'static str) {
        self.mutations.with_label_values(&[action, outcome]);
    }

    /// Counts a mutation; both words come from a fixed set of the caller's.
    pub fn mutation(&self, action: &'static str, outcome: &'static str) {
        self.mutations.with_label_values(&[action, outcome]).inc();
    }

    /// Counts a revocation whose wait has ended.
    pub fn revocation_wait(&self, why: WaitReason) {
        self.revocation_waits.inc(why);
    }

    /// The gauges of this process as one node of several.
    pub fn node(&self) -> &NodeGauges {
        &self.node
    }

    /// Counts recipients.
    pub fn smtp_recipients(&self, outcome: RecipientOutcome, count: usize) {
        self.smtp_recipients.add(outcome, count as u64);
    }

    /// Counts a message.
    pub fn smtp_message(&self, outcome: MessageOutcome) {
        self.smtp_messages.inc(outcome);
    }

    /// Counts a client that ran into a limit.
    pub fn smtp_limit(&self, limit: SmtpLimit) {
        self.smtp_limits.inc(limit);
    }

    /// Counts an open session or tunnel that was ended because its credential lost its permission.
    pub fn session_cut(&self, entry: Entry) {
        self.sessions_cut.with_label_values(&[entry.word()]).inc();
    }

    /// Counts a connection of a client that was refused at a limit.
    pub fn connection_refused(&self, entry: Entry, limit: ConnectionLimit) {
        self.connections_refused.with_label_values(&[entry.word(), limit.word()]).inc();
    }

    /// Counts a reload, and notes if the file is in use now.
    pub fn reloaded(&self, part: Reloaded, outcome: ReloadOutcome) {
        self.reloads.with_label_values(&[part.word(), outcome.word()]).inc();
        let done = outcome == ReloadOutcome::Done;
        match part {
            Reloaded::Configuration => {
                self.config_last_reload_successful.set(i64::from(done));
                if done {
                    self.config_last_reload_success.set(now());
                }
            }
            Reloaded::Certificate => self.certificate_last_reload_successful.set(i64::from(done)),
        }
    }

    /// The gauge of an entry's connections to its backends in a state; the word comes from a fixed set of the caller's.
    /// To be kept, not asked for at each connection.
    pub fn upstream_connections(&self, entry: Entry, state: &'static str) -> IntGauge {
        self.upstream_connections.with_label_values(&[entry.as_str(), state])
    }

    /// Adds a gauge that is read at each scrape. A second one of the same name is ignored.
    pub fn read_at_scrape(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.read_series_at_scrape(name, help, &[], move || vec![(Vec::new(), read())]);
    }

    /// The same with labels: `read` returns their values and the value of each series, no two with the same labels.
    pub fn read_series_at_scrape(
        &self,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        read: impl Fn() -> Vec<Labelled> + Send + Sync + 'static,
    ) {
        let gauges = AtScrape::new(MetricType::GAUGE, name, help, labels, read);
        let _ = self.registry.register(Box::new(gauges));
    }

    /// Everything in the text format of Prometheus, version 0.0.4.
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// The time of the system, in seconds since 1970.
fn now() -> i64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests;
