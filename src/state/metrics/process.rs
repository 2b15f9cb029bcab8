//! The process as the system sees it, under the names that every exporter of Prometheus uses.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::Registry;
use prometheus::proto::MetricType;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::at_scrape::AtScrape;
use super::handles::valid;

/// Adds the metrics of this process. A value that the system does not tell has no series.
pub fn register(registry: &Registry) {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    let add = |kind, name, help, read: fn() -> Option<f64>| {
        let read = move || read().map(|value| (Vec::new(), value)).into_iter().collect();
        valid(registry.register(Box::new(AtScrape::new(kind, name, help, &[], read))));
    };
    add(MetricType::COUNTER, "process_cpu_seconds_total", "CPU time, of user and system.", cpu_seconds);
    add(MetricType::GAUGE, "process_open_fds", "Open file descriptors.", || Some(open_descriptors()? as f64));
    add(MetricType::GAUGE, "process_max_fds", "The limit of open file descriptors.", max_descriptors);
    add(MetricType::GAUGE, "process_resident_memory_bytes", "Resident memory.", || {
        in_status("VmRSS:", 1024.0)
    });
    add(MetricType::GAUGE, "process_virtual_memory_bytes", "Virtual memory.", || {
        in_status("VmSize:", 1024.0)
    });
    add(MetricType::GAUGE, "process_threads", "Threads.", || in_status("Threads:", 1.0));
    let help = "Start of the process, in seconds since 1970.";
    let read = move || vec![(Vec::new(), started)];
    let started = AtScrape::new(MetricType::GAUGE, "process_start_time_seconds", help, &[], read);
    valid(registry.register(Box::new(started)));
}

/// The number of open descriptors of this process.
pub fn open_descriptors() -> Option<usize> {
    // Linux 6.2 and newer tell the number as the size of the directory. Reading the directory itself takes a descriptor more.
    let told = fs::metadata("/proc/self/fd").ok()?.len();
    if told > 0 {
        return usize::try_from(told).ok();
    }
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

fn cpu_seconds() -> Option<f64> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

fn max_descriptors() -> Option<f64> {
    Some(getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |limit| limit as f64))
}

/// A number of /proc/self/status, multiplied by its unit.
fn in_status(name: &str, unit: f64) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let number = status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
    Some(number.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_everything() {
        let registry = Registry::new();
        register(&registry);
        let before = open_descriptors().unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        assert!(before >= 3 && open_descriptors().unwrap() >= 3, "{file:?}");
        let families = registry.gather();
        assert_eq!(families.len(), 7, "{families:?}");
        for family in families {
            let metric = &family.get_metric()[0];
            let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
            assert!(value > 0.0, "{family:?}");
        }
    }
}
