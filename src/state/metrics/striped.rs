//! Counting without contention: each thread adds to a stripe of its own, and the stripes are summed at each scrape.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Counters per 128 bytes, the span that processors fetch at once.
const LINE: usize = 16;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

/// A fixed number of counters, each of them once in every stripe.
#[derive(Debug)]
pub struct Striped {
    cells: Box<[AtomicU64]>,
    width: usize,
    stripes: usize,
    stride: usize,
}

impl Striped {
    /// `width` counters at zero.
    pub fn new(width: usize) -> Striped {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let stripes = (threads * 2).next_power_of_two().min(64);
        // A line between two stripes, so that no line holds counters of both, wherever the memory begins.
        let stride = width.next_multiple_of(LINE) + LINE;
        let cells = (0..stripes * stride).map(|_| AtomicU64::new(0)).collect();
        Striped { cells, width, stripes, stride }
    }

    /// Adds to the counter at `index`, which is below the width.
    #[inline]
    pub fn add(&self, index: usize, amount: u64) {
        debug_assert!(index < self.width, "counter {index} of {}", self.width);
        let stripe = THREAD.with(|thread| *thread) & (self.stripes - 1);
        self.cells[stripe * self.stride + index].fetch_add(amount, Ordering::Relaxed);
    }

    /// Returns the sum of the counter at `index` over all threads.
    pub fn sum(&self, index: usize) -> u64 {
        (0..self.stripes).map(|stripe| self.cells[stripe * self.stride + index].load(Ordering::Relaxed)).sum()
    }
}

/// Upper bounds of [`Durations`], in nanoseconds: from a tenth of a millisecond to ten seconds.
const BOUNDS: [u64; 12] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    2_000_000_000,
    10_000_000_000,
];
/// The cells of a histogram: one per bound, one for what is above them all, one for the sum.
const CELLS: usize = BOUNDS.len() + 2;

/// Histograms of durations, striped.
#[derive(Debug)]
pub struct Durations(Striped);

/// The values of a histogram, in seconds, as the text format requires.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    /// Upper bound and count of all at or below it.
    pub buckets: Vec<(f64, u64)>,
    /// The number of observations.
    pub count: u64,
    /// The sum of the observations.
    pub sum: f64,
}

impl Durations {
    /// `width` histograms, all empty.
    pub fn new(width: usize) -> Durations {
        Durations(Striped::new(width * CELLS))
    }

    /// Counts a duration in the histogram at `index`.
    #[inline]
    pub fn observe(&self, index: usize, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len());
        self.0.add(index * CELLS + bucket, 1);
        self.0.add(index * CELLS + CELLS - 1, nanos);
    }

    /// Returns the values of the histogram at `index`.
    pub fn snapshot(&self, index: usize) -> Snapshot {
        let cell = |offset: usize| self.0.sum(index * CELLS + offset);
        let mut count = 0;
        let buckets = BOUNDS
            .iter()
            .enumerate()
            .map(|(offset, bound)| {
                count += cell(offset);
                (*bound as f64 / 1e9, count)
            })
            .collect();
        Snapshot { buckets, count: count + cell(BOUNDS.len()), sum: cell(CELLS - 1) as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let counters = Striped::new(3);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counters.add(0, 1);
                        counters.add(2, 2);
                    }
                });
            }
        });
        assert_eq!([counters.sum(0), counters.sum(1), counters.sum(2)], [8_000, 0, 16_000]);
    }

    #[test]
    fn durations_fall_into_their_buckets() {
        let durations = Durations::new(2);
        durations.observe(1, Duration::from_micros(100));
        durations.observe(1, Duration::from_micros(101));
        durations.observe(1, Duration::from_secs(60));
        assert_eq!(durations.snapshot(0).count, 0);
        let snapshot = durations.snapshot(1);
        assert_eq!(snapshot.buckets[..2], [(0.0001, 1), (0.00025, 2)]);
        assert_eq!(snapshot.buckets.last(), Some(&(10.0, 2)));
        assert_eq!(snapshot.count, 3);
        assert!((snapshot.sum - 60.000_201).abs() < 1e-9);
    }
}
