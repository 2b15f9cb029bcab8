//! The lease of a backend connection for one transaction.

mod recovery;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tracing::debug;

use super::attempts::BackendAttempts;
use super::client::{BackendClient, BackendError};
use super::envelope;
use super::group::{BackendConnection, BackendGroup, NoBackend};
use super::lost::BackendLost;
use crate::edge::smtp::last_look::LastLook;
use crate::edge::smtp::submitter::Submitter;
use crate::wire::smtp::parameters::needs;
use crate::wire::smtp::{Capabilities, Reply};

/// A backend connection that is used for one transaction. Dropped before [`Lease::done`], it is closed and not used again.
///
/// If the backend is lost before it was given any of the message, another connection is substituted. It is given the same
/// sender and recipients, and the client notices nothing. If its replies differ, the lease fails with [`BackendLost`].
/// A 421 is never returned as a reply, but counts as a loss.
pub struct Lease {
    backends: Arc<BackendGroup>,
    worker: usize,
    submitter: Arc<Submitter>,
    connection: Option<BackendConnection>,
    attempts: BackendAttempts,
    last_look: LastLook,
    /// The sender, for a substitute.
    mail: Option<Vec<u8>>,
    /// The recipients that were accepted, for a substitute.
    rcpts: Vec<Vec<u8>>,
    stage: LeaseStage,
    /// True once the backend was given the message or a part of it.
    given: bool,
    /// True if the backend took the end of a message without recipients for the end of the transaction.
    ended: bool,
    /// The loss of the backend while the client was idle, to be reported by the next call.
    gone: Option<BackendLost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaseStage {
    Envelope,
    /// After 354.
    Content,
    /// Within a chunk; `left` bytes of it are still to be written.
    Chunk {
        left: u64,
        last: bool,
    },
}

impl Lease {
    /// Takes a connection to a backend that offers what this envelope needs. Waits for its turn if all are in use.
    ///
    /// # Errors
    /// No backend could be reached, no connection was free in time, or `last_look` forbids the transaction by then.
    pub async fn take(
        backends: &Arc<BackendGroup>,
        worker: usize,
        submitter: &Arc<Submitter>,
        mail: &[u8],
        rcpts: &[Vec<u8>],
        last_look: LastLook,
    ) -> Result<Lease, NoBackend> {
        let mut attempts = BackendAttempts::default();
        if backends.are_several() {
            attempts.needs = envelope::needed(mail, rcpts);
        }
        let connection = backends.connect(worker, submitter, &mut attempts).await?;
        if !last_look.permits() {
            backends.give(worker, connection);
            return Err(NoBackend::CutOff);
        }
        Ok(Lease {
            backends: backends.clone(),
            worker,
            submitter: submitter.clone(),
            connection: Some(connection),
            attempts,
            last_look,
            mail: None,
            rcpts: Vec::new(),
            stage: LeaseStage::Envelope,
            given: false,
            ended: false,
            gone: None,
        })
    }

    /// The URL of the backend; empty once it is lost.
    pub fn upstream(&self) -> &str {
        self.connection.as_ref().map_or("", |connection| self.backends.name(connection.index))
    }

    /// The capabilities of the backend; none once it is lost.
    pub fn capabilities(&self) -> Capabilities {
        self.connection
            .as_ref()
            .map(|connection| connection.pooled.connection.extensions.capabilities)
            .unwrap_or_default()
    }

    /// Sends `RCPT TO:` and `arguments`, which are what followed the colon of the client's command.
    ///
    /// # Errors
    /// The backend is lost and no other one can take its place.
    pub async fn rcpt(&mut self, arguments: &[u8]) -> Result<Reply, BackendLost> {
        self.attempts.needs = self.attempts.needs.either(needs(arguments));
        self.cover().await?;
        if self.ended
            && let Some(refusal) = self.renew().await?
        {
            return Ok(refusal);
        }
        let reply = self.command(&[b"RCPT TO:", arguments, b"\r\n"]).await?;
        if reply.is_acceptance() {
            self.rcpts.push(arguments.to_vec());
        }
        Ok(reply)
    }

