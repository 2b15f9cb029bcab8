//! A request's body on its way: as it comes from the client, with what it holds of a credential blotted out, or as it
//! was spooled.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::ServerSession;
use pingora_error::ErrorType;
use pingora_timeout::timeout;

use super::spool::Spool;
use crate::config::Timeouts;
use crate::edge::http::error::Refusal;
use crate::edge::http::framing;
use crate::edge::http::quota::Lease;
use crate::edge::http::respond;
use crate::wire::{BodyScanner, FormError, Gathered, Held};

/// What has to arrive in each window of `body_timeout`, in bytes; a client that drips holds a backend for no longer.
const PROGRESS: usize = 1024;

/// The longest pause in a form without a known credential while there is little room for others.
const PAUSE: Duration = Duration::from_secs(2);

/// How many bytes a second have to come, on average, of a body that is read before anybody is known: 64 kbit/s.
const LEAST_RATE: u64 = 8 * 1024;

/// pingora's own errors for an invalid chunk and an invalid trailer section, whose constants it keeps to itself. They can come
/// only where its bounds are narrower than those of `wire::chunked`.
const INVALID_CHUNK: ErrorType = ErrorType::new("InvalidChunk");
const INVALID_TRAILER_END: ErrorType = ErrorType::new("InvalidTrailerEnd");

/// Why a body can't be had.
#[derive(Debug)]
pub enum BodyError {
    /// The client went away.
    Gone,
    /// The request is refused.
    Refused(Refusal),
}

/// Looks at a streamed form on its way through: blots out what it holds of a credential, and compares it with the one
/// that was decided on.
pub struct Mask {
    scanner: Option<BodyScanner>,
    decided: Option<Held>,
}

impl Mask {
    /// `decided` is the credential that was decided on.
    pub fn new(scanner: BodyScanner, decided: Held) -> Mask {
        Mask { scanner: Some(scanner), decided: Some(decided) }
    }

    /// Where nobody has to present a credential: blots out what it finds of one, whole or half, one or several.
    pub fn lenient(scanner: BodyScanner) -> Mask {
        Mask { scanner: Some(scanner.of_any_credential()), decided: None }
    }
}

enum Source {
    /// Nothing comes.
    Empty,
    /// It comes from the client.
    Client(Box<Streamed>),
    /// It was read before.
    Spooled(Box<Spool>),
}

/// A body that comes from the client as it is forwarded.
struct Streamed {
    mask: Option<Mask>,
    pace: Pace,
    ready: VecDeque<Bytes>,
    begun: bool,
    /// The client waits for a 100, and how long that may take.
    wants_continue: Option<Duration>,
    /// The room of a body without a credential.
    room: Option<Lease>,
}

/// A request's body, piece by piece.
pub struct Body {
    source: Source,
    /// Its end was given out.
    sent: bool,
    /// The backend takes no more.
    given_up: bool,
    /// What was sent isn't needed for another attempt.
    once: bool,
}

impl Body {
    /// None.
    pub fn empty() -> Body {
        Body { source: Source::Empty, sent: true, given_up: false, once: false }
    }

    /// What the client sends, at no less than [`PROGRESS`] bytes in each `window`. `wants_continue`: it waits for a
    /// 100 (RFC 9110 section 10.1.1), which may take that long. `room` is given back when the body has ended.
    pub fn streamed(
        mask: Option<Mask>,
        window: Duration,
        wants_continue: Option<Duration>,
        room: Option<Lease>,
    ) -> Body {
        let pace = Pace::new(window);
        let streamed = Streamed { mask, pace, ready: VecDeque::new(), begun: false, wants_continue, room };
        Body { source: Source::Client(Box::new(streamed)), sent: false, given_up: false, once: false }
    }

    /// What was spooled; it must be rewound.
    pub fn spooled(spool: Spool) -> Body {
        Body { source: Source::Spooled(Box::new(spool)), sent: false, given_up: false, once: false }
    }

    /// Its length where it was spooled.
    pub fn spooled_length(&self) -> Option<u64> {
        match &self.source {
            Source::Spooled(spool) => Some(spool.length()),
            _ => None,
        }
    }

