//! The steps of an SMTP session, which need the client's connection, the credential or the backend.
//!
//! Every wait for a backend is a future on the heap, so that a session that waits for its client is small.

use zeroize::Zeroize;

use super::{BUFFER, PauseReason, SessionDriver};
use crate::edge::smtp::shutdown::Shutdown;
use crate::state::metrics::SmtpLimit;
use crate::wire::smtp::session::{ContentPiece, GATHER, SessionLimit, SessionStep};
use crate::wire::smtp::{Reply, replies};

impl SessionDriver {
    /// Processes the input as far as possible, and takes every step of the session.
    pub(super) async fn work(&mut self, shutdown: &mut Shutdown) -> PauseReason {
        let may_hold_secrets = self.granted.is_none();
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        let reason = self.take_steps(&mut rest, shutdown).await;
        for limit in self.session.take_reached_limits() {
            self.worker.entry.metrics.smtp_limit(limit_metric(limit));
        }
        let used = input.len() - rest.len();
        self.keep_unprocessed(input, used, may_hold_secrets);
        if self.delivery.is_some() && !self.session.is_in_transaction() {
            self.end_transaction();
        }
        reason
    }

    async fn take_steps(&mut self, rest: &mut &[u8], shutdown: &mut Shutdown) -> PauseReason {
        let environment = self.worker.entry.environment();
        loop {
            if self.out.len() >= GATHER && !self.session.is_over() {
                return PauseReason::RepliesFull;
            }
            if shutdown.has_begun() && self.may_stop(rest) {
                self.close_with(&replies::STOPPING);
            }
            let step = self.session.step(rest, &mut self.out, &environment);
            self.log_refusals();
            match step {
                SessionStep::Read => return PauseReason::NeedsInput,
                SessionStep::Flush => return PauseReason::RepliesFull,
                SessionStep::StartTls => return PauseReason::StartTls,
                SessionStep::Close => {
                    self.end_transaction();
                    return PauseReason::Closed;
                }
                SessionStep::Check(credential) => {
                    if shutdown.before_deadline(self.check(&credential)).await.is_none() {
                        self.give_up();
                    }
                }
                SessionStep::Envelope(envelope) => {
                    if shutdown.unless_begun(Box::pin(self.envelope(envelope))).await.is_none() {
                        self.give_up();
                    }
                }
                SessionStep::Reset => self.end_transaction(),
                SessionStep::Data => self.data(shutdown).await,
                SessionStep::Content(piece) => self.content(&piece, shutdown).await,
                SessionStep::Finish(piece) => self.finish(&piece, shutdown).await,
                SessionStep::Chunk(bytes) => {
                    let may_stop = self.may_stop(rest);
                    self.chunk(&bytes, may_stop, shutdown).await;
                }
                SessionStep::LastChunk(bytes) => self.last_chunk(&bytes, shutdown).await,
                SessionStep::Abort => {
                    if let Some(delivery) = &mut self.delivery {
                        delivery.abort();
                    }
                }
            }
        }
    }

    async fn data(&mut self, shutdown: &mut Shutdown) {
        let reply = match (self.may_continue(shutdown).await, &mut self.delivery) {
            (None, _) => return,
            (Some(Err(reply)), _) => Some(reply),
            (_, Some(delivery)) => shutdown.unless_begun(Box::pin(delivery.data())).await,
            (_, None) => Some(replies::NO_BACKEND),
        };
        let Some(reply) = reply else { return self.give_up() };
        self.session.complete_data_command(&reply, &mut self.out);
        if !reply.is_intermediate() {
            self.end_transaction();
        }
    }

    async fn content(&mut self, piece: &ContentPiece<'_>, shutdown: &mut Shutdown) {
        self.count_bytes(piece.len());
        let written = match &mut self.delivery {
            Some(delivery) => shutdown.before_deadline(Box::pin(delivery.write(piece))).await,
            None => Some(Err(replies::BACKEND_LOST)),
        };
        self.note_written(written);
    }