    /// Sends MAIL and RCPTs, in one write if the backend offers PIPELINING (RFC 2920). Returns the reply to MAIL and, unless
    /// that is a refusal, one for each recipient.
    ///
    /// # Errors
    /// As [`Lease::rcpt`].
    pub async fn pipeline(&mut self, mail: &[u8], rcpts: &[Vec<u8>]) -> Result<Vec<Reply>, BackendLost> {
        Ok(self.begin(mail, rcpts, false).await?.0)
    }

    /// Does as [`Lease::pipeline`], and sends DATA with them. The second result is the reply to DATA. It is `None` if no
    /// recipient was accepted; the backend then waits for no message.
    ///
    /// # Errors
    /// As [`Lease::rcpt`].
    pub async fn pipeline_data(
        &mut self,
        mail: &[u8],
        rcpts: &[Vec<u8>],
    ) -> Result<(Vec<Reply>, Option<Reply>), BackendLost> {
        self.begin(mail, rcpts, true).await
    }

    /// Sends DATA. Returns 354 or the backend's refusal.
    ///
    /// # Errors
    /// As [`Lease::rcpt`].
    pub async fn data(&mut self) -> Result<Reply, BackendLost> {
        let reply = self.command(&[b"DATA\r\n"]).await?;
        if reply.is_intermediate() {
            self.stage = LeaseStage::Content;
        }
        Ok(reply)
    }

    /// Writes content as it goes over the wire, dot-stuffed for DATA, after a 354 or within a chunk. Returns once the bytes are
    /// sent or in a buffer of at most 16 KiB, so that a slow backend slows down the caller. From here on, the backend counts as
    /// given the message, and its loss is final.
    ///
    /// # Errors
    /// The backend is lost.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BackendLost> {
        self.given = true;
        match &mut self.stage {
            LeaseStage::Content => {}
            LeaseStage::Chunk { left, .. } if *left >= bytes.len() as u64 => *left -= bytes.len() as u64,
            LeaseStage::Chunk { .. } | LeaseStage::Envelope => {
                return Err(self.lost(BackendError::IncompleteMessage));
            }
        }
        let complete = matches!(self.stage, LeaseStage::Chunk { left: 0, .. });
        let Some(client) = self.client() else { return Err(self.lost(BackendError::Closed)) };
        let silent = if complete { client.expect_no_answer() } else { Ok(()) };
        let written = match silent {
            Ok(()) => client.content(bytes).await,
            Err(broken) => Err(broken),
        };
        written.map_err(|broken| self.lost(broken))
    }

    /// Drives the connection while the client has been idle since `since`: sends gathered content on after a pause. If the
    /// backend closes, the connection is given up, and the next call reports that.
    pub fn poll_idle(&mut self, since: Instant, cx: &mut Context<'_>) {
        let Some(client) = self.client() else { return };
        if let Poll::Ready(broken) = client.poll_idle(since, cx) {
            // The backend may only have timed out: that is no failure of it.
            if let Some(connection) = &mut self.connection {
                connection.reused = true;
            }
            self.gone = Some(self.lost(broken));
        }
    }

    /// Writes the last content, without the CR LF of its last line, and the end of the message. That end begins with a CR LF
    /// in any case, because an empty last line is content as well. Returns the backend's reply to the message.
    ///
    /// # Errors
    /// The backend is lost. Whether it accepted the message is then unknown.
    pub async fn finish(&mut self, bytes: &[u8]) -> Result<Reply, BackendLost> {
        self.given = true;
        if self.stage != LeaseStage::Content {
            return Err(self.lost(BackendError::IncompleteMessage));
        }
        let Some(client) = self.client() else { return Err(self.lost(BackendError::Closed)) };
        let answer = deliver(client, bytes, b"\r\n.\r\n", true).await;
        self.answered(answer, true)
    }

