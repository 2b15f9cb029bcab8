//! The counts of every request: decisions, cache lookups, answers and their times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::handles::valid;
use super::labels::{DecisionOutcome, Label, Lookup};
use super::scope::MetricsScope;
use super::striped::{Durations, Striped};
use crate::domain::{Denial, Entry, Permission};

const ENTRIES: &[&str] = Entry::WORDS;
/// In the order of the enum, whose variants are the indexes; a test holds it so. The last word is for management calls,
/// which need the account holder and no permission.
const PERMISSIONS: [&str; 4] = ["email", "api", "web", "manage"];
const OUTCOMES: &[&str] = DecisionOutcome::WORDS;
const THROTTLED: usize = DecisionOutcome::Denied(Denial::Throttled(Duration::ZERO)).place();
const NO_SESSION: usize = DecisionOutcome::NoSession.place();
const FORBIDDEN: usize = DecisionOutcome::NotHolder.place();
/// The status of a tunnel that has ended: 101 Switching Protocols.
const TUNNEL: usize = 101;
const STATUSES: std::ops::Range<usize> = 100..600;
/// The statuses that have a series of their own: those of IANA's registry that can end a request, and 499 for a client that
/// left. Others count together, as `2xx` and so on.
const KNOWN: [std::ops::RangeInclusive<usize>; 14] = [
    101..=101,
    200..=208,
    226..=226,
    300..=305,
    307..=308,
    400..=418,
    421..=426,
    428..=429,
    431..=431,
    451..=451,
    499..=499,
    500..=508,
    510..=510,
    511..=511,
];

/// The counts of requests, in stripes.
#[derive(Debug)]
pub struct Requests {
    decisions: Striped,
    lookups: Striped,
    statuses: Striped,
    request_seconds: Durations,
    /// True for the entries that are configured.
    entries: [bool; ENTRIES.len()],
    /// True if checks are throttled.
    throttles: bool,
    /// True for the entries and permissions that decisions can be about.
    decided: [AtomicBool; ENTRIES.len() * PERMISSIONS.len()],
}

impl Requests {
    /// All at zero.
    pub fn new(scope: &MetricsScope) -> Requests {
        let requests = Requests::counting(scope);
        requests.expect(scope);
        requests
    }

    /// Shows the decisions of a scope from now on.
    pub fn expect(&self, scope: &MetricsScope) {
        for (entry, permission) in &scope.decisions {
            self.decided[decided(*entry, *permission)].store(true, Ordering::Relaxed);
        }
    }

    fn counting(scope: &MetricsScope) -> Requests {
        Requests {
            decisions: Striped::new(ENTRIES.len() * PERMISSIONS.len() * OUTCOMES.len()),
            lookups: Striped::new(Lookup::WORDS.len()),
            statuses: Striped::new(ENTRIES.len() * STATUSES.len()),
            request_seconds: Durations::new(ENTRIES.len()),
            entries: std::array::from_fn(|index| scope.has(Entry::ALL[index])),
            throttles: scope.throttles,
            decided: Default::default(),
        }
    }

    /// Returns true if the entry is configured.
    pub fn has(&self, entry: Entry) -> bool {
        self.entries[entry as usize]
    }

    #[inline]
    pub fn decision(&self, entry: Entry, permission: Option<Permission>, outcome: DecisionOutcome) {
        self.decisions.add(decided(entry, permission) * OUTCOMES.len() + outcome.index(), 1);
    }

    #[inline]
    pub fn lookup(&self, result: Lookup) {
        self.lookups.add(result.index(), 1);
    }

    #[inline]
    pub fn http_request(&self, entry: Entry, status: u16, took: Duration) {
        let status = usize::from(status).clamp(STATUSES.start, STATUSES.end - 1) - STATUSES.start;
        self.statuses.add(entry as usize * STATUSES.len() + status, 1);
        // A tunnel lasts as long as its two ends like, which is no sign of slowness.
        if status + STATUSES.start != TUNNEL {
            self.request_seconds.observe(entry as usize, took);
        }
    }
}

/// The place of the decisions of an entry about a permission.
#[inline]
fn decided(entry: Entry, permission: Option<Permission>) -> usize {
    let permission = permission.map_or(PERMISSIONS.len() - 1, |permission| permission as usize);
    entry as usize * PERMISSIONS.len() + permission
}

/// Returns true if a decision of the entry can end so. Sessions are for browsers, and the console needs no permission.
fn is_possible(entry: Entry, outcome: usize) -> bool {
    match outcome {
        NO_SESSION => matches!(entry, Entry::Web | Entry::Console),
        FORBIDDEN => entry != Entry::Console,
        _ => true,
    }
}

/// Sums what requests counted, at each scrape.
pub struct RequestsCollector {
    requests: Arc<Requests>,
    descs: Vec<Desc>,
}

/// The declaration of a metric: all of its series have these labels.
struct Declared<const LABELS: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; LABELS],
}

