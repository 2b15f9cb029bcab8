//! The least pace at which a client has to send the body of its request.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora_timeout::timeout;

use super::error::BodyError;
use crate::config::Timeouts;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::quota::QuotaLease;

/// The bytes that must arrive in each window of `body_timeout`. A client that sends less holds a backend for no longer.
const PROGRESS: usize = 1024;

/// The longest pause in a form without a known credential while there is little room for others.
const PAUSE: Duration = Duration::from_secs(2);

/// The least average rate, in bytes a second, of a body that is read before its credential is known: 64 kbit/s.
const LEAST_RATE: u64 = 8 * 1024;

/// Checks that a client makes progress. Only the time in which Gatepost waits for the client counts, and not the time that a backend
/// takes.
pub struct Pace {
    window: Duration,
    waited: Duration,
    /// The bytes that arrived in that time.
    bytes: usize,
    whole: Option<Whole>,
}

/// The limits for a body as a whole.
struct Whole {
    begun: Instant,
    bytes: u64,
    deadline: Duration,
}

impl Whole {
    /// The time that is left: beside the first `window`, each second must bring [`LEAST_RATE`] bytes on average.
    fn left(&self, window: Duration) -> Duration {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / LEAST_RATE);
        (window + earned).min(self.deadline).saturating_sub(self.begun.elapsed())
    }
}

/// Counts the time of one wait, even if that is cancelled because the backend responds.
struct WaitTimer<'a> {
    waited: &'a mut Duration,
    since: Instant,
}

impl Drop for WaitTimer<'_> {
    fn drop(&mut self) {
        *self.waited += self.since.elapsed();
    }
}

impl Pace {
    /// A pace of [`PROGRESS`] bytes in each `window`.
    pub fn new(window: Duration) -> Pace {
        Pace { window, waited: Duration::ZERO, bytes: 0, whole: None }
    }

    /// The pace of a body that is read before its credential is known, and takes room that others may need: as [`Pace::new`], with
    /// [`LEAST_RATE`] on average, and all of it within `timeouts.form`.
    pub fn of_unknown(timeouts: &Timeouts) -> Pace {
        let whole = Whole { begun: Instant::now(), bytes: 0, deadline: timeouts.form };
        Pace { whole: Some(whole), ..Pace::new(timeouts.body) }
    }

    /// The next piece of the body, `None` at its end. `room` is the room of a form whose credential isn't known yet. While room is
    /// scarce, each [`PAUSE`] must bring [`PROGRESS`] bytes.
    ///
    /// # Errors
    /// The client went away, is too slow, or sends an invalid body.
    pub async fn read(
        &mut self,
        session: &mut ClientSession,
        room: Option<&QuotaLease>,
    ) -> Result<Option<Bytes>, BodyError> {
        let patience = self.whole.as_ref().map_or(self.window, |w| w.left(self.window).min(self.window));
        let waiting = WaitTimer { waited: &mut self.waited, since: Instant::now() };
        let read = {
            let mut reading = pin!(session.read_body());
            let mut left = patience;
            loop {
                let part = if room.is_some() { left.min(PAUSE) } else { left };
                let read = timeout(part, &mut reading).await;
                left -= part;
                if read.is_ok() || left.is_zero() || room.is_some_and(QuotaLease::is_crowded) {
                    break read;
                }
            }
        };
        drop(waiting);
        let window = match room {
            Some(room) if self.waited > PAUSE && room.is_crowded() => PAUSE,
            _ => self.window,
        };
        let piece = match read {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(BodyError::Refused(Refusal::Timeout)),
        };
        let read = piece.as_ref().map_or(0, Bytes::len);
        self.bytes += read;
        if let Some(whole) = &mut self.whole {
            whole.bytes += read as u64;
            if piece.is_some() && whole.left(self.window).is_zero() {
                return Err(BodyError::Refused(Refusal::Timeout));
            }
        }
        if self.bytes >= PROGRESS {
            self.bytes = 0;
            self.waited = Duration::ZERO;
        } else if piece.is_some() && self.waited > window {
            return Err(BodyError::Refused(Refusal::Timeout));
        }
        Ok(piece)
    }
}