    /// Sends `BDAT length` or `BDAT length LAST` (RFC 3030). `length` bytes by [`Lease::write`] have to follow, then
    /// [`Lease::chunk_reply`].
    ///
    /// # Errors
    /// The backend is lost.
    pub async fn bdat(&mut self, length: u64, last: bool) -> Result<(), BackendLost> {
        self.attempts.needs.chunking = true;
        if !self.given {
            self.cover().await?;
        }
        self.given = true;
        self.stage = LeaseStage::Chunk { left: length, last };
        let command = format!("BDAT {length}{}\r\n", if last { " LAST" } else { "" });
        let Some(client) = self.client() else { return Err(self.lost(BackendError::Closed)) };
        client.queue(&[command.as_bytes()]);
        Ok(())
    }

    /// The backend's reply to a chunk that was written in full.
    ///
    /// # Errors
    /// The backend is lost.
    pub async fn chunk_reply(&mut self) -> Result<Reply, BackendLost> {
        let LeaseStage::Chunk { left: 0, last } = self.stage else {
            return Err(self.lost(BackendError::IncompleteMessage));
        };
        let Some(client) = self.client() else { return Err(self.lost(BackendError::Closed)) };
        let answer = deliver(client, b"", b"", last).await;
        self.answered(answer, last)
    }

    /// Ends the transaction and returns the connection to its pool. In the middle of a message the connection is closed
    /// instead, so that the backend does not accept what was sent of it.
    pub fn done(mut self) {
        if let Some(connection) = self.connection.take()
            && self.stage == LeaseStage::Envelope
        {
            self.release(connection);
        }
    }

    /// Resets the transaction and returns the connection to its pool.
    fn release(&self, mut connection: BackendConnection) {
        let (backends, worker) = (self.backends.clone(), self.worker);
        if !connection.pooled.connection.in_transaction {
            backends.give(worker, connection);
            return;
        }
        // The client does not wait for the reset.
        tokio::spawn(async move {
            match connection.pooled.connection.exchange(&[b"RSET\r\n"]).await {
                Ok(reply) if reply.is_acceptance() => {
                    connection.pooled.connection.in_transaction = false;
                    backends.give(worker, connection);
                }
                Ok(reply) => {
                    debug!(upstream = backends.name(connection.index), %reply, "backend refused RSET")
                }
                Err(error) => {
                    debug!(upstream = backends.name(connection.index), %error, "backend connection lost at RSET")
                }
            }
        });
    }

    fn client(&mut self) -> Option<&mut BackendClient> {
        self.connection.as_mut().map(|connection| &mut *connection.pooled.connection)
    }

    fn mail_accepted(&mut self, arguments: &[u8]) {
        self.mail = Some(arguments.to_vec());
        if let Some(client) = self.client() {
            client.in_transaction = true;
        }
    }

    /// Notes the end of a message or chunk, and returns the reply to it.
    fn answered(&mut self, answer: Result<Reply, BackendError>, last: bool) -> Result<Reply, BackendLost> {
        let reply = answer.map_err(|broken| self.lost(broken))?;
        self.stage = LeaseStage::Envelope;
        if let Some(client) = self.client()
            && last
        {
            // RFC 5321 section 4.1.1.4: the buffers are cleared, whatever the reply is.
            client.in_transaction = false;
            if reply.is_acceptance() {
                client.note_accepted();
            }
        }
        Ok(reply)
    }
}

/// Sends the rest of a message or chunk, and waits for the reply.
async fn deliver(
    client: &mut BackendClient,
    bytes: &[u8],
    end: &[u8],
    last: bool,
) -> Result<Reply, BackendError> {
    client.flush_content(bytes, end).await?;
    if last { client.final_reply().await } else { client.content_reply().await }
}
