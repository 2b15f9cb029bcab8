//! The log: where it goes, and what of it.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel, LogSettings};

/// Sends the log to standard error, as the configuration wants it. Only the first call counts.
pub fn start_log(settings: &LogSettings) {
    let filter = EnvFilter::try_new(directives(settings)).unwrap_or_else(|_| EnvFilter::new("info"));
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

/// What passes. The audit trail always does, at any level: who wants less of the rest doesn't want less of that. The access
/// log does where it is wanted.
fn directives(settings: &LogSettings) -> String {
    let level = settings.level;
    let audit = match level {
        LogLevel::Error | LogLevel::Warn => LogLevel::Info,
        LogLevel::Info | LogLevel::Debug | LogLevel::Trace => level,
    };
    let access = if settings.access && level != LogLevel::Trace { LogLevel::Debug } else { level };
    let [level, audit, access] = [level, audit, access].map(LogLevel::as_str);
    format!("{level},audit={audit},access={access},sqlx=warn,h2=warn,rustls=warn")
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled};
    use tracing_subscriber::fmt;

    use super::*;

    #[test]
    fn the_audit_trail_passes_at_every_level() {
        for level in LogLevel::ALL {
            let settings = LogSettings { level, ..LogSettings::default() };
            let filter = EnvFilter::try_new(directives(&settings)).unwrap();
            let subscriber = fmt().with_env_filter(filter).with_writer(std::io::sink).finish();
            tracing::subscriber::with_default(subscriber, || {
                assert!(enabled!(target: "audit", Level::INFO), "{level:?}");
                assert!(enabled!(Level::ERROR), "{level:?}");
                let quiet = matches!(level, LogLevel::Error | LogLevel::Warn);
                assert_eq!(enabled!(Level::INFO), !quiet, "{level:?}");
            });
        }
    }

    #[test]
    fn the_access_log_passes_where_it_is_wanted() {
        for level in LogLevel::ALL {
            for access in [false, true] {
                let settings = LogSettings { level, access, ..LogSettings::default() };
                let filter = EnvFilter::try_new(directives(&settings)).unwrap();
                let subscriber = fmt().with_env_filter(filter).with_writer(std::io::sink).finish();
                tracing::subscriber::with_default(subscriber, || {
                    let all = matches!(level, LogLevel::Debug | LogLevel::Trace);
                    assert_eq!(enabled!(target: "access", Level::DEBUG), access || all, "{level:?}");
                    assert_eq!(enabled!(Level::DEBUG), all, "{level:?}");
                });
            }
        }
    }
}
