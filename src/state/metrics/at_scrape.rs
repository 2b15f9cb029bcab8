//! Gauges and counters that are read at each scrape, so that nothing has to count in between.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::handles::valid;

/// A value, and the values of its labels.
pub type Labelled = (Vec<String>, f64);

/// Metrics of one name that are read at each scrape. Which series there are may change from one scrape to the next.
pub struct AtScrape<R> {
    desc: Desc,
    kind: MetricType,
    labels: &'static [&'static str],
    read: R,
}

impl<R: Fn() -> Vec<Labelled> + Send + Sync> AtScrape<R> {
    /// A metric that `read` reads: for each series the values of the labels, all of them different.
    pub fn new(
        kind: MetricType,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        read: R,
    ) -> AtScrape<R> {
        let names = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = valid(Desc::new(name.to_owned(), help.to_owned(), names, Default::default()));
        AtScrape { desc, kind, labels, read }
    }

    fn metric(&self, (values, value): Labelled) -> Metric {
        let pair = |(name, value): (&&str, String)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value);
            pair
        };
        let mut metric = Metric::from_label(self.labels.iter().zip(values).map(pair).collect());
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    }
}

impl<R: Fn() -> Vec<Labelled> + Send + Sync> Collector for AtScrape<R> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics: Vec<_> = (self.read)().into_iter().map(|series| self.metric(series)).collect();
        if metrics.is_empty() {
            return Vec::new();
        }
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(metrics);
        vec![family]
    }
}
