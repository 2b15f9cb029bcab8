//! The delivery of one transaction to a backend, as far as the client has got with it.
//!
//! A MAIL that comes alone is answered by us and waits for the first recipient: both go to the backend together, and one that
//! doesn't take the sender says so to the recipients. So a client that thinks between the two holds no connection.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tracing::{debug, info};

use super::backend::group::{BackendGroup, NoBackend};
use super::backend::lease::Lease;
use super::backend::lost::BackendLost;
use super::submitter::Submitter;
use crate::state::metrics::{MessageOutcome, Metrics};
use crate::wire::smtp::session::ContentPiece;
use crate::wire::smtp::{Reply, replies};

/// One transaction.
pub struct MailDelivery {
    backends: Arc<BackendGroup>,
    metrics: Arc<Metrics>,
    worker: usize,
    submitter: Arc<Submitter>,
    stage: DeliveryStage,
    /// The reply to a DATA that went with the envelope.
    announced: Option<Reply>,
    /// What will be told as how it ended, once a message has begun.
    outcome: Option<MessageOutcome>,
    /// When the client has to be where it gets with the backend next: at its message, or at the end of that.
    until: Instant,
}

enum DeliveryStage {
    /// The sender, whom no backend was told of yet.
    Sender(Vec<u8>),
    /// With a backend.
    Open(Box<Lease>),
    /// Without one: what is said to all that the client wants of it.
    Over(Reply),
}

impl MailDelivery {
    /// A transaction of `who`, with what goes after `MAIL FROM:`.
    pub fn new(
        backends: Arc<BackendGroup>,
        metrics: Arc<Metrics>,
        worker: usize,
        submitter: Arc<Submitter>,
        mail: Vec<u8>,
    ) -> MailDelivery {
        MailDelivery {
            backends,
            metrics,
            worker,
            submitter,
            stage: DeliveryStage::Sender(mail),
            announced: None,
            outcome: None,
            until: Instant::now(),
        }
    }

    /// Until when the client may keep a connection to a backend, where it has one, or go on with a message, though nobody gets
    /// it any more.
    pub fn deadline(&self) -> Option<Instant> {
        (matches!(self.stage, DeliveryStage::Open(_)) || self.outcome.is_some()).then_some(self.until)
    }

    /// What there is to do while the client is waited for, `since` then. Never ready.
    pub fn poll_idle<T>(&mut self, since: Instant, cx: &mut Context<'_>) -> Poll<T> {
        if let DeliveryStage::Open(lease) = &mut self.stage {
            lease.poll_idle(since, cx);
        }
        Poll::Pending
    }

    /// The backend's word on each recipient. `data` is whether [`MailDelivery::data`] follows for sure, if one is accepted.
    ///
    /// # Errors
    /// With the first recipients, the backend's refusal of the sender.
    pub async fn rcpts(&mut self, rcpts: &[Vec<u8>], data: bool) -> Result<Vec<Reply>, Reply> {
        if let DeliveryStage::Sender(mail) = &mut self.stage {
            let mail = std::mem::take(mail);
            return self.begin(&mail, rcpts, data).await;
        }
        let mut replies = Vec::with_capacity(rcpts.len());
        for rcpt in rcpts {
            let reply = match &mut self.stage {
                DeliveryStage::Open(lease) => lease.rcpt(rcpt).await,
                DeliveryStage::Over(reply) => Ok(reply.clone()),
                DeliveryStage::Sender(_) => Ok(replies::NO_BACKEND),
            };
            let reply = match reply {
                Ok(reply) if answers_recipient(&reply) => reply,
                Ok(reply) => self.distrust(&reply),
                Err(lost) => self.lose(&lost),
            };
            self.note_recipient(&reply);
            replies.push(reply);
        }
        Ok(replies)
    }