    /// Whether all of it was given out.
    pub fn is_sent(&self) -> bool {
        self.sent && !self.given_up
    }

    /// Whether nothing more of it will be given out.
    pub fn is_over(&self) -> bool {
        self.sent || self.given_up
    }

    /// Ends it early: the backend takes no more.
    pub fn give_up(&mut self) {
        self.given_up = true;
        self.let_go();
    }

    /// No attempt follows the one that is under way: what was spooled is let go with its last byte.
    pub fn send_once(&mut self) {
        self.once = true;
        self.let_go();
    }

    fn let_go(&mut self) {
        if self.once && self.is_over() && matches!(self.source, Source::Spooled(_)) {
            self.source = Source::Empty;
        }
    }

    /// Goes back to the beginning for another attempt; false where it can't.
    pub async fn rewind(&mut self) -> bool {
        if self.once {
            return false;
        }
        let possible = match &mut self.source {
            Source::Empty => return true,
            Source::Client(streamed) => !streamed.begun,
            Source::Spooled(spool) => spool.rewind().await.is_ok(),
        };
        self.sent = false;
        self.given_up = false;
        possible
    }

    /// The next piece, `None` at the end, and once it is over, waits for the client to go away. A call that was
    /// dropped half-way loses nothing.
    ///
    /// # Errors
    /// Where the client went away, is too slow, or sends what can't be forwarded.
    pub async fn next(&mut self, session: &mut ServerSession) -> Result<Option<Bytes>, BodyError> {
        if self.is_over() {
            if !self.sent {
                // Unread bytes tell nothing about whether the client is still there.
                return std::future::pending().await;
            }
            return match session.read_body_or_idle(true).await {
                Ok(_) => std::future::pending().await,
                Err(_) => Err(BodyError::Gone),
            };
        }
        let piece = match &mut self.source {
            Source::Empty => None,
            Source::Spooled(spool) => spool.next().await.map_err(spool_failed)?,
            Source::Client(streamed) => streamed.next(session).await?,
        };
        self.sent = piece.is_none();
        self.let_go();
        Ok(piece)
    }
}

impl Streamed {
    async fn next(&mut self, session: &mut ServerSession) -> Result<Option<Bytes>, BodyError> {
        if let Some(within) = self.wants_continue.take()
            && !respond::say_continue(session, within).await
        {
            return Err(BodyError::Gone);
        }
        loop {
            // The last piece of a form stays here until the form has been judged as a whole: a request that is refused
            // for what stands in it must not be complete to the backend.
            let held = self.mask.as_ref().is_some_and(Mask::could_refuse_at_the_end);
            if (!held || self.ready.len() > 1)
                && let Some(piece) = self.ready.pop_front()
            {
                return Ok(Some(piece));
            }
            if self.mask.as_ref().is_some_and(|mask| mask.scanner.is_none()) {
                return Ok(None);
            }
            let read = self.pace.read(session, None).await?;
            self.begun = true;
            match (read, &mut self.mask) {
                (Some(piece), Some(mask)) => mask.pass(piece, &mut self.ready)?,
                (Some(piece), None) => return Ok(Some(piece)),
                (None, mask) => {
                    self.room = None;
                    let Some(mask) = mask else { return Ok(None) };
                    mask.finish().inspect_err(|_| self.ready.clear())?;
                }
            }
        }
    }
}

impl Mask {
    fn could_refuse_at_the_end(&self) -> bool {
        self.scanner.as_ref().is_some_and(BodyScanner::could_fail_at_the_end)
    }

