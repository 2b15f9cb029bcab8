//! The body of a request, piece by piece: as it comes from the client, or as it was spooled.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::error::{BodyError, spool_failed};
use super::pacing::Pace;
use super::spool::Spool;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::masking::Mask;
use crate::edge::http::quota::QuotaLease;

/// The most bytes of a body from the client that are kept for another attempt.
const SHORT: usize = 64 * 1024;

/// The most pieces of it.
const SHORT_PIECES: usize = 64;

enum BodySource {
    /// No body.
    Empty,
    /// The body comes from the client.
    Client(Box<Streamed>),
    /// The body was read before.
    Spooled(Box<Spool>),
}

/// A body that comes from the client while it is forwarded.
struct Streamed {
    mask: Option<Mask>,
    pace: Pace,
    ready: VecDeque<Bytes>,
    begun: bool,
    /// The time limit for a 100, if the client waits for one.
    wants_continue: Option<Duration>,
    /// The room of a body without a credential.
    room: Option<QuotaLease>,
}

/// A request's body, piece by piece.
pub struct Body {
    source: BodySource,
    /// True once its end was returned.
    sent: bool,
    /// True once the backend takes no more.
    given_up: bool,
    /// True if no other attempt needs what was sent.
    once: bool,
    /// The pieces of a short body that came from the client, for another attempt.
    kept: KeptPieces,
}

/// The first pieces of a body.
#[derive(Default)]
struct KeptPieces {
    pieces: Vec<Bytes>,
    length: usize,
    /// The number of pieces that were given out again.
    given: usize,
}

impl KeptPieces {
    fn keep(&mut self, piece: &Bytes) {
        let is_full = self.pieces.len() == SHORT_PIECES;
        self.length += if is_full { SHORT + 1 } else { piece.len() };
        match self.is_whole() {
            true => self.pieces.push(piece.clone()),
            false => self.pieces = Vec::new(),
        }
        self.given = self.pieces.len();
    }

    /// Returns true if no piece was too much to be kept.
    fn is_whole(&self) -> bool {
        self.length <= SHORT
    }

    /// The next piece that is given out again.
    fn again(&mut self) -> Option<Bytes> {
        let piece = self.pieces.get(self.given).cloned();
        self.given += usize::from(piece.is_some());
        piece
    }
}

impl Body {
    /// No body.
    pub fn empty() -> Body {
        Body {
            source: BodySource::Empty,
            sent: true,
            given_up: false,
            once: false,
            kept: KeptPieces::default(),
        }
    }

    /// The body that the client sends, at the pace of [`Pace::new`] for `window`. `wants_continue` is the time limit for the 100 that
    /// the client waits for (RFC 9110 section 10.1.1). `room` is given back when the body has ended.
    pub fn streamed(
        mask: Option<Mask>,
        window: Duration,
        wants_continue: Option<Duration>,
        room: Option<QuotaLease>,
    ) -> Body {
        let pace = Pace::new(window);
        let streamed = Streamed { mask, pace, ready: VecDeque::new(), begun: false, wants_continue, room };
        Body {
            source: BodySource::Client(Box::new(streamed)),
            sent: false,
            given_up: false,
            once: false,
            kept: KeptPieces::default(),
        }
    }

    /// A body that was spooled and rewound.
    pub fn spooled(spool: Spool) -> Body {
        Body {
            source: BodySource::Spooled(Box::new(spool)),
            sent: false,
            given_up: false,
            once: false,
            kept: KeptPieces::default(),
        }
    }

    /// The length of a body that was spooled.
    pub fn spooled_length(&self) -> Option<u64> {
        match &self.source {
            BodySource::Spooled(spool) => Some(spool.length()),
            _ => None,
        }
    }

    /// Returns true if the client waits for a 100 before it sends it.
    pub fn wants_continue(&self) -> bool {
        matches!(&self.source, BodySource::Client(streamed) if streamed.wants_continue.is_some())
    }

    /// Returns true if all of it was returned.
    pub fn is_sent(&self) -> bool {
        self.sent && !self.given_up
    }

    /// Returns true if nothing more of it will be returned.
    pub fn is_over(&self) -> bool {
        self.sent || self.given_up
    }

    /// Ends it early, since the backend takes no more.
    pub fn give_up(&mut self) {
        self.given_up = true;
        self.let_go();
    }

    /// Notes that no other attempt follows. A spool is dropped after its last byte.
    pub fn send_once(&mut self) {
        self.once = true;
        self.let_go();
    }

    fn let_go(&mut self) {
        if self.once && self.is_over() && matches!(self.source, BodySource::Spooled(_)) {
            self.source = BodySource::Empty;
        }
        if self.once && self.kept.given == self.kept.pieces.len() {
            self.kept = KeptPieces::default();
        }
    }

    /// Goes back to the beginning for another attempt. Returns false if it can't.
    pub async fn rewind(&mut self) -> bool {
        if self.once {
            return false;
        }
        let possible = match &mut self.source {
            BodySource::Empty => return true,
            BodySource::Client(streamed) => !streamed.begun || self.kept.is_whole(),
            BodySource::Spooled(spool) => spool.rewind().await.is_ok(),
        };
        self.sent = false;
        self.given_up = false;
        self.kept.given = 0;
        possible
    }

    /// The next piece, `None` at the end. After the end, waits for the client to go away. Cancel safe.
    ///
    /// # Errors
    /// The client went away, is too slow, or sends a body that can't be forwarded.
    pub async fn next(&mut self, session: &mut ClientSession) -> Result<Option<Bytes>, BodyError> {
        if self.is_over() {
            if !self.sent {
                // Unread bytes don't show if the client is still there.
                return std::future::pending().await;
            }
            session.gone().await;
            return Err(BodyError::Gone);
        }
        let piece = match &mut self.source {
            BodySource::Empty => None,
            BodySource::Spooled(spool) => spool.next().await.map_err(spool_failed)?,
            BodySource::Client(streamed) => match self.kept.again() {
                Some(piece) => Some(piece),
                None => {
                    let piece = streamed.next(session).await?;
                    if let Some(piece) = piece.as_ref().filter(|_| !self.once) {
                        self.kept.keep(piece);
                    }
                    piece
                }
            },
        };
        self.sent = piece.is_none();
        self.let_go();
        Ok(piece)
    }
}

impl Streamed {
    async fn next(&mut self, session: &mut ClientSession) -> Result<Option<Bytes>, BodyError> {
        if let Some(within) = self.wants_continue.take()
            && !session.say_continue(within).await
        {
            return Err(BodyError::Gone);
        }
        loop {
            // The last piece of a form stays here until the form has been judged as a whole: the backend must not have all of a
            // request that is refused for its form.
            let held = self.mask.as_ref().is_some_and(Mask::could_refuse_at_the_end);
            if (!held || self.ready.len() > 1)
                && let Some(piece) = self.ready.pop_front()
            {
                return Ok(Some(piece));
            }
            if self.mask.as_ref().is_some_and(|mask| mask.is_finished()) {
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
                    mask.finish(&mut self.ready).inspect_err(|_| self.ready.clear())?;
                }
            }
        }
    }
}
