//! The body of a request, piece by piece: as it comes from the client, or as it was spooled.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use pingora_core::protocols::http::ServerSession;

use super::error::{BodyError, spool_failed};
use super::pacing::Pace;
use super::spool::Spool;
use crate::edge::http::masking::Mask;
use crate::edge::http::quota::QuotaLease;
use crate::edge::http::respond;

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
    room: Option<QuotaLease>,
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

    /// What the client sends, at the pace of [`Pace::new`] for `window`. `wants_continue`: it waits for a
    /// 100 (RFC 9110 section 10.1.1), which may take that long. `room` is given back when the body has ended.
    pub fn streamed(
        mask: Option<Mask>,
        window: Duration,
        wants_continue: Option<Duration>,
        room: Option<QuotaLease>,
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
                    mask.finish().inspect_err(|_| self.ready.clear())?;
                }
            }
        }
    }
}
