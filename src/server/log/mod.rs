//! The log of the process, on standard error. A thread of its own writes it, from a bounded buffer: nothing that serves waits
//! for it, and what it loses is counted and told of.

mod batch;
mod buffer;
mod line;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{Metadata, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogLevel, LogSettings};
use buffer::Bounds;
use line::{Kind, Lost};
use writer::LogWriter;

/// A quarter of the buffer is for audit lines alone. Lines are short; the longest tells of a panic, with all that was called.
const BOUNDS: Bounds = Bounds { total: 1 << 20, reserved: 1 << 18, line: 1 << 16 };
/// The longest wait for the log at the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The target of the audit trail.
const AUDIT: &str = "audit";
/// The target of the line that tells of losses.
const LOSSES: &str = "log";

static LOG: LogWriter = LogWriter::new(BOUNDS);
static STARTED: AtomicBool = AtomicBool::new(false);
/// The line that tells of losses, as the log formats it.
static NOTICE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Sends the log to standard error, as the configuration wants it, and panics to the log. Only the first call counts: a second
/// gateway in one process logs where the first does.
///
/// # Errors
/// The system gives no thread or no descriptor.
pub fn start_log(settings: &LogSettings) -> io::Result<()> {
    if STARTED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // Not by way of `Stderr`, whose lock everybody who writes there would wait for while a reader stalls. Standard error is
    // always there: where it was closed, the runtime of Rust has opened /dev/null in its place.
    let out = File::from(stderr().as_fd().try_clone_to_owned()?);
    std::thread::Builder::new().name("log".into()).spawn(move || LOG.run(out, notice))?;
    STARTED.store(true, Ordering::Release);
    std::panic::set_hook(Box::new(log_panic));

    let filter = EnvFilter::try_new(directives(settings)).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines);
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
    // Whoever uses the library may have set one up, which stays.
    let _ = started;
    Ok(())
}

/// Waits, when dropped, until the last lines of the log are written, for [`LAST_LINES`] at most. Belongs to `main`, so that
/// they are, however it ends.
pub struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        if STARTED.load(Ordering::Acquire) {
            LOG.end(LAST_LINES);
        }
    }
}

/// Tells the operator of an error on standard error, behind what was logged before. Where it cannot be told, nothing else
/// fails by that.
pub fn complain(text: &str) {
    if STARTED.load(Ordering::Acquire) {
        for line in text.lines() {
            LOG.push(Kind::Other, format!("{line}\n").as_bytes());
        }
    } else {
        let _ = writeln!(stderr().lock(), "{text}");
    }
}

/// Logs a panic: by itself it would be written to standard error, which may take forever.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let place = panic.location().map_or_else(|| "no place".into(), ToString::to_string);
    let reason = panic.payload_as_str().unwrap_or("without a text");
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    error!(target: "panic", reason, backtrace, "thread '{thread}' panicked at {place}");
}

/// The line that tells of losses. An error, so that it passes at every level.
fn notice(lost: Lost) -> Vec<u8> {
    let Lost { audit, other } = lost;
    error!(target: LOSSES, audit, other, "log lines were lost");
    std::mem::take(&mut NOTICE.lock())
}

/// Gives each line its place in the log.
struct Lines;

/// Takes one line, in one call.
enum LineWriter {
    Log(Kind),
    Notice,
}

impl MakeWriter<'_> for Lines {
    type Writer = LineWriter;

    fn make_writer(&self) -> LineWriter {
        LineWriter::Log(Kind::Other)
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> LineWriter {
        match metadata.target() {
            AUDIT => LineWriter::Log(Kind::Audit),
            LOSSES => LineWriter::Notice,
            _ => LineWriter::Log(Kind::Other),
        }
    }
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            LineWriter::Log(kind) => LOG.push(*kind, line),
            LineWriter::Notice => *NOTICE.lock() = line.to_vec(),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    use std::sync::Arc;

    use tracing::{Level, enabled};
    use tracing_subscriber::fmt;

    use super::*;

    #[test]
    fn the_audit_trail_passes_at_every_level() {
        for level in LogLevel::ALL {
            let settings = LogSettings { level, ..LogSettings::default() };
            let filter = EnvFilter::try_new(directives(&settings)).unwrap();
            let subscriber = fmt().with_env_filter(filter).with_writer(io::sink).finish();
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
                let subscriber = fmt().with_env_filter(filter).with_writer(io::sink).finish();
                tracing::subscriber::with_default(subscriber, || {
                    let all = matches!(level, LogLevel::Debug | LogLevel::Trace);
                    assert_eq!(enabled!(target: "access", Level::DEBUG), access || all, "{level:?}");
                    assert_eq!(enabled!(Level::DEBUG), all, "{level:?}");
                });
            }
        }
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let (log, me) = (Arc::new(Mutex::new(Vec::new())), std::thread::current().id());
        let previous = std::panic::take_hook();
        // Panics of other tests are shown as ever.
        std::panic::set_hook(Box::new(move |panic| match std::thread::current().id() == me {
            true => log_panic(panic),
            false => previous(panic),
        }));
        let out = log.clone();
        let subscriber = fmt().json().flatten_event(true).with_writer(move || Kept(out.clone())).finish();
        let panicked = tracing::subscriber::with_default(subscriber, || {
            std::panic::catch_unwind(|| panic!("a broken invariant"))
        });
        assert!(panicked.is_err());
        let text = String::from_utf8(log.lock().clone()).unwrap();
        for word in ["\"ERROR\"", "panicked at src/server/log/mod.rs:", "\"reason\":\"a broken invariant\""] {
            assert!(text.contains(word), "{text}");
        }
    }

    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