    fn pass(&mut self, piece: Bytes, ready: &mut VecDeque<Bytes>) -> Result<(), BodyError> {
        if piece.is_empty() {
            return Ok(());
        }
        let Some(scanner) = &mut self.scanner else {
            ready.push_back(piece);
            return Ok(());
        };
        let mut piece = BytesMut::from(piece);
        scanner.scan(&mut piece).map_err(form_refused)?;
        ready.push_back(piece.freeze());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BodyError> {
        let Some(scanner) = self.scanner.take() else { return Ok(()) };
        let found = match (scanner.finish(), &self.decided) {
            // What is there of a credential is blotted out, and that is all that matters.
            (Err(FormError::Credential(_)), None) => None,
            (found, _) => found.map_err(form_refused)?,
        };
        if let (Some(decided), Some(found)) = (&self.decided, &found) {
            let mut both = Gathered::new();
            both.add(decided.presented())
                .and_then(|()| both.add(found.presented()))
                .map_err(|e| BodyError::Refused(Refusal::Malformed(e.to_string().into())))?;
        }
        Ok(())
    }
}

/// What a form that can't be read is answered with.
pub fn form_refused(error: FormError) -> BodyError {
    BodyError::Refused(Refusal::Malformed(error.to_string().into()))
}

/// What a spool that can't be used is answered with.
pub fn spool_failed(error: io::Error) -> BodyError {
    tracing::error!(%error, "a request's body can't be spooled");
    BodyError::Refused(Refusal::Overloaded("Temporarily unavailable, try again"))
}

/// Watches that a client makes progress. Only the time in which it is waited for counts: it isn't slow while a backend is
/// looked for, or takes its time.
pub struct Pace {
    window: Duration,
    waited: Duration,
    /// What came in that time.
    bytes: usize,
    whole: Option<Whole>,
}

/// What a body as a whole may take.
struct Whole {
    begun: Instant,
    bytes: u64,
    deadline: Duration,
}

impl Whole {
    /// Beside the first `window`, each second has to bring [`LEAST_RATE`] bytes on average.
    fn left(&self, window: Duration) -> Duration {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / LEAST_RATE);
        (window + earned).min(self.deadline).saturating_sub(self.begun.elapsed())
    }
}

/// Counts the time of one wait, also of one that is given up half-way since the backend says something.
struct Waiting<'a> {
    waited: &'a mut Duration,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.waited += self.since.elapsed();
    }
}

impl Pace {
    /// A pace of [`PROGRESS`] bytes in each `window`.
    pub fn new(window: Duration) -> Pace {
        Pace { window, waited: Duration::ZERO, bytes: 0, whole: None }
    }

    /// The pace of a body that is read before anybody is known, which costs room that others may need: as
    /// [`Pace::new`], and [`LEAST_RATE`] on average, and all of it within `timeouts.form`.
    pub fn of_unknown(timeouts: &Timeouts) -> Pace {
        let whole = Whole { begun: Instant::now(), bytes: 0, deadline: timeouts.form };
        Pace { whole: Some(whole), ..Pace::new(timeouts.body) }
    }

    /// The next piece of the body as it comes, `None` at its end. `room` is what a form has taken until its credential is known:
    /// while that is scarce, each [`PAUSE`] must bring [`PROGRESS`] bytes.
    ///
    /// # Errors
    /// Where the client went away or is too slow.
    pub async fn read(
        &mut self,
        session: &mut ServerSession,
        room: Option<&Lease>,
    ) -> Result<Option<Bytes>, BodyError> {
        let patience = self.whole.as_ref().map_or(self.window, |w| w.left(self.window).min(self.window));
        let waiting = Waiting { waited: &mut self.waited, since: Instant::now() };
        let read = {
            let mut reading = pin!(session.read_request_body());
            let mut left = patience;
            loop {
                let part = if room.is_some() { left.min(PAUSE) } else { left };
                let read = timeout(part, &mut reading).await;
                left -= part;
                if read.is_ok() || left.is_zero() || room.is_some_and(Lease::is_crowded) {
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
            Ok(Err(error)) => {
                // Where the next request would begin can't be known.
                session.set_keepalive(None);
                return Err(match framing::deviation(&error) {
                    Some(deviation) => {
                        let reason = format!("The request's body can't be understood: {deviation}");
                        BodyError::Refused(Refusal::Malformed(reason.into()))
                    }
                    None if [INVALID_CHUNK, INVALID_TRAILER_END].contains(error.etype()) => {
                        BodyError::Refused(Refusal::Malformed(
                            "The request's body can't be understood".into(),
                        ))
                    }
                    None => BodyError::Gone,
                });
            }
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
