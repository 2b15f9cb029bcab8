//! The thread that writes the log, so that no other thread waits for it.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::batch::Batch;
use super::buffer::{Bounds, Buffer};
use super::line::{LineKind, LossCount};
use crate::state::metrics::LostLines;

/// The bytes that are written at once, unless a single line is longer. A pipe takes that many in one piece (PIPE_BUF, pipe(7)),
/// so that lines of several processes on one pipe are not mixed.
const CHUNK: usize = 4096;
/// Pauses after an error: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The time after a line in which further lines do not wake the writer, which then writes them together. Waking it would
/// cost more than everything else.
const LINGER: Duration = Duration::from_millis(1);
/// Pauses while a non-blocking descriptor takes nothing: the first, and the longest.
const STALLED: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// The log between the code that logs and the thread that writes.
#[derive(Debug)]
pub struct LogWriter {
    state: Mutex<WriterState>,
    /// Signals lines to the writer.
    work: Condvar,
    /// Ends a pause of the writer, because all lines are wanted now.
    ending: Condvar,
    /// Signals that all lines are written, or cannot be.
    ended: Condvar,
}

#[derive(Debug)]
struct WriterState {
    buffer: Buffer,
    /// Losses that no line reports yet.
    unreported: LossCount,
    /// The writer has to be woken for a line.
    sleeping: bool,
    /// The writer has lines that are not written yet.
    writing: bool,
    /// The process ends.
    ending: bool,
    /// The last lines cannot be written.
    failed: bool,
}

impl WriterState {
    fn is_done(&self) -> bool {
        self.failed || (!self.writing && self.buffer.is_empty() && self.unreported == LossCount::NONE)
    }
}

