//! Handles of metrics, with which code counts. [`handles!`] declares each once, with its name, help and labels.

use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::labels::Label;

/// Declares a struct of handles, and the function that makes and registers them. The documentation of a field is the help of its
/// metric. The brackets behind the name hold the labels, or the upper bounds of a histogram. Fields behind `with` are no metrics,
/// and are given to that function.
macro_rules! handles {
    (
        $(#[$meta:meta])*
        pub struct $struct:ident {
            $(#[doc = $help:literal] $vis:vis $field:ident: $handle:ty = $name:literal [$($detail:expr),* $(,)?],)+
        } with {
            $($other:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $struct {
            $(#[doc = $help] $vis $field: $handle,)+
            $($other: $type,)*
        }

        impl $struct {
            /// Each metric is registered where `registry` says for its name.
            fn registered<'r>(registry: impl Fn(&str) -> &'r Registry, $($other: $type),*) -> $struct {
                $struct {
                    $($field: <$handle>::registered(registry($name), $name, $help.trim_start(), &[$($detail),*]),)+
                    $($other,)*
                }
            }
        }
    };
}

pub(super) use handles;

/// A metric that can be made from its declaration.
pub trait Handle: Sized {
    /// The part of its declaration besides name and help: labels, or upper bounds.
    type Detail;

    /// Makes the metric and registers it.
    fn registered(registry: &Registry, name: &str, help: &str, details: &[Self::Detail]) -> Self;
}

/// Counters with one label, one for each of its values. All exist from the start.
#[derive(Debug)]
pub struct Counters<L> {
    counters: Box<[IntCounter]>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    /// Counts one.
    pub fn inc(&self, value: L) {
        self.counters[value.index()].inc();
    }

    /// Counts so many.
    pub fn add(&self, value: L, count: u64) {
        self.counters[value.index()].inc_by(count);
    }

    /// The count of a value.
    pub fn get(&self, value: L) -> u64 {
        self.counters[value.index()].get()
    }
}

impl<L: Label> Handle for Counters<L> {
    type Detail = &'static str;

    fn registered(registry: &Registry, name: &str, help: &str, labels: &[&'static str]) -> Counters<L> {
        let vec = IntCounterVec::registered(registry, name, help, labels);
        let counters = L::WORDS.iter().map(|word| vec.with_label_values(&[*word])).collect();
        Counters { counters, label: PhantomData }
    }
}

impl Handle for IntCounterVec {
    type Detail = &'static str;

    fn registered(registry: &Registry, name: &str, help: &str, labels: &[&'static str]) -> IntCounterVec {
        register(registry, IntCounterVec::new(Opts::new(name, help), labels))
    }
}

impl Handle for IntGaugeVec {
    type Detail = &'static str;

    fn registered(registry: &Registry, name: &str, help: &str, labels: &[&'static str]) -> IntGaugeVec {
        register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
    }
}

impl Handle for IntCounter {
    type Detail = ();

    fn registered(registry: &Registry, name: &str, help: &str, _: &[()]) -> IntCounter {
        register(registry, IntCounter::new(name, help))
    }
}

impl Handle for IntGauge {
    type Detail = ();

    fn registered(registry: &Registry, name: &str, help: &str, _: &[()]) -> IntGauge {
        register(registry, IntGauge::new(name, help))
    }
}

impl Handle for Gauge {
    type Detail = ();

    fn registered(registry: &Registry, name: &str, help: &str, _: &[()]) -> Gauge {
        register(registry, Gauge::new(name, help))
    }
}

impl Handle for Histogram {
    type Detail = f64;

    fn registered(registry: &Registry, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        register(registry, Histogram::with_opts(options))
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = valid(made);
    valid(registry.register(Box::new(collector.clone())));
    collector
}

/// Unwraps what was made of names, labels and bounds that stand in the sources. All of them are made at each start and in each
/// test, so that only the author of an invalid one meets the panic.
pub fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("metric names are fixed, valid and distinct")
}
