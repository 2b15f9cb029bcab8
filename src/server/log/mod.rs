//! The log of the process, on standard error. A thread of its own writes it from a bounded buffer. No request waits for it,
//! and lost lines are counted and reported.

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
use line::{LineKind, LossCount};
use writer::LogWriter;

/// The bounds of the buffer. A quarter is for audit lines alone. Lines are short; the longest one is a panic with its backtrace.
const BOUNDS: Bounds = Bounds { total: 1 << 20, reserved: 1 << 18, line: 1 << 16 };
/// The longest wait for the log at the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The longest wait for the log at a panic, after which the process may abort.
const PANIC_LINE: Duration = Duration::from_millis(100);
/// The most bytes of the text of a panic and of its backtrace. With the other fields they stay below `BOUNDS.line`.
const PANIC_TEXT: (usize, usize) = (8 << 10, 48 << 10);
/// The target of the audit trail.
const AUDIT: &str = "audit";
/// The target of the lines that tell a port which the system chose.
pub const LISTENER: &str = "listener";
/// The target of the line that reports losses.
const LOSSES: &str = "log";

static LOG: LogWriter = LogWriter::new(BOUNDS);
static STARTED: AtomicBool = AtomicBool::new(false);
/// Locked during the start, so that there is only one log.
static START: Mutex<()> = Mutex::new(());
/// The line that reports losses, as the log formats it.
static NOTICE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Sends the log to standard error, as configured, and panics to the log. Only the first call has an effect: a second gateway in
/// one process logs where the first does.
///
/// # Errors
/// The system refuses a thread or a descriptor.
pub fn start_log(settings: &LogSettings) -> io::Result<()> {
    let _start = START.lock();
    if STARTED.load(Ordering::Acquire) {
        return Ok(());
    }
    // Not through `Stderr`: every other writer would wait for its lock while a reader stalls. Standard error is always
    // open: if it was closed, the runtime of Rust has opened /dev/null in its place.
    let out = File::from(stderr().as_fd().try_clone_to_owned()?);
    std::thread::Builder::new().name("log".into()).spawn(move || LOG.run(out, notice))?;
    STARTED.store(true, Ordering::Release);

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
    // A program that uses the library may have its own log. That stays, and gets no lines for panics.
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            log_panic(panic);
            LOG.flush(PANIC_LINE);
        }));
    }
    Ok(())
}

/// Waits when dropped, for `LAST_LINES` at most, until the last lines of the log are written. Belongs to `main`, however that
/// ends.
pub struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        if STARTED.load(Ordering::Acquire) {
            LOG.end(LAST_LINES);
        }
    }
}

/// Writes an error for the operator to standard error, after the lines that were logged before. If that is not possible, nothing
/// else fails.
pub fn complain(text: &str) {
    if STARTED.load(Ordering::Acquire) {
        for line in text.lines() {
            LOG.push(LineKind::Other, format!("{}\n", cut(line, BOUNDS.line - 16)).as_bytes());
        }
    } else {
        let _ = writeln!(stderr().lock(), "{text}");
    }
}

/// Logs a panic. Otherwise it would be written to standard error, which may block forever.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let place = panic.location().map_or_else(|| "no place".into(), ToString::to_string);
    let reason = cut(panic.payload_as_str().unwrap_or("without a text"), PANIC_TEXT.0);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured)
        .then(|| tracing::field::display(cut(&backtrace.to_string(), PANIC_TEXT.1)));
    error!(target: "panic", reason = reason.as_str(), backtrace, "thread '{thread}' panicked at {place}");
}

