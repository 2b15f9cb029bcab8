//! The delivery of one mail transaction to a backend.
//!
//! If MAIL and RCPT were pipelined, the backend's reply answers MAIL. Otherwise Gatepost answers MAIL itself and returns the
//! backend's reply to the first RCPT, so that an idle client does not occupy a backend connection.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::backend::group::BackendGroup;
use super::backend::lease::Lease;
use super::backend::lost::BackendLost;
use super::last_look::LastLook;
use super::mail_log::{MailLog, MailRefusalLine};
use super::refusal::MailRefusal;
use super::submitter::Submitter;
use crate::domain::RefusalReason;
use crate::state::metrics::{MessageOutcome, Metrics};
use crate::wire::smtp::session::ContentPiece;
use crate::wire::smtp::{Reply, replies};

/// A transaction, from an accepted MAIL on.
pub struct MailDelivery {
    backends: Arc<BackendGroup>,
    metrics: Arc<Metrics>,
    worker: usize,
    submitter: Arc<Submitter>,
    last_look: LastLook,
    log: MailLog,
    stage: DeliveryStage,
    /// The reply to a DATA that was pipelined with the envelope.
    data_reply: Option<Reply>,
    /// The outcome to be counted, from the beginning of a message on.
    outcome: Option<MessageOutcome>,
    /// The deadline for the client's next step: to begin its message, or to end it. Before the message, the waits for the backend
    /// don't count.
    until: Instant,
}

enum DeliveryStage {
    /// The arguments of MAIL, which no backend has received yet.
    Sender(Vec<u8>),
    /// A backend has the transaction.
    Open(Box<Lease>),
    /// Without a backend that has the transaction: the reply to whatever the client sends for it.
    Over(Reply),
}

impl MailDelivery {
    /// A transaction of `submitter`. `mail` is what follows `MAIL FROM:`.
    pub fn new(
        backends: Arc<BackendGroup>,
        metrics: Arc<Metrics>,
        log: MailLog,
        worker: usize,
        submitter: Arc<Submitter>,
        mail: Vec<u8>,
        last_look: LastLook,
    ) -> MailDelivery {
        MailDelivery {
            backends,
            metrics,
            worker,
            submitter,
            last_look,
            log,
            stage: DeliveryStage::Sender(mail),
            data_reply: None,
            outcome: None,
            until: Instant::now(),
        }
    }

    /// The deadline for the client's next step. `None` while the transaction holds no backend connection and no message has
    /// begun. A message that is only discarded has a deadline as well.
    pub fn deadline(&self) -> Option<Instant> {
        (matches!(self.stage, DeliveryStage::Open(_)) || self.outcome.is_some()).then_some(self.until)
    }

    /// Drives the backend connection while the client has been idle since `since`. Never ready.
    pub fn poll_idle<T>(&mut self, since: Instant, cx: &mut Context<'_>) -> Poll<T> {
        if let DeliveryStage::Open(lease) = &mut self.stage {
            lease.poll_idle(since, cx);
        }
        Poll::Pending
    }

    /// Sends MAIL to a backend now, and not only together with recipients.
    ///
    /// # Errors
    /// The reply to MAIL, if no backend can be had or the backend refuses.
    pub async fn sender(&mut self) -> Result<(), Reply> {
        self.rcpts(&[], false).await?;
        match &self.stage {
            DeliveryStage::Over(reply) => Err(reply.clone()),
            DeliveryStage::Sender(_) | DeliveryStage::Open(_) => Ok(()),
        }
    }

