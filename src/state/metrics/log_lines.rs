//! The number of log lines that were lost. A process has one log, whichever gateways run in it, so it counts for all of them.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, Opts};

use super::handles::valid;

static LOST: LazyLock<LostLines> = LazyLock::new(LostLines::new);

/// Counters of the log lines that this process lost.
#[derive(Debug)]
pub struct LostLines {
    /// Lines of the audit trail.
    pub audit: IntCounter,
    /// All others.
    pub other: IntCounter,
    series: IntCounterVec,
}

impl LostLines {
    /// The counters of this process.
    pub fn of_this_process() -> &'static LostLines {
        &LOST
    }

    fn new() -> LostLines {
        let options = Opts::new(
            "gatepost_log_lines_lost_total",
            "Log lines that could not be written to standard error.",
        );
        let series = valid(IntCounterVec::new(options, &["kind"]));
        let [audit, other] = ["audit", "other"].map(|kind| series.with_label_values(&[kind]));
        LostLines { audit, other, series }
    }

    /// Both, to be shown with the metrics of a gateway.
    pub(super) fn series(&self) -> IntCounterVec {
        self.series.clone()
    }
}
