//! The metrics, under the names of docs/operations.md. No label ever holds what an attacker can multiply.
//!
//! What every request counts is striped and folded in at each scrape; the rest are plain handles.

mod log_lines;
mod requests;
mod striped;

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, PullingGauge, Registry,
    TextEncoder,
};

use crate::domain::{Denial, Entry, Permission};
pub use log_lines::LostLines;
use requests::{Requests, RequestsCollector};

/// How a decision ended, as the metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was allowed.
    Allowed,
    /// It was denied.
    Denied(Denial),
    /// It was a valid credential, and not the account holder.
    NotHolder,
    /// It couldn't be decided.
    Unavailable,
}

/// How a look into the cache ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A fresh entry decided.
    Hit,
    /// The entry had been ended by a mutation or by its age.
    Stale,
    /// The entry was verified with another secret.
    Other,
    /// There was none.
    Miss,
}

/// By what a check was throttled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottledBy {
    /// Failures from its source.
    Source,
    /// Failures for its username.
    Username,
}

impl ThrottledBy {
    const ALL: [ThrottledBy; 2] = [ThrottledBy::Source, ThrottledBy::Username];

    const fn as_str(self) -> &'static str {
        match self {
            ThrottledBy::Source => "source",
            ThrottledBy::Username => "username",
        }
    }
}

/// How a password check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It matched.
    Right,
    /// It didn't.
    Wrong,
    /// It joined a check of the same that was running or waiting.
    Joined,
    /// There was no room in the queue.
    Refused,
    /// Nobody waited for it any more.
    Abandoned,
    /// It made a stored form, for a new password or in place of an outdated one.
    Hashed,
}

/// How a message that a client began to send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// The backend took it.
    Accepted,
    /// The backend doesn't take it: 5yz.
    Rejected,
    /// The backend doesn't take it now: 4yz.
    Deferred,
    /// The gateway doesn't pass it on: too large, malformed, in a loop.
    Refused,
    /// The backend was lost.
    Lost,
    /// The client was lost before its end.
    Aborted,
}

/// What a client of the SMTP entry ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpLimit {
    /// Connections in all.
    Connections,
    /// Connections from one source.
    Source,
    /// Errors of one session.
    Errors,
    /// Failed logins of one session.
    Logins,
    /// Messages of one session.
    Messages,
    /// Recipients of one message.
    Recipients,
    /// The size of a message, announced or real.
    Size,
    /// Time.
    Time,
}

const LIMITS: [&str; 8] =
    ["connections", "source", "errors", "logins", "messages", "recipients", "size", "time"];

const MESSAGES: [&str; 6] = ["accepted", "rejected", "deferred", "refused", "lost", "aborted"];

const CHECKS: [&str; 6] = ["right", "wrong", "joined", "refused", "abandoned", "hashed"];

/// All metrics of one gateway, in a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Arc<Requests>,
    checks: [IntCounter; CHECKS.len()],
    /// How long a password check took on its thread, in seconds.
    pub password_check_seconds: Histogram,
    password_queue: IntGaugeVec,
    throttled: IntCounterVec,
    mutations: IntCounterVec,
    /// From the commit of a revocation to its answer, in seconds.
    pub revocation_seconds: Histogram,
    sessions_cut: IntCounterVec,
    upstream_connections: IntGaugeVec,
    /// Sessions of the SMTP entry that are open.
    pub smtp_sessions: IntGauge,
    smtp_messages: [IntCounter; MESSAGES.len()],
    smtp_limits: [IntCounter; LIMITS.len()],
    /// Bytes of messages that clients sent, those included that weren't passed on.
    pub smtp_message_bytes: IntCounter,
}

