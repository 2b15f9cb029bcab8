//! Metrics of one node of several on PostgreSQL. With SQLite, where none of them could move, they are not shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::Registry;
use prometheus::proto::MetricType;

use super::Metrics;
use super::at_scrape::AtScrape;
use super::handles::valid;
use crate::domain::Moment;
use crate::state::{Epochs, clock};

/// The present state of a node, as the metrics show it.
#[derive(Debug)]
pub struct NodeGauges {
    /// The time of the last beat, in nanoseconds of a [`Moment`].
    beat_at: AtomicU64,
    /// The highest number of a change that was seen, by whichever connection.
    number: AtomicU64,
    /// The number up to which changes were applied.
    applied: AtomicU64,
}

impl NodeGauges {
    /// A node that has applied nothing. The age of its last beat counts from now.
    pub(super) fn registered(registry: &Registry) -> Arc<NodeGauges> {
        let gauges = Arc::new(NodeGauges {
            beat_at: AtomicU64::new(clock::now().as_nanos()),
            number: AtomicU64::new(0),
            applied: AtomicU64::new(0),
        });
        let add = |name, help, read: fn(&NodeGauges) -> f64| {
            let gauges = Arc::clone(&gauges);
            let read = move || vec![(Vec::new(), read(&gauges))];
            valid(registry.register(Box::new(AtScrape::new(MetricType::GAUGE, name, help, &[], read))));
        };
        add(
            "gatepost_beat_age_seconds",
            "Time since this node began its last beat that PostgreSQL has committed.",
            NodeGauges::beat_age,
        );
        add(
            "gatepost_change_lag",
            "Changes that this node knows to be committed and has not applied.",
            NodeGauges::lag,
        );
        gauges
    }

    /// Notes a beat that was committed, and that began at that moment.
    pub fn beat(&self, began: Moment) {
        self.beat_at.fetch_max(began.as_nanos(), Ordering::Relaxed);
    }

    /// Notes that a change of this number is committed.
    pub fn saw(&self, number: u64) {
        self.number.fetch_max(number, Ordering::Relaxed);
    }

    /// Notes that all changes up to this number are applied.
    pub fn applied(&self, number: u64) {
        self.saw(number);
        self.applied.fetch_max(number, Ordering::Relaxed);
    }

    /// Notes that everything up to this number is applied in another era, in which numbers may be lower than before.
    pub fn entered_era(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
        self.applied.store(number, Ordering::Relaxed);
    }

    fn beat_age(&self) -> f64 {
        let beat_at = Moment::from_nanos(self.beat_at.load(Ordering::Relaxed));
        clock::now().since(beat_at).as_secs_f64()
    }

    fn lag(&self) -> f64 {
        // In this order: a change that is applied in between must not count as a lag.
        let number = self.number.load(Ordering::Relaxed);
        number.saturating_sub(self.applied.load(Ordering::Relaxed)) as f64
    }
}

impl Metrics {
    /// Shows the trust of this process, if it can end. A second call is ignored.
    pub fn show_trust(&self, epochs: &Arc<Epochs>) {
        if epochs.trust().is_for_ever() {
            return;
        }
        let (epochs, help) =
            (Arc::clone(epochs), "Time for which this node still decides without further contact.");
        self.read_at_scrape("gatepost_trust_seconds", help, move || {
            epochs.trust().until().since(clock::now()).as_secs_f64()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_node_shows_its_beat_and_its_lag() {
        let gauges = NodeGauges::registered(&Registry::new());
        assert!(gauges.beat_age() < 60.0);
        gauges.beat(Moment::ZERO);
        assert!(gauges.beat_age() < 60.0, "a beat that was noted late takes nothing away");
        gauges.beat(clock::now() + Duration::from_secs(60));
        assert_eq!(gauges.beat_age(), 0.0);

        assert_eq!(gauges.lag(), 0.0);
        gauges.saw(7);
        gauges.applied(5);
        assert_eq!(gauges.lag(), 2.0);
        gauges.applied(9);
        assert_eq!(gauges.lag(), 0.0);
        gauges.entered_era(3);
        gauges.saw(4);
        assert_eq!(gauges.lag(), 1.0, "the numbers of another era");
    }
}
