//! What every request counts: decisions, looks into the cache, answers and their times.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::striped::{Durations, Striped};
use super::{Lookup, Outcome, valid};
use crate::domain::{Denial, Entry, Permission};

// Each in the order of its enum, whose variants are the indexes; a test holds it so.
const ENTRIES: [&str; 3] = [Entry::Smtp.as_str(), Entry::Api.as_str(), Entry::Web.as_str()];
/// The last word is for management calls, which need no bit but the account holder.
const PERMISSIONS: [&str; 4] = ["email", "api", "web", "manage"];
const LOOKUPS: [&str; 4] = ["hit", "stale", "other", "miss"];
const OUTCOMES: [&str; 7] =
    ["allowed", "unknown", "wrong", "suspended", "forbidden", "throttled", "unavailable"];
const STATUSES: std::ops::Range<usize> = 100..600;

/// What requests count, in stripes.
#[derive(Debug)]
pub struct Requests {
    decisions: Striped,
    lookups: Striped,
    statuses: Striped,
    request_seconds: Durations,
}

impl Requests {
    /// All at nought.
    pub fn new() -> Requests {
        Requests {
            decisions: Striped::new(ENTRIES.len() * PERMISSIONS.len() * OUTCOMES.len()),
            lookups: Striped::new(LOOKUPS.len()),
            statuses: Striped::new(ENTRIES.len() * STATUSES.len()),
            request_seconds: Durations::new(ENTRIES.len()),
        }
    }

    #[inline]
    pub fn decision(&self, entry: Entry, permission: Option<Permission>, outcome: Outcome) {
        let permission = permission.map_or(PERMISSIONS.len() - 1, |permission| permission as usize);
        let index =
            (entry as usize * PERMISSIONS.len() + permission) * OUTCOMES.len() + outcome_index(outcome);
        self.decisions.add(index, 1);
    }

    #[inline]
    pub fn lookup(&self, result: Lookup) {
        self.lookups.add(result as usize, 1);
    }

    #[inline]
    pub fn http_request(&self, entry: Entry, status: u16, took: Duration) {
        let status = usize::from(status).clamp(STATUSES.start, STATUSES.end - 1) - STATUSES.start;
        self.statuses.add(entry as usize * STATUSES.len() + status, 1);
        self.request_seconds.observe(entry as usize, took);
    }
}

/// Sums what requests counted, at each scrape.
pub struct RequestsCollector {
    requests: Arc<Requests>,
    descs: Vec<Desc>,
}

const DECISIONS: (&str, &str) = ("gatepost_decisions_total", "Decisions, by how they ended.");
const CACHE_LOOKUPS: (&str, &str) =
    ("gatepost_cache_lookups_total", "Looks into the cache, by what was there.");
const HTTP_REQUESTS: (&str, &str) = ("gatepost_http_requests_total", "HTTP requests answered.");
const HTTP_SECONDS: (&str, &str) =
    ("gatepost_http_request_seconds", "From a request's header to the end of its answer.");

impl RequestsCollector {
    /// To be registered once.
    pub fn new(requests: Arc<Requests>) -> RequestsCollector {
        let desc = |(name, help): (&str, &str), labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            valid(Desc::new(name.to_owned(), help.to_owned(), labels, Default::default()))
        };
        let descs = vec![
            desc(DECISIONS, &["entry", "permission", "outcome"]),
            desc(CACHE_LOOKUPS, &["result"]),
            desc(HTTP_REQUESTS, &["entry", "status"]),
            desc(HTTP_SECONDS, &["entry"]),
        ];
        RequestsCollector { requests, descs }
    }

    fn decisions(&self) -> Vec<Metric> {
        let per_entry = PERMISSIONS.len() * OUTCOMES.len();
        (0..ENTRIES.len() * per_entry)
            .filter_map(|index| {
                let count = self.requests.decisions.sum(index);
                let labels = [
                    ("entry", ENTRIES[index / per_entry]),
                    ("permission", PERMISSIONS[index / OUTCOMES.len() % PERMISSIONS.len()]),
                    ("outcome", OUTCOMES[index % OUTCOMES.len()]),
                ];
                (count > 0).then(|| counter(&labels, count))
            })
            .collect()
    }

    fn lookups(&self) -> Vec<Metric> {
        let lookup = |(index, result): (usize, &&str)| {
            counter(&[("result", result)], self.requests.lookups.sum(index))
        };
        LOOKUPS.iter().enumerate().map(lookup).collect()
    }

    fn statuses(&self) -> Vec<Metric> {
        (0..ENTRIES.len() * STATUSES.len())
            .filter_map(|index| {
                let count = self.requests.statuses.sum(index);
                let status = (index % STATUSES.len() + STATUSES.start).to_string();
                let labels = [("entry", ENTRIES[index / STATUSES.len()]), ("status", status.as_str())];
                (count > 0).then(|| counter(&labels, count))
            })
            .collect()
    }

    fn request_seconds(&self) -> Vec<Metric> {
        let seconds = |(index, entry): (usize, &&str)| {
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
            let mut metric = Metric::from_label(labels(&[("entry", entry)]));
            metric.set_histogram(histogram);
            metric
        };
        ENTRIES.iter().enumerate().map(seconds).collect()
    }
}

impl Collector for RequestsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = [
            (DECISIONS, MetricType::COUNTER, self.decisions()),
            (CACHE_LOOKUPS, MetricType::COUNTER, self.lookups()),
            (HTTP_REQUESTS, MetricType::COUNTER, self.statuses()),
            (HTTP_SECONDS, MetricType::HISTOGRAM, self.request_seconds()),
        ];
        let family = |((name, help), kind, metrics): ((&str, &str), MetricType, Vec<Metric>)| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family.set_metric(metrics);
            family
        };
        families.into_iter().filter(|(_, _, metrics)| !metrics.is_empty()).map(family).collect()
    }
}

fn outcome_index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Allowed => 0,
        Outcome::Denied(Denial::Unknown) => 1,
        Outcome::Denied(Denial::Wrong) => 2,
        Outcome::Denied(Denial::Suspended) => 3,
        Outcome::Denied(Denial::Lacks(_)) | Outcome::NotHolder => 4,
        Outcome::Denied(Denial::Throttled(_)) => 5,
        Outcome::Unavailable => 6,
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    pairs.iter().map(pair).collect()
}

fn counter(pairs: &[(&str, &str)], count: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(count as f64);
    let mut metric = Metric::from_label(labels(pairs));
    metric.set_counter(counter);
    metric
}
