//! What the system asks of the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that mean something, heard from the moment that this is made: what the system does by itself on any of
/// them is to end the process on the spot.
pub struct Signals {
    /// SIGTERM and SIGINT.
    pub stop: Stop,
    /// SIGHUP.
    pub hangup: Signal,
}

/// What asks the process to end.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen. Needs a tokio runtime.
    ///
    /// # Errors
    /// Where the system gives no handlers.
    pub fn listen() -> io::Result<Signals> {
        let stop =
            Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Signals { stop, hangup: signal(SignalKind::hangup())? })
    }
}

impl Stop {
    /// Waits for the next one. What comes while nobody waits is not lost.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
