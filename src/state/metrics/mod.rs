//! The metrics, under the names of docs/operations.md. No label ever holds what an attacker can multiply.
//!
//! Counts of every request are striped and summed at each scrape (`requests`). The rest are plain handles.

mod handles;
mod labels;
mod log_lines;
mod requests;
mod striped;

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, PullingGauge, Registry, TextEncoder,
};

use crate::domain::{Entry, Permission};
use handles::{Counters, Handle, handles, valid};
use labels::Label;
use requests::{Requests, RequestsCollector};

pub use labels::{DecisionOutcome, Lookup, MessageOutcome, PasswordCheck, SmtpLimit, ThrottledBy};
pub use log_lines::LostLines;

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
        /// Changes of accounts and credentials.
        mutations: IntCounterVec = "gatepost_mutations_total" ["action", "outcome"],
        /// From the commit of a revocation to its answer.
        pub revocation_seconds: Histogram = "gatepost_revocation_seconds"
            [0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
        /// Open sessions and tunnels ended since their credential lost its right.
        sessions_cut: Counters<Entry> = "gatepost_sessions_cut_total" ["entry"],
        /// Connections to backends.
        upstream_connections: IntGaugeVec = "gatepost_upstream_connections" ["entry", "state"],
        /// Open SMTP sessions.
        pub smtp_sessions: IntGauge = "gatepost_smtp_sessions" [],
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
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let requests = Arc::new(Requests::new());
        valid(registry.register(Box::new(RequestsCollector::new(Arc::clone(&requests)))));
        valid(registry.register(Box::new(LostLines::of_this_process().series())));
        let metrics = Metrics::registered(&registry.clone(), registry, requests);
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for (entry, by) in
            Entry::WORDS.iter().flat_map(|entry| ThrottledBy::WORDS.iter().map(move |by| (entry, by)))
        {
            metrics.throttled.with_label_values(&[*entry, *by]);
        }
        metrics
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

    /// Shows the mutations of such an outcome from now on, although there was none yet: a series that appears with its first
    /// count has no rate. Both words come from a fixed set of the caller's.
    pub fn expect_mutation(&self, action: &'static str, outcome: &'static str) {
        self.mutations.with_label_values(&[action, outcome]);
    }

    /// Counts a mutation; both words come from a fixed set of the caller's.
    pub fn mutation(&self, action: &'static str, outcome: &'static str) {
        self.mutations.with_label_values(&[action, outcome]).inc();
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
        self.sessions_cut.inc(entry);
    }

    /// The gauge of an entry's connections to its backends in a state; the word comes from a fixed set of the caller's.
    /// To be kept, not asked for at each connection.
    pub fn upstream_connections(&self, entry: Entry, state: &'static str) -> IntGauge {
        self.upstream_connections.with_label_values(&[entry.as_str(), state])
    }

    /// Adds a gauge that is read at each scrape. A second one of the same name is ignored.
    pub fn read_at_scrape(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        let gauge = valid(PullingGauge::new(name, help, Box::new(read)));
        let _ = self.registry.register(Box::new(gauge));
    }

    /// Everything in the text format of Prometheus, version 0.0.4.
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests;