    /// Sends recipients to the backend, the first ones together with MAIL. Returns one reply for each of them. `data` is true
    /// if [`MailDelivery::data`] follows as soon as one is accepted.
    ///
    /// # Errors
    /// With the first recipients, the backend's refusal of the sender.
    pub async fn rcpts(&mut self, rcpts: &[Vec<u8>], data: bool) -> Result<Vec<Reply>, Reply> {
        if let DeliveryStage::Sender(mail) = &mut self.stage {
            let mail = std::mem::take(mail);
            return self.begin(&mail, rcpts, data).await;
        }
        let began = Instant::now();
        let mut answers = Vec::with_capacity(rcpts.len());
        for rcpt in rcpts {
            let answer = match &mut self.stage {
                DeliveryStage::Open(lease) => lease.rcpt(rcpt).await,
                DeliveryStage::Over(reply) => Ok(reply.clone()),
                DeliveryStage::Sender(_) => Ok(replies::NO_BACKEND),
            };
            let reply = match answer {
                Ok(reply) if answers_recipient(&reply) => reply,
                Ok(reply) => self.refuse(MailRefusal::InvalidEnvelopeReply(reply)),
                Err(lost) => self.refuse(MailRefusal::BackendLost(lost)),
            };
            self.log_refused_recipient(rcpt, &reply);
            answers.push(reply);
        }
        self.until += began.elapsed();
        self.log.note_recipients(rcpts, &answers);
        Ok(answers)
    }

    async fn begin(&mut self, mail: &[u8], rcpts: &[Vec<u8>], data: bool) -> Result<Vec<Reply>, Reply> {
        let last_look = self.last_look.clone();
        let taken = Lease::take(&self.backends, self.worker, &self.submitter, mail, rcpts, last_look);
        let mut lease = match taken.await {
            Ok(lease) => lease,
            Err(error) => return Ok(self.refuse_all(MailRefusal::NoBackend(error), rcpts)),
        };
        let begun = match data {
            true => lease.pipeline_data(mail, rcpts).await,
            false => lease.pipeline(mail, rcpts).await.map(|replies| (replies, None)),
        };
        let (mut replies, data_reply) = match begun {
            Ok(begun) => begun,
            Err(lost) => return Ok(self.refuse_all(MailRefusal::BackendLost(lost), rcpts)),
        };
        if replies.first().is_some_and(Reply::is_acceptance) {
            self.until = Instant::now() + self.backends.timeouts().command;
            self.stage = DeliveryStage::Open(Box::new(lease));
            self.data_reply = data_reply;
            replies.remove(0);
            if let Some(invalid) = replies.iter().position(|reply| !answers_recipient(reply)) {
                let reply = replies.swap_remove(invalid);
                return Ok(self.refuse_all(MailRefusal::InvalidEnvelopeReply(reply), rcpts));
            }
            for (rcpt, reply) in rcpts.iter().zip(&replies) {
                self.log_refused_recipient(rcpt, reply);
            }
            self.log.note_recipients(rcpts, &replies);
            return Ok(replies);
        }
        let reply = replies.into_iter().next().unwrap_or(replies::NO_BACKEND);
        let told = if reply.is_refusal() { &reply } else { &replies::NO_BACKEND };
        self.log.refused(MailRefusalLine {
            reason: RefusalReason::Sender,
            told,
            reply: Some(&reply),
            upstream: lease.upstream(),
            detail: "",
        });
        if !reply.is_refusal() {
            // After a reply that is no answer to MAIL, the next ones may belong to any command: the lease is dropped.
            let invalid = MailRefusal::InvalidEnvelopeReply(reply);
            self.stage = DeliveryStage::Over(invalid.reply());
            return Ok(vec![invalid.reply(); rcpts.len()]);
        }
        lease.done();
        self.stage = DeliveryStage::Over(reply.clone());
        Err(reply)
    }

    /// Returns true if the backend was given a message, or a part of it.
    pub fn has_begun(&self) -> bool {
        self.outcome.is_some()
    }