impl Metrics {
    /// All at nought.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let requests = Arc::new(Requests::new());
        register(&registry, RequestsCollector::new(Arc::clone(&requests)));
        register(&registry, LostLines::of_this_process().series());
        let build = gauges(&registry, "gatepost_build_info", "The running version; always 1.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let checks = counters(
            &registry,
            "gatepost_password_checks_total",
            "Password checks that the cache couldn't answer.",
            &["outcome"],
        );
        let smtp_messages = counters(
            &registry,
            "gatepost_smtp_messages_total",
            "Messages that clients began to send, by how that ended.",
            &["outcome"],
        );
        let smtp_limits = counters(
            &registry,
            "gatepost_smtp_limits_total",
            "Clients that ran into a limit of the SMTP entry.",
            &["limit"],
        );
        let smtp_message_bytes = valid(IntCounter::new(
            "gatepost_smtp_message_bytes_total",
            "Bytes of messages that clients sent to the end or not.",
        ));
        register(&registry, smtp_message_bytes.clone());
        let smtp_sessions = valid(IntGauge::new("gatepost_smtp_sessions", "Open SMTP sessions."));
        register(&registry, smtp_sessions.clone());
        let throttled = counters(
            &registry,
            "gatepost_throttled_total",
            "Checks refused after too many failures.",
            &["entry", "by"],
        );
        let sessions_cut = counters(
            &registry,
            "gatepost_sessions_cut_total",
            "Open sessions and tunnels ended since their credential lost its right.",
            &["entry"],
        );
        for entry in Entry::ALL.map(Entry::as_str) {
            sessions_cut.with_label_values(&[entry]);
            for by in ThrottledBy::ALL {
                throttled.with_label_values(&[entry, by.as_str()]);
            }
        }
        Metrics {
            smtp_sessions,
            smtp_messages: MESSAGES.map(|outcome| smtp_messages.with_label_values(&[outcome])),
            smtp_limits: LIMITS.map(|limit| smtp_limits.with_label_values(&[limit])),
            smtp_message_bytes,
            requests,
            checks: CHECKS.map(|outcome| checks.with_label_values(&[outcome])),
            password_check_seconds: histogram(
                &registry,
                "gatepost_password_check_seconds",
                "Time of one password check on its thread.",
                &[0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5],
            ),
            password_queue: gauges(
                &registry,
                "gatepost_password_queue",
                "Password checks that wait for a thread.",
                &["lane"],
            ),
            throttled,
            mutations: counters(
                &registry,
                "gatepost_mutations_total",
                "Changes of accounts and credentials.",
                &["action", "outcome"],
            ),
            revocation_seconds: histogram(
                &registry,
                "gatepost_revocation_seconds",
                "From the commit of a revocation to its answer.",
                &[0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
            ),
            sessions_cut,
            upstream_connections: gauges(
                &registry,
                "gatepost_upstream_connections",
                "Connections to backends.",
                &["entry", "state"],
            ),
            registry,
        }
    }

    /// Counts a decision; `None` for a management call, which needs the account holder and no bit.
    #[inline]
    pub fn decision(&self, entry: Entry, permission: Option<Permission>, outcome: Outcome) {
        self.requests.decision(entry, permission, outcome);
    }

    /// Counts a look into the cache.
    #[inline]
    pub fn lookup(&self, result: Lookup) {
        self.requests.lookup(result);
    }

    /// Counts an answered HTTP request and the time it took. A status out of 100 to 599 counts as the nearest of them.
    #[inline]
    pub fn http_request(&self, entry: Entry, status: u16, took: Duration) {
        self.requests.http_request(entry, status, took);
    }

    /// Counts a password check.
    pub fn password_check(&self, outcome: PasswordCheck) {
        self.checks[outcome as usize].inc();
    }

    /// How many password checks ended so.
    pub fn password_checks(&self, outcome: PasswordCheck) -> u64 {
        self.checks[outcome as usize].get()
    }

    /// The gauge of the password checks that wait in a lane. To be kept.
    pub fn password_queue(&self, lane: &'static str) -> IntGauge {
        self.password_queue.with_label_values(&[lane])
    }

    /// Counts a throttled check.
    pub fn throttled(&self, entry: Entry, by: ThrottledBy) {
        self.throttled.with_label_values(&[entry.as_str(), by.as_str()]).inc();
    }

    /// Shows the mutations of such an outcome from now on, though there was none yet: what appears with its first count has
    /// no rate. Both words come from a fixed set of the caller's.
    pub fn expect_mutation(&self, action: &'static str, outcome: &'static str) {
        self.mutations.with_label_values(&[action, outcome]);
    }

    /// Counts a mutation; both words come from a fixed set of the caller's.
    pub fn mutation(&self, action: &'static str, outcome: &'static str) {
        self.mutations.with_label_values(&[action, outcome]).inc();
    }

    /// Counts a message.
    pub fn smtp_message(&self, outcome: MessageOutcome) {
        self.smtp_messages[outcome as usize].inc();
    }

    /// Counts a client that ran into a limit.
    pub fn smtp_limit(&self, limit: SmtpLimit) {
        self.smtp_limits[limit as usize].inc();
    }

    /// Counts an open session or tunnel that was ended since its credential lost its right.
    pub fn session_cut(&self, entry: Entry) {
        self.sessions_cut.with_label_values(&[entry.as_str()]).inc();
    }

    /// The gauge of an entry's connections to its backends in a state; the word comes from a fixed set of the caller's.
    /// To be kept, not asked for at each connection.
    pub fn upstream_connections(&self, entry: Entry, state: &'static str) -> IntGauge {
        self.upstream_connections.with_label_values(&[entry.as_str(), state])
    }

    /// Adds a gauge that is read at each scrape. A second one of the same name is left out.
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

/// What is made of the names, labels and bounds that are written here. All of them are made at each start and in each test, so
/// nobody but who writes one can meet the panic.
fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("metric names are fixed, valid and distinct")
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    valid(registry.register(Box::new(collector)));
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = valid(IntCounterVec::new(Opts::new(name, help), labels));
    register(registry, counters.clone());
    counters
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = valid(IntGaugeVec::new(Opts::new(name, help), labels));
    register(registry, gauges.clone());
    gauges
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let histogram = valid(Histogram::with_opts(options));
    register(registry, histogram.clone());
    histogram
}

#[cfg(test)]
mod tests;
