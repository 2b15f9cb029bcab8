//! The log: where it goes, and what of it.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel, LogSettings};

/// Sends the log to standard error, as the configuration wants it. Only the first call counts.
pub fn start_log(settings: &LogSettings) {
    let filter = EnvFilter::try_new(directives(settings.level)).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let human = match settings.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr().is_terminal(),
    };
    let started = if human {
        builder.with_ansi(stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // A second gateway in one process, as in tests, logs where the first does.
    let _ = started;
}

/// What passes at a level. The audit trail always does: who wants less of the rest doesn't want less of that.
fn directives(level: LogLevel) -> String {
    let audit = match level {
        LogLevel::Error | LogLevel::Warn => LogLevel::Info,
        LogLevel::Info | LogLevel::Debug | LogLevel::Trace => level,
    };
    format!("{},audit={},sqlx=warn,h2=warn,rustls=warn", level.as_str(), audit.as_str())
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled};
    use tracing_subscriber::fmt;

    use super::*;

    #[test]
    fn the_audit_trail_passes_at_every_level() {
        for level in LogLevel::ALL {
            let filter = EnvFilter::try_new(directives(level)).unwrap();
            let subscriber = fmt().with_env_filter(filter).with_writer(std::io::sink).finish();
            tracing::subscriber::with_default(subscriber, || {
                assert!(enabled!(target: "audit", Level::INFO), "{level:?}");
                assert!(enabled!(Level::ERROR), "{level:?}");
                let quiet = matches!(level, LogLevel::Error | LogLevel::Warn);
                assert_eq!(enabled!(Level::INFO), !quiet, "{level:?}");
            });
        }
    }
}