    async fn begin(&mut self, mail: &[u8], rcpts: &[Vec<u8>], data: bool) -> Result<Vec<Reply>, Reply> {
        let mut lease = match Lease::take(&self.backends, self.worker, &self.submitter, mail, rcpts).await {
            Ok(lease) => lease,
            Err(error) => {
                info!(%error, user = %self.submitter.user, "no backend for a message");
                let reply = match error {
                    NoBackend::Down(_) => replies::NO_BACKEND,
                    NoBackend::Busy => replies::BACKENDS_BUSY,
                };
                return Ok(self.end(reply, rcpts.len()));
            }
        };
        let begun = match data {
            true => lease.pipeline_data(mail, rcpts).await,
            false => lease.pipeline(mail, rcpts).await.map(|replies| (replies, None)),
        };
        match begun {
            Ok((mut replies, announced)) if replies.first().is_some_and(Reply::is_positive) => {
                self.until = Instant::now() + self.backends.timeouts().command;
                self.stage = DeliveryStage::Open(Box::new(lease));
                self.announced = announced;
                replies.remove(0);
                if let Some(reply) = replies.iter().find(|reply| !answers_recipient(reply)) {
                    return Ok(vec![self.distrust(reply); rcpts.len()]);
                }
                replies.iter().for_each(|reply| self.note_recipient(reply));
                Ok(replies)
            }
            Ok((replies, _)) => {
                if let Some(reply) = replies.first() {
                    info!(user = %self.submitter.user, upstream = lease.upstream(), %reply, "a sender was refused");
                }
                // What is no refusal is no answer, either, and what comes after it may be anything.
                let Some(refusal) = replies.into_iter().next().filter(is_refusal) else {
                    return Ok(self.end(replies::NO_BACKEND, rcpts.len()));
                };
                lease.done();
                self.stage = DeliveryStage::Over(refusal.clone());
                Err(refusal)
            }
            Err(lost) => {
                let reply = self.lose(&lost);
                Ok(vec![reply; rcpts.len()])
            }
        }
    }

    /// Whether the backend was given a message, or a part of it.
    pub fn has_begun(&self) -> bool {
        self.outcome.is_some()
    }

    /// DATA: 354, or a refusal.
    pub async fn data(&mut self) -> Reply {
        let announced = self.announced.take();
        let answer = match (&mut self.stage, announced) {
            (DeliveryStage::Open(_), Some(reply)) => Ok(reply),
            (DeliveryStage::Open(lease), None) => lease.data().await,
            (DeliveryStage::Over(reply), _) => return reply.clone(),
            (DeliveryStage::Sender(_), _) => return replies::NO_BACKEND,
        };
        match answer {
            Ok(reply) if reply.is_intermediate() => {
                self.begun();
                reply
            }
            Ok(reply) => self.refused(reply),
            Err(lost) => self.lose(&lost),
        }
    }

    /// Content for DATA.
    ///
    /// # Errors
    /// What the client is told at the end of its message.
    pub async fn write(&mut self, piece: &ContentPiece<'_>) -> Result<(), Reply> {
        match &mut self.stage {
            DeliveryStage::Open(lease) => {
                write(lease, [&piece.head, piece.rest]).await.map_err(|lost| self.lose(&lost))
            }
            DeliveryStage::Over(reply) => Err(reply.clone()),
            DeliveryStage::Sender(_) => Err(replies::NO_BACKEND),
        }
    }

    /// The last content of DATA, and its end: the backend's word on the message.
    pub async fn finish(&mut self, piece: &ContentPiece<'_>) -> Reply {
        let answer = match &mut self.stage {
            DeliveryStage::Open(lease) => finish(lease, piece).await,
            DeliveryStage::Over(reply) => return reply.clone(),
            DeliveryStage::Sender(_) => return replies::NO_BACKEND,
        };
        self.conclude(answer)
    }

    /// Content in a chunk of its own.
    ///
    /// # Errors
    /// What the client is told at the end of its own chunk.
    pub async fn chunk(&mut self, bytes: &[u8]) -> Result<(), Reply> {
        let answer = self.send_chunk(bytes, false).await?;
        match answer {
            Ok(reply) if reply.is_positive() => Ok(()),
            Ok(reply) => Err(self.refused(reply)),
            Err(lost) => Err(self.lose(&lost)),
        }
    }

    /// The last chunk: the backend's word on the message.
    pub async fn last_chunk(&mut self, bytes: &[u8]) -> Reply {
        match self.send_chunk(bytes, true).await {
            Ok(answer) => self.conclude(answer),
            Err(reply) => reply,
        }
    }

    async fn send_chunk(&mut self, bytes: &[u8], last: bool) -> Result<Result<Reply, BackendLost>, Reply> {
        if self.outcome.is_none() {
            self.begun();
        }
        let lease = match &mut self.stage {
            DeliveryStage::Open(lease) => lease,
            DeliveryStage::Over(reply) => return Err(reply.clone()),
            DeliveryStage::Sender(_) => return Err(replies::NO_BACKEND),
        };
        Ok(send_chunk(lease, bytes, last).await)
    }

    /// The message must not become one.
    pub fn abort(&mut self) {
        if self.outcome.is_none() {
            self.begun();
        }
        self.stage = DeliveryStage::Over(replies::BACKEND_LOST);
        self.outcome = Some(MessageOutcome::Refused);
    }