    async fn finish(&mut self, piece: &ContentPiece<'_>, shutdown: &mut Shutdown) {
        self.count_bytes(piece.len());
        let reply = match &mut self.delivery {
            Some(delivery) => shutdown.before_deadline(Box::pin(delivery.finish(piece))).await,
            None => Some(replies::BACKEND_LOST),
        };
        self.conclude(reply);
    }

    /// Sends a chunk. If `may_stop`, the start of a stop ends the wait for the backend, else its deadline does.
    async fn chunk(&mut self, bytes: &[u8], may_stop: bool, shutdown: &mut Shutdown) {
        self.count_bytes(bytes.len());
        let written = match (self.may_continue_with_chunk(shutdown).await, &mut self.delivery) {
            (None, _) => return,
            (Some(Err(reply)), _) => Some(Err(reply)),
            (_, Some(delivery)) => {
                let chunk = Box::pin(delivery.chunk(bytes));
                match may_stop {
                    true => shutdown.unless_begun(chunk).await,
                    false => shutdown.before_deadline(chunk).await,
                }
            }
            (_, None) => Some(Err(replies::BACKEND_LOST)),
        };
        self.note_written(written);
    }

    async fn last_chunk(&mut self, bytes: &[u8], shutdown: &mut Shutdown) {
        self.count_bytes(bytes.len());
        let reply = match (self.may_continue_with_chunk(shutdown).await, &mut self.delivery) {
            (None, _) => return,
            (Some(Err(reply)), _) => Some(reply),
            (_, Some(delivery)) => shutdown.before_deadline(Box::pin(delivery.last_chunk(bytes))).await,
            (_, None) => Some(replies::BACKEND_LOST),
        };
        self.conclude(reply);
    }

    fn count_bytes(&self, count: usize) {
        self.worker.entry.metrics.smtp_message_bytes.inc_by(count as u64);
    }

    /// Passes on the result of writing a piece of a message: `None` if a stop of the gateway ended the write.
    fn note_written(&mut self, written: Option<Result<(), Reply>>) {
        match written {
            Some(Ok(())) => {}
            Some(Err(reply)) => self.session.fail_content(reply),
            None => self.give_up(),
        }
    }

    /// Passes on the reply to a message: `None` if the deadline of a stop passed before it came.
    fn conclude(&mut self, reply: Option<Reply>) {
        match reply {
            Some(reply) => {
                self.session.complete_message(&reply, &mut self.out);
                self.end_transaction();
            }
            None => self.give_up(),
        }
    }

    /// Keeps the input behind the first `used` bytes. A session that waits for a command keeps at most [`BUFFER`] bytes of
    /// capacity.
    fn keep_unprocessed(&mut self, mut input: Vec<u8>, used: usize, may_hold_secrets: bool) {
        if may_hold_secrets {
            let left = input.len() - used;
            input.copy_within(used.., 0);
            input[left..].zeroize();
            input.truncate(left);
        } else {
            input.drain(..used);
        }
        if !input.is_empty() || input.capacity() <= BUFFER || self.session.is_receiving() {
            self.input = input;
        }
    }

    /// Returns true if a stop may end the session before `rest` is processed. Chunks that came together are one message in
    /// progress.
    fn may_stop(&self, rest: &[u8]) -> bool {
        !self.session.is_over()
            && !self.session.is_transferring()
            && (rest.is_empty() || !self.session.is_receiving())
    }

    /// Ends the session for a stop while a backend reply is pending. The backend connection is closed, since that reply may
    /// still arrive.
    pub(super) fn give_up(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.give_up();
        }
        self.close_with(&replies::STOPPING);
    }
}

fn limit_metric(limit: SessionLimit) -> SmtpLimit {
    match limit {
        SessionLimit::Errors => SmtpLimit::Errors,
        SessionLimit::Logins => SmtpLimit::Logins,
        SessionLimit::Messages => SmtpLimit::Messages,
        SessionLimit::Recipients => SmtpLimit::Recipients,
        SessionLimit::Size => SmtpLimit::Size,
    }
}