    /// Returns true if a backend has the transaction.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, DeliveryStage::Open(_))
    }

    /// Returns true if no backend has the transaction any more.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, DeliveryStage::Over(_))
    }

    /// Ends the transaction before its message, and frees its backend connection. `reply` answers what the client still sends
    /// for it.
    pub fn end(&mut self, reply: Reply) {
        self.data_reply = None;
        if let DeliveryStage::Open(lease) = std::mem::replace(&mut self.stage, DeliveryStage::Over(reply)) {
            lease.done();
        }
    }

    /// Sends DATA. Returns 354 or a refusal.
    pub async fn data(&mut self) -> Reply {
        let pipelined = self.data_reply.take();
        let answer = match (&mut self.stage, pipelined) {
            (DeliveryStage::Open(_), Some(reply)) => Ok(reply),
            (DeliveryStage::Open(lease), None) => lease.data().await,
            (DeliveryStage::Over(reply), _) => return reply.clone(),
            (DeliveryStage::Sender(_), _) => return replies::NO_BACKEND,
        };
        match answer {
            Ok(reply) if reply.is_intermediate() => {
                self.begin_message();
                reply
            }
            Ok(reply) => self.refuse(message_refusal(reply)),
            Err(lost) => self.refuse(MailRefusal::BackendLost(lost)),
        }
    }

    /// Sends content for DATA.
    ///
    /// # Errors
    /// The reply to the client at the end of its message.
    pub async fn write(&mut self, piece: &ContentPiece<'_>) -> Result<(), Reply> {
        self.log.note_content(piece.len());
        match &mut self.stage {
            DeliveryStage::Open(lease) => write(lease, [&piece.head, piece.rest])
                .await
                .map_err(|lost| self.refuse(MailRefusal::BackendLost(lost))),
            DeliveryStage::Over(reply) => Err(reply.clone()),
            DeliveryStage::Sender(_) => Err(replies::NO_BACKEND),
        }
    }

    /// Sends the last content for DATA and the end of the message. Returns the backend's reply to the message.
    pub async fn finish(&mut self, piece: &ContentPiece<'_>) -> Reply {
        self.log.note_content(piece.len());
        let answer = match &mut self.stage {
            DeliveryStage::Open(lease) => finish(lease, piece).await,
            DeliveryStage::Over(reply) => return reply.clone(),
            DeliveryStage::Sender(_) => return replies::NO_BACKEND,
        };
        self.conclude(answer)
    }

    /// Sends content as a BDAT chunk that is not the last one (RFC 3030).
    ///
    /// # Errors
    /// The reply to the client at the end of its own chunk.
    pub async fn chunk(&mut self, bytes: &[u8]) -> Result<(), Reply> {
        let answer = self.send_chunk(bytes, false).await?;
        match answer {
            Ok(reply) if reply.is_acceptance() => Ok(()),
            Ok(reply) => Err(self.refuse(message_refusal(reply))),
            Err(lost) => Err(self.refuse(MailRefusal::BackendLost(lost))),
        }
    }

    /// Sends the last chunk. Returns the backend's reply to the message.
    pub async fn last_chunk(&mut self, bytes: &[u8]) -> Reply {
        match self.send_chunk(bytes, true).await {
            Ok(answer) => self.conclude(answer),
            Err(reply) => reply,
        }
    }

    /// Sends a chunk. The inner result is the backend's reply to it.
    ///
    /// # Errors
    /// The reply to the client if no backend has the transaction.
    async fn send_chunk(&mut self, bytes: &[u8], last: bool) -> Result<Result<Reply, BackendLost>, Reply> {
        self.log.note_content(bytes.len());
        if self.outcome.is_none() {
            self.begin_message();
        }
        let lease = match &mut self.stage {
            DeliveryStage::Open(lease) => lease,
            DeliveryStage::Over(reply) => return Err(reply.clone()),
            DeliveryStage::Sender(_) => return Err(replies::NO_BACKEND),
        };
        Ok(send_chunk(lease, bytes, last).await)
    }

    /// Closes the backend connection before the end of the message, so that the backend does not accept it.
    pub fn abort(&mut self) {
        if self.outcome.is_none() {
            self.begin_message();
        }
        self.outcome = Some(MailRefusal::Aborted.outcome());
        self.stage = DeliveryStage::Over(MailRefusal::Aborted.reply());
    }

    /// Ends the transaction and frees its backend connection for the next one.
    pub fn close(mut self) {
        self.end(replies::BACKEND_LOST);
    }

    /// Ends the transaction before its backend has replied. Whether the backend accepts a message is then unknown.
    pub fn give_up(mut self) {
        if let Some(outcome) = &mut self.outcome {
            *outcome = MessageOutcome::Lost;
        }
    }

    fn begin_message(&mut self) {
        self.outcome = Some(MessageOutcome::Aborted);
        self.until = Instant::now() + self.backends.timeouts().message;
    }

    /// Notes the backend's reply to a message, and returns the reply to the client. After a refusal the connection to the
    /// backend stays open.
    fn conclude(&mut self, answer: Result<Reply, BackendLost>) -> Reply {
        if let (Ok(reply), DeliveryStage::Open(lease)) = (&answer, &self.stage) {
            self.log.note_reply(lease.upstream(), reply);
        }
        let refusal = match answer {
            Ok(reply) if reply.is_acceptance() => {
                self.outcome = Some(MessageOutcome::Accepted);
                return reply;
            }
            Ok(reply) => message_refusal(reply),
            Err(lost) => MailRefusal::BackendLost(lost),
        };
        if let MailRefusal::ByBackend(_) = &refusal {
            self.log(&refusal);
            self.outcome = Some(refusal.outcome());
            return refusal.reply();
        }
        self.refuse(refusal)
    }

    /// Ends the transaction for `refusal` and closes its backend connection: the backend may not have the same view of the
    /// transaction as the client any more. Returns the reply to the client.
    fn refuse(&mut self, refusal: MailRefusal) -> Reply {
        self.log(&refusal);
        if let MailRefusal::BackendLost(lost) = &refusal
            && let Some(last) = lost.refusal()
        {
            self.log.note_reply(&lost.upstream, last);
        }
        if let Some(outcome) = &mut self.outcome {
            *outcome = refusal.outcome();
        }
        let reply = refusal.reply();
        self.data_reply = None;
        self.stage = DeliveryStage::Over(reply.clone());
        reply
    }

    fn refuse_all(&mut self, refusal: MailRefusal, rcpts: &[Vec<u8>]) -> Vec<Reply> {
        vec![self.refuse(refusal); rcpts.len()]
    }

    /// Logs a refusal; those that were decided elsewhere are logged there.
    fn log(&self, refusal: &MailRefusal) {
        let Some((reason, reply, detail)) = refusal.logged() else { return };
        let told = &refusal.reply();
        let upstream = match refusal {
            MailRefusal::BackendLost(lost) => &lost.upstream,
            _ => self.upstream(),
        };
        self.log.refused(MailRefusalLine { reason, told, reply, upstream, detail: &detail });
    }

    fn log_refused_recipient(&self, rcpt: &[u8], reply: &Reply) {
        if let DeliveryStage::Open(lease) = &self.stage
            && reply.is_refusal()
        {
            self.log.recipient_refused(rcpt, lease.upstream(), reply);
        }
    }

    /// The URL of the backend, for the log; empty without one.
    fn upstream(&self) -> &str {
        if let DeliveryStage::Open(lease) = &self.stage { lease.upstream() } else { "" }
    }
}

impl Drop for MailDelivery {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            self.metrics.smtp_message(outcome);
            self.log.end(outcome);
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

/// The refusal that a reply to DATA, a chunk or the end of a message is, if it does not accept that.
fn message_refusal(reply: Reply) -> MailRefusal {
    if reply.is_refusal() { MailRefusal::ByBackend(reply) } else { MailRefusal::InvalidMessageReply(reply) }
}

/// Returns true for a reply that RFC 5321 section 4.3.2 allows to RCPT.
fn answers_recipient(reply: &Reply) -> bool {
    reply.is_refusal() || reply.is_acceptance()
}