    /// The transaction is over; its backend is free for the next one.
    pub fn close(mut self) {
        if let DeliveryStage::Open(lease) =
            std::mem::replace(&mut self.stage, DeliveryStage::Over(replies::BACKEND_LOST))
        {
            lease.done();
        }
    }

    /// The transaction is over before its backend has answered. Nobody knows what becomes of a message that it was given.
    pub fn give_up(mut self) {
        if let Some(outcome) = &mut self.outcome {
            *outcome = MessageOutcome::Lost;
        }
    }

    /// A message comes.
    fn begun(&mut self) {
        self.outcome = Some(MessageOutcome::Aborted);
        self.until = Instant::now() + self.backends.timeouts().message;
    }

    fn conclude(&mut self, answer: Result<Reply, BackendLost>) -> Reply {
        match answer {
            Ok(reply) if reply.is_positive() => {
                self.outcome = Some(MessageOutcome::Accepted);
                let upstream = self.upstream();
                debug!(target: "access", user = %self.submitter.user, upstream, %reply, "a message was accepted");
                reply
            }
            Ok(reply) if is_refusal(&reply) => {
                self.outcome = Some(match reply.is_permanent() {
                    true => MessageOutcome::Rejected,
                    false => MessageOutcome::Deferred,
                });
                info!(user = %self.submitter.user, upstream = self.upstream(), %reply, "a message was refused");
                reply
            }
            Ok(reply) => self.refused(reply),
            Err(lost) => self.lose(&lost),
        }
    }

    /// The backend wants no message, or none in this way: what was said of it can't be taken back.
    fn refused(&mut self, reply: Reply) -> Reply {
        info!(user = %self.submitter.user, upstream = self.upstream(), %reply, "a message was refused");
        let reply = if is_refusal(&reply) { reply } else { replies::BACKEND_LOST };
        if let Some(outcome) = &mut self.outcome {
            *outcome = if reply.is_permanent() { MessageOutcome::Rejected } else { MessageOutcome::Deferred };
        }
        self.stage = DeliveryStage::Over(reply.clone());
        reply
    }

    /// What the backend said to a recipient is no answer to one: it, or what is between, has lost count. Nothing that it says
    /// from here on is to be believed, and its connection is closed.
    fn distrust(&mut self, reply: &Reply) -> Reply {
        info!(user = %self.submitter.user, upstream = self.upstream(), %reply, "a backend answered a recipient with nonsense");
        self.announced = None;
        self.stage = DeliveryStage::Over(replies::NO_BACKEND);
        replies::NO_BACKEND
    }

    fn note_recipient(&self, reply: &Reply) {
        if let DeliveryStage::Open(lease) = &self.stage
            && is_refusal(reply)
        {
            info!(user = %self.submitter.user, upstream = lease.upstream(), %reply, "a recipient was refused");
        }
    }

    /// For the log.
    fn upstream(&self) -> &str {
        if let DeliveryStage::Open(lease) = &self.stage { lease.upstream() } else { "" }
    }

    fn lose(&mut self, lost: &BackendLost) -> Reply {
        info!(detail = lost.detail, user = %self.submitter.user, "a backend was lost");
        if let Some(outcome) = &mut self.outcome {
            *outcome = MessageOutcome::Lost;
        }
        let reply = lost.answer();
        self.stage = DeliveryStage::Over(reply.clone());
        reply
    }

    fn end(&mut self, reply: Reply, times: usize) -> Vec<Reply> {
        self.stage = DeliveryStage::Over(reply.clone());
        vec![reply; times]
    }
}

impl Drop for MailDelivery {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            self.metrics.smtp_message(outcome);
        }
    }
}

async fn write(lease: &mut Lease, parts: [&[u8]; 2]) -> Result<(), BackendLost> {
    for part in parts {
        if !part.is_empty() {
            lease.write(part).await?;
        }
    }
    Ok(())
}

async fn finish(lease: &mut Lease, piece: &ContentPiece<'_>) -> Result<Reply, BackendLost> {
    write(lease, [&piece.head, b""]).await?;
    lease.finish(piece.rest).await
}

async fn send_chunk(lease: &mut Lease, bytes: &[u8], last: bool) -> Result<Reply, BackendLost> {
    lease.bdat(bytes.len() as u64, last).await?;
    if !bytes.is_empty() {
        lease.write(bytes).await?;
    }
    lease.chunk_reply().await
}

fn is_refusal(reply: &Reply) -> bool {
    reply.is_transient() || reply.is_permanent()
}

/// RFC 5321, 4.3.2: accepted is a recipient by these alone.
fn answers_recipient(reply: &Reply) -> bool {
    is_refusal(reply) || matches!(reply.code(), 250..=252)
}