impl LogWriter {
    /// A log with these bounds, which no thread writes yet.
    pub const fn new(bounds: Bounds) -> LogWriter {
        let buffer = Buffer::new(bounds);
        let state = WriterState {
            buffer,
            unreported: LossCount::NONE,
            sleeping: false,
            writing: false,
            ending: false,
            failed: false,
        };
        LogWriter {
            state: Mutex::new(state),
            work: Condvar::new(),
            ending: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    /// Adds a line, which ends in a line end. Never waits for the writer. If there is no room, lines are lost and counted.
    pub fn push(&self, kind: LineKind, line: &[u8]) {
        let line = line.into();
        let mut state = self.state.lock();
        let lost = state.buffer.push(kind, line);
        state.unreported += lost;
        let sleeping = std::mem::take(&mut state.sleeping);
        drop(state);
        if sleeping {
            self.work.notify_one();
        }
        count(lost);
    }

    /// Waits until all lines are written, or cannot be, for `patience` at most. The writer hurries from then on.
    pub fn end(&self, patience: Duration) {
        self.state.lock().ending = true;
        self.flush(patience);
    }

    /// Waits until all lines are written, for `patience` at most.
    pub fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        self.ending.notify_one();
        while !state.is_done() && !self.ended.wait_until(&mut state, until).timed_out() {}
    }

    /// Writes lines to `out`, forever. `tell` makes the line that reports losses.
    pub fn run(&self, mut out: impl Write, tell: impl Fn(LossCount) -> Vec<u8>) -> ! {
        let mut batch = Batch::default();
        let mut pause = Duration::ZERO;
        loop {
            let unreported = self.wait(&batch, pause);
            if unreported != LossCount::NONE {
                batch.push_notice(unreported, &tell(unreported));
            }
            self.state.lock().buffer.fill(&mut batch, CHUNK);
            match write(&mut out, &mut batch) {
                Ok(()) => pause = Duration::ZERO,
                Err(error) => {
                    self.drop_unwritten(&mut batch, &error);
                    pause = longer(pause, PAUSES);
                }
            }
        }
    }

    /// Waits for something to write; after an error, for `pause`. Returns the losses to report.
    fn wait(&self, batch: &Batch, pause: Duration) -> LossCount {
        let mut state = self.state.lock();
        state.buffer.settle(batch);
        state.writing = !batch.is_empty();
        state.failed = !pause.is_zero() && state.ending;
        if state.is_done() {
            self.ended.notify_all();
        }
        let idle = |state: &WriterState| {
            batch.is_empty() && state.buffer.is_empty() && state.unreported == LossCount::NONE
        };
        if !pause.is_zero() {
            self.ending.wait_for(&mut state, pause);
        } else if idle(&state) {
            self.ending.wait_for(&mut state, LINGER);
        }
        while idle(&state) {
            state.sleeping = true;
            self.work.wait(&mut state);
        }
        state.writing = true;
        std::mem::take(&mut state.unreported)
    }

    /// Counts the lines as lost that were not written because of an error. Audit lines wait for another attempt, unless the
    /// reader is gone: then all waiting lines are lost as well.
    fn drop_unwritten(&self, batch: &mut Batch, error: &io::Error) {
        let is_closed = error.kind() == ErrorKind::BrokenPipe;
        let dropped = batch.drop_unwritten(!is_closed);
        let mut lost = dropped.lost;
        let mut state = self.state.lock();
        if is_closed {
            lost += state.buffer.clear();
        }
        state.unreported += lost;
        state.unreported += dropped.unreported;
        drop(state);
        count(lost);
    }
}

fn count(lost: LossCount) {
    if lost != LossCount::NONE {
        let lines = LostLines::of_this_process();
        lines.audit.inc_by(lost.audit);
        lines.other.inc_by(lost.other);
    }
}

/// The next pause: twice as long, within these bounds.
fn longer(pause: Duration, (first, longest): (Duration, Duration)) -> Duration {
    (pause * 2).clamp(first, longest)
}

/// Writes the whole batch, however long that takes.
///
/// # Errors
/// Those of `out`, except that a non-blocking descriptor is tried again.
fn write(out: &mut impl Write, batch: &mut Batch) -> io::Result<()> {
    let mut pause = Duration::ZERO;
    while !batch.is_empty() {
        match out.write(batch.rest()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                batch.advance(count);
                pause = Duration::ZERO;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                pause = longer(pause, STALLED);
                std::thread::sleep(pause);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const BOUNDS: Bounds = Bounds { total: 10_000, reserved: 2_500, line: 1_000 };
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A log that takes as many bytes at each call as it is told to, or fails as it is told to.
    struct Scripted {
        script: Receiver<io::Result<usize>>,
        out: Sender<String>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let next = self.script.recv().unwrap_or_else(|_| {
                loop {
                    std::thread::park();
                }
            });
            let count = next?.min(bytes.len());
            self.out.send(String::from_utf8(bytes[..count].to_vec()).unwrap()).unwrap();
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log whose thread runs to the end of the test's process, what it is told, and what it wrote.
    fn started() -> (Arc<LogWriter>, Sender<io::Result<usize>>, Receiver<String>) {
        let log = Arc::new(LogWriter::new(BOUNDS));
        let ((tell, script), (out, written)) = (channel(), channel());
        let writer = log.clone();
        let notice = |lost: LossCount| format!("lost {} {}\n", lost.audit, lost.other).into_bytes();
        std::thread::spawn(move || writer.run(Scripted { script, out }, notice));
        (log, tell, written)
    }

    const ALL: io::Result<usize> = Ok(usize::MAX);

    #[test]
    fn after_an_error_audit_lines_are_written_and_others_told_of() {
        let (log, script, written) = started();
        log.push(LineKind::Other, b"one\n");
        script.send(Ok(2)).unwrap();
        assert_eq!(written.recv().unwrap(), "on");
        // While the first is in the writer's hands, the next are together.
        log.push(LineKind::Other, b"two\n");
        log.push(LineKind::Audit, b"three\n");
        script.send(ALL).unwrap();
        assert_eq!(written.recv().unwrap(), "e\n");
        script.send(Err(ErrorKind::StorageFull.into())).unwrap();
        script.send(ALL).unwrap();
        assert_eq!(written.recv().unwrap(), "three\nlost 0 1\n");
    }

    #[test]
    fn where_nobody_reads_any_more_all_is_lost() {
        let (log, script, written) = started();
        log.push(LineKind::Other, b"one\n");
        script.send(Ok(2)).unwrap();
        assert_eq!(written.recv().unwrap(), "on");
        log.push(LineKind::Audit, b"two\n");
        script.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
        script.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
        script.send(ALL).unwrap();
        assert_eq!(written.recv().unwrap(), "e\nlost 1 0\n");
    }

    #[test]
    fn a_descriptor_that_does_not_block_is_asked_again() {
        let (log, script, written) = started();
        log.push(LineKind::Other, b"one\n");
        for answer in [Err(ErrorKind::WouldBlock.into()), Err(ErrorKind::Interrupted.into()), ALL] {
            script.send(answer).unwrap();
        }
        assert_eq!(written.recv().unwrap(), "one\n");
    }

    #[test]
    fn a_flush_waits_for_the_lines_and_ends_nothing() {
        let (log, script, written) = started();
        for line in ["one\n", "two\n"] {
            log.push(LineKind::Other, line.as_bytes());
            script.send(ALL).unwrap();
            log.flush(PATIENCE);
            assert_eq!(written.try_recv().unwrap(), line);
        }
        assert!(!log.state.lock().ending);
    }

    #[test]
    fn the_end_waits_for_the_last_lines_and_not_for_a_log_that_takes_none() {
        let (log, script, written) = started();
        let began = Instant::now();
        log.end(PATIENCE);
        log.push(LineKind::Other, b"one\n");
        script.send(ALL).unwrap();
        log.end(PATIENCE);
        assert_eq!(written.try_recv().unwrap(), "one\n");
        log.push(LineKind::Audit, b"two\n");
        for _ in 0..10 {
            script.send(Err(ErrorKind::StorageFull.into())).unwrap();
        }
        log.end(PATIENCE);
        assert!(began.elapsed() < PATIENCE);
        // A stalled one.
        let (log, _script, _) = started();
        log.push(LineKind::Other, b"one\n");
        log.end(Duration::from_millis(20));
    }
}