const DECISIONS: Declared<3> = Declared {
    name: "gatepost_decisions_total",
    help: "Decisions, by how they ended.",
    labels: ["entry", "permission", "outcome"],
};
const CACHE_LOOKUPS: Declared<1> = Declared {
    name: "gatepost_cache_lookups_total",
    help: "Looks into the cache, by what was there.",
    labels: ["result"],
};
const HTTP_REQUESTS: Declared<2> = Declared {
    name: "gatepost_http_requests_total",
    help: "HTTP requests answered.",
    labels: ["entry", "status"],
};
const HTTP_SECONDS: Declared<1> = Declared {
    name: "gatepost_http_request_seconds",
    help: "From a request's header to the end of its answer.",
    labels: ["entry"],
};

impl<const LABELS: usize> Declared<LABELS> {
    fn desc(&self) -> Desc {
        let labels = self.labels.map(str::to_owned).to_vec();
        valid(Desc::new(self.name.to_owned(), self.help.to_owned(), labels, Default::default()))
    }

    /// A series with these values of its labels.
    fn series(&self, values: [&str; LABELS]) -> Metric {
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        Metric::from_label(self.labels.into_iter().zip(values).map(pair).collect())
    }

    fn counter(&self, values: [&str; LABELS], count: u64) -> Metric {
        let mut counter = Counter::default();
        counter.set_value(count as f64);
        let mut metric = self.series(values);
        metric.set_counter(counter);
        metric
    }

    fn family(&self, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        family
    }
}

impl RequestsCollector {
    /// To be registered once.
    pub fn new(requests: Arc<Requests>) -> RequestsCollector {
        let descs = vec![DECISIONS.desc(), CACHE_LOOKUPS.desc(), HTTP_REQUESTS.desc(), HTTP_SECONDS.desc()];
        RequestsCollector { requests, descs }
    }

    fn decisions(&self) -> Vec<Metric> {
        let requests = &self.requests;
        (0..requests.decided.len() * OUTCOMES.len())
            .filter_map(|index| {
                let (place, outcome) = (index / OUTCOMES.len(), index % OUTCOMES.len());
                let (entry, permission) = (place / PERMISSIONS.len(), place % PERMISSIONS.len());
                let count = requests.decisions.sum(index);
                let can_count = requests.decided[place].load(Ordering::Relaxed)
                    && (requests.throttles || outcome != THROTTLED)
                    && is_possible(Entry::ALL[entry], outcome);
                let values = [ENTRIES[entry], PERMISSIONS[permission], OUTCOMES[outcome]];
                (can_count || count > 0).then(|| DECISIONS.counter(values, count))
            })
            .collect()
    }

    fn lookups(&self) -> Vec<Metric> {
        let lookup = |(index, result): (usize, &&str)| {
            CACHE_LOOKUPS.counter([result], self.requests.lookups.sum(index))
        };
        Lookup::WORDS.iter().enumerate().map(lookup).collect()
    }

    /// The entries that serve HTTP and are configured.
    fn http_entries(&self) -> impl Iterator<Item = usize> {
        (0..ENTRIES.len()).filter(|entry| self.requests.entries[*entry] && *entry != Entry::Smtp as usize)
    }

    fn statuses(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for entry in self.http_entries() {
            let mut others = [0; 6];
            for status in STATUSES {
                let count = self.requests.statuses.sum(entry * STATUSES.len() + status - STATUSES.start);
                if KNOWN.iter().any(|known| known.contains(&status)) {
                    metrics.push(HTTP_REQUESTS.counter([ENTRIES[entry], &status.to_string()], count));
                } else {
                    others[status / 100] += count;
                }
            }
            // Only 101 of this class can end a request.
            let can_count = |(class, count): &(usize, u64)| *class > 1 || *count > 0;
            for (class, count) in others.into_iter().enumerate().skip(1).filter(can_count) {
                metrics.push(HTTP_REQUESTS.counter([ENTRIES[entry], &format!("{class}xx")], count));
            }
        }
        metrics
    }

    fn request_seconds(&self) -> Vec<Metric> {
        let seconds = |index: usize| {
            let snapshot = self.requests.request_seconds.snapshot(index);
            let mut histogram = prometheus::proto::Histogram::default();
            histogram.set_sample_count(snapshot.count);
            histogram.set_sample_sum(snapshot.sum);
            let bucket = |(bound, count): (f64, u64)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                bucket
            };
            histogram.set_bucket(snapshot.buckets.into_iter().map(bucket).collect());
            let mut metric = HTTP_SECONDS.series([ENTRIES[index]]);
            metric.set_histogram(histogram);
            metric
        };
        self.http_entries().map(seconds).collect()
    }
}

impl Collector for RequestsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = [
            DECISIONS.family(MetricType::COUNTER, self.decisions()),
            CACHE_LOOKUPS.family(MetricType::COUNTER, self.lookups()),
            HTTP_REQUESTS.family(MetricType::COUNTER, self.statuses()),
            HTTP_SECONDS.family(MetricType::HISTOGRAM, self.request_seconds()),
        ];
        families.into_iter().filter(|family| !family.get_metric().is_empty()).collect()
    }
}