/// The beginning of a text that adds at most `most` bytes to a line in any format: JSON uses up to 6 bytes for a character
/// that it escapes. A text that was cut ends in `…`.
fn cut(text: &str, most: usize) -> String {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, character)| {
        let is_escaped = character.is_control() || matches!(character, '"' | '\\');
        bytes += if is_escaped { 6 } else { character.len_utf8() };
        bytes > most
    });
    match end {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The line that reports losses. It is an error, so that it passes at every level.
fn notice(lost: LossCount) -> Vec<u8> {
    let LossCount { audit, other } = lost;
    error!(target: LOSSES, audit, other, "log lines were lost");
    std::mem::take(&mut NOTICE.lock())
}

/// A maker of writers, one for each line.
struct Lines;

/// A writer of one line, in one call.
enum LineWriter {
    Log(LineKind),
    Notice,
}

impl MakeWriter<'_> for Lines {
    type Writer = LineWriter;

    fn make_writer(&self) -> LineWriter {
        LineWriter::Log(LineKind::Other)
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> LineWriter {
        match metadata.target() {
            AUDIT => LineWriter::Log(LineKind::Audit),
            LOSSES => LineWriter::Notice,
            _ => LineWriter::Log(LineKind::Other),
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

/// The filter of the log. The audit trail passes at every level, and so does the access log if it is configured.
fn directives(settings: &LogSettings) -> String {
    let level = settings.level;
    let audit = match level {
        LogLevel::Error | LogLevel::Warn => LogLevel::Info,
        LogLevel::Info | LogLevel::Debug | LogLevel::Trace => level,
    };
    let access = if settings.access && level != LogLevel::Trace { LogLevel::Debug } else { level };
    let [level, audit, access] = [level, audit, access].map(LogLevel::as_str);
    format!("{level},audit={audit},{LISTENER}={audit},access={access},sqlx=warn,h2=error,rustls=warn")
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
                assert!(enabled!(target: LISTENER, Level::INFO), "{level:?}");
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
        // Panics of other tests are shown as usual.
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

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("the last panic");
        }
    }

    fn panic_in_depth(depth: usize) -> usize {
        match depth {
            0 => {
                let _dropped = PanicsWhenDropped;
                panic!("{}", "the first panic".repeat(10_000))
            }
            // The addition keeps the compiler from making a loop of it.
            _ => panic_in_depth(depth - 1) + std::hint::black_box(1),
        }
    }

    #[test]
    fn a_process_that_aborts_has_logged_its_panics_whatever_their_length() {
        const AGAIN: &str = "GATEPOST_TEST_PANICS";
        if std::env::var_os(AGAIN).is_some() {
            let settings = LogSettings { format: LogFormat::Json, ..LogSettings::default() };
            start_log(&settings).unwrap();
            start_log(&settings).unwrap();
            panic_in_depth(1_000);
        }
        // This test again, in a process of its own, which aborts.
        let name = "server::log::tests::a_process_that_aborts_has_logged_its_panics_whatever_their_length";
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([name, "--exact", "--nocapture"]).env(AGAIN, "").env("RUST_BACKTRACE", "1");
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<serde_json::Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let panics: Vec<_> = lines.iter().filter(|line| line["target"] == "panic").collect();
        // The last one is the runtime's own: such a panic cannot unwind.
        for (nth, reason) in ["the first panic", "the last panic", "panic in a "].into_iter().enumerate() {
            let panic = panics.get(nth).unwrap_or_else(|| panic!("no '{reason}' in {text}"));
            assert!(panic["reason"].as_str().unwrap().starts_with(reason), "{panic}");
            let backtrace = panic["backtrace"].as_str().unwrap();
            assert!(backtrace.contains("panic_in_depth") && backtrace.ends_with('…'), "{backtrace}");
        }
    }

    #[test]
    fn a_text_is_cut_by_its_length_in_json() {
        for text in ["", "short", "\u{1}\u{1b}", "ää"] {
            assert_eq!(cut(text, 12), text);
        }
        assert_eq!(cut("\u{1}\u{2}\u{3}", 12), "\u{1}\u{2}…");
        assert_eq!(cut("äää", 5), "ää…");
        for character in ['a', '\n', '"', '\\', '\u{0}', '\u{1b}', '\u{7f}', '\u{9b}', 'ä', '😀'] {
            let text = cut(&character.to_string().repeat(1000), 600);
            assert!(serde_json::to_string(&text).unwrap().len() <= 600 + "\"…\"".len(), "{character:?}");
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
