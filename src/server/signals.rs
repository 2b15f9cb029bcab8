//! The signals of the system to the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are handled, from the moment that this is made. Without a handler, the system would end the process at once.
pub struct Signals {
    /// SIGTERM and SIGINT.
    pub(super) stop: Stop,
    /// SIGHUP. One that comes before it is waited for is not lost.
    pub(super) hangup: Signal,
}

/// The signals that end the process.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn listen() -> io::Result<Signals> {
        let stop =
            Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Signals { stop, hangup: signal(SignalKind::hangup())? })
    }
}

impl Stop {
    /// Waits for the next signal. One that comes while nothing waits is not lost.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
