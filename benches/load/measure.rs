//! What is measured, and on what; for all comparisons.

use super::proc::CpuTime;

/// One turn of one target.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Microseconds of CPU for each request or message, in user space.
    pub user: f64,
    /// Microseconds of CPU for each request or message, in the kernel.
    pub kernel: f64,
    /// Requests or messages a second.
    pub rate: f64,
    /// Milliseconds until half of them were answered.
    pub p50: f64,
    /// Milliseconds until all but one in a hundred were answered.
    pub p99: f64,
}

impl Round {
    /// What `count` of them cost; quantiles in milliseconds.
    pub fn new(count: f64, seconds: f64, spent: CpuTime, p50: f64, p99: f64) -> Round {
        let each = |seconds: f64| seconds * 1e6 / count;
        Round { user: each(spent.user), kernel: each(spent.kernel), rate: count / seconds, p50, p99 }
    }

    /// Microseconds of CPU for each.
    pub fn cpu(&self) -> f64 {
        self.user + self.kernel
    }
}

/// Middle and ends of what was measured.
pub struct Spread {
    /// The middle.
    pub median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Of those values; not a number where there is none.
    pub fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (values.first().copied(), values.last().copied()) else {
            return Spread { median: f64::NAN, least: f64::NAN, most: f64::NAN };
        };
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Spread { median, least, most }
    }

    /// `median (least..most)`.
    pub fn show(&self, decimals: usize) -> String {
        format!("{:.*} ({:.*}..{:.*})", decimals, self.median, decimals, self.least, decimals, self.most)
    }
}

/// The machine, in a few words.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
    format!("{cores} x {model}, Linux {}, TCP {congestion}", read("/proc/sys/kernel/osrelease"))
}

/// A file of the system, trimmed; nothing where it can't be read.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
