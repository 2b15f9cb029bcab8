//! One connection to a backend for one transaction.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tracing::debug;

use super::client::{BackendClient, BackendError};
use super::envelope::{self, EnvelopeReplies};
use super::group::{BackendConnection, BackendGroup, NoBackend};
use super::lost::BackendLost;
use crate::edge::smtp::submitter::{BackendAttempts, Submitter};
use crate::wire::smtp::parameters::needs;
use crate::wire::smtp::{Capabilities, Reply};

/// One connection, one transaction. Dropped in the middle, it is closed and never used again.
///
/// Where the backend is lost before it was given any of the message, another one takes its place unseen, with the same
/// sender and recipients; replies that then differ make it [`BackendLost`]. A 421 is never a reply, but a loss.
pub struct Lease {
    backends: Arc<BackendGroup>,
    worker: usize,
    submitter: Arc<Submitter>,
    connection: Option<BackendConnection>,
    attempts: BackendAttempts,
    /// What a substitute has to be told: the sender, and the recipients that were accepted.
    mail: Option<Vec<u8>>,
    rcpts: Vec<Vec<u8>>,
    stage: LeaseStage,
    given: bool,
    /// The backend took the end of a message without recipients for that of the transaction.
    ended: bool,
    /// How the backend was lost while the client was waited for, until somebody asks for it.
    gone: Option<BackendLost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaseStage {
    Envelope,
    /// After 354.
    Content,
    /// Within a chunk of which so many bytes are to come.
    Chunk {
        left: u64,
        last: bool,
    },
}

impl Lease {
    /// Takes a connection for one transaction of `who`, to a backend that can do what this envelope asks for. Waits, in turn,
    /// where all are in use.
    ///
    /// # Errors
    /// Where no backend can be reached, or none was free in time.
    pub async fn take(
        backends: &Arc<BackendGroup>,
        worker: usize,
        submitter: &Arc<Submitter>,
        mail: &[u8],
        rcpts: &[Vec<u8>],
    ) -> Result<Lease, NoBackend> {
        let mut attempts = BackendAttempts::default();
        if backends.are_several() {
            attempts.needs = envelope::needed(mail, rcpts);
        }
        let connection = backends.connect(worker, submitter, &mut attempts).await?;
        Ok(Lease {
            backends: backends.clone(),
            worker,
            submitter: submitter.clone(),
            connection: Some(connection),
            attempts,
            mail: None,
            rcpts: Vec::new(),
            stage: LeaseStage::Envelope,
            given: false,
            ended: false,
            gone: None,
        })
    }

    /// The URL of the backend at the other end; empty once it is lost.
    pub fn upstream(&self) -> &str {
        self.connection.as_ref().map_or("", |connection| self.backends.name(connection.index))
    }

    /// What the backend at the other end can do.
    pub fn capabilities(&self) -> Capabilities {
        self.connection
            .as_ref()
            .map(|connection| connection.pooled.connection.extensions.capabilities)
            .unwrap_or_default()
    }

    /// `RCPT TO:` and `arguments`, as the client had them after the colon.
    ///
    /// # Errors
    /// As all of these: where the backend is lost and no other can take its place.
    pub async fn rcpt(&mut self, arguments: &[u8]) -> Result<Reply, BackendLost> {
        self.attempts.needs = self.attempts.needs.either(needs(arguments));
        self.cover().await?;
        if self.ended
            && let Some(refusal) = self.renew().await?
        {
            return Ok(refusal);
        }
        let reply = self.command(&[b"RCPT TO:", arguments, b"\r\n"]).await?;
        if reply.is_positive() {
            self.rcpts.push(arguments.to_vec());
        }
        Ok(reply)
    }

    /// MAIL and RCPTs, in one write where the backend takes that. The replies in their order: that to MAIL, and, unless it
    /// was refused, one for each recipient.
    ///
    /// # Errors
    /// As [`Lease::rcpt`].
    pub async fn pipeline(&mut self, mail: &[u8], rcpts: &[Vec<u8>]) -> Result<Vec<Reply>, BackendLost> {
        Ok(self.begin(mail, rcpts, false).await?.0)
    }

    /// As [`Lease::pipeline`], and DATA in the same write where the backend takes that. The last reply is that to DATA; none
    /// where no recipient was accepted, and then the backend waits for no message.
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

    /// `DATA`: 354, or the backend's refusal.
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

    /// After a 354 or within a chunk: content as it goes over the wire, for DATA dot-stuffed. Returns once it is sent or in
    /// a buffer of at most 16 KiB, so that a slow backend slows down who calls. From here on, the backend was given the
    /// message, and a loss is final.
    ///
    /// # Errors
    /// Where the backend is lost.
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

    /// What there is to do while the client is waited for, `since` then: what was gathered of its message is sent on once it
    /// pauses, and where the backend goes away, its place is free for others. What comes next is told of that.
    pub fn poll_idle(&mut self, since: Instant, cx: &mut Context<'_>) {
        let Some(client) = self.client() else { return };
        if let Poll::Ready(broken) = client.poll_idle(since, cx) {
            // It may only be tired of waiting: that says nothing against the backend, either.
            if let Some(connection) = &mut self.connection {
                connection.reused = true;
            }
            self.gone = Some(self.lost(broken));
        }
    }

    /// The last content, without the CR LF of its last line, and the end of what [`Lease::data`] began: that CR LF and the
    /// line with the dot, whatever the content ends with, since an empty line at its end is content. The backend's answer.
    ///
    /// # Errors
    /// Where the backend is lost: nobody knows then whether it has the message.
    pub async fn finish(&mut self, bytes: &[u8]) -> Result<Reply, BackendLost> {
        self.given = true;
        if self.stage != LeaseStage::Content {
            return Err(self.lost(BackendError::IncompleteMessage));
        }
        let Some(client) = self.client() else { return Err(self.lost(BackendError::Closed)) };
        let answer = deliver(client, bytes, b"\r\n.\r\n").await;
        self.answered(answer, true)
    }

    /// `BDAT length` or `BDAT length LAST`; `length` bytes by [`Lease::write`] follow, and
    /// then [`Lease::chunk_reply`].
    ///
    /// # Errors
    /// Where the backend is lost.
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

    /// The backend's answer to a chunk that was written in full.
    ///
    /// # Errors
    /// Where the backend is lost.
    pub async fn chunk_reply(&mut self) -> Result<Reply, BackendLost> {
        let LeaseStage::Chunk { left: 0, last } = self.stage else {
            return Err(self.lost(BackendError::IncompleteMessage));
        };
        let Some(client) = self.client() else { return Err(self.lost(BackendError::Closed)) };
        let answer = deliver(client, b"", b"").await;
        self.answered(answer, last)
    }

    /// Ends the transaction and gives the connection back for the next one. In the middle of a message it is closed: what
    /// was sent of it mustn't count.
    pub fn done(mut self) {
        if let Some(connection) = self.connection.take()
            && self.stage == LeaseStage::Envelope
        {
            self.release(connection);
        }
    }

    /// Has the backend forget what it was told, and gives the connection back.
    fn release(&self, mut connection: BackendConnection) {
        let (backends, worker) = (self.backends.clone(), self.worker);
        if !connection.pooled.connection.in_transaction {
            backends.give(worker, connection);
            return;
        }
        // The client needn't wait until the backend has forgotten what there was.
        tokio::spawn(async move {
            match connection.pooled.connection.exchange(&[b"RSET\r\n"]).await {
                Ok(reply) if reply.is_positive() => {
                    connection.pooled.connection.in_transaction = false;
                    backends.give(worker, connection);
                }
                Ok(reply) => debug!(upstream = backends.name(connection.index), %reply, "RSET was refused"),
                Err(error) => debug!(upstream = backends.name(connection.index), %error, "lost at RSET"),
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

    /// Sees to it that there is a backend that can do what is needed.
    async fn cover(&mut self) -> Result<(), BackendLost> {
        while self.connection.is_none() || !self.capabilities().cover(self.attempts.needs) {
            let reason =
                if self.connection.is_none() { BackendError::Closed } else { BackendError::MissingExtension };
            Box::pin(self.substitute(reason)).await?;
        }
        Ok(())
    }

    /// Sends a command, to a substitute as well where the backend is lost.
    async fn command(&mut self, parts: &[&[u8]]) -> Result<Reply, BackendLost> {
        loop {
            let sent = match self.client() {
                Some(client) => client.exchange(parts).await,
                None => Err(BackendError::Closed),
            };
            match sent {
                Ok(reply) => return Ok(reply),
                Err(broken) => Box::pin(self.substitute(broken)).await?,
            }
        }
    }

    async fn begin(
        &mut self,
        mail: &[u8],
        rcpts: &[Vec<u8>],
        data: bool,
    ) -> Result<(Vec<Reply>, Option<Reply>), BackendLost> {
        loop {
            let begun = match self.client() {
                Some(client) => envelope::begin(client, mail, rcpts, data).await,
                None => Err(BackendError::Closed),
            };
            let EnvelopeReplies { replies, data, ended } = match begun {
                Ok(begun) => begun,
                Err(broken) => {
                    // On the heap, as all that is rare and large.
                    Box::pin(self.substitute(broken)).await?;
                    continue;
                }
            };
            if replies.first().is_some_and(Reply::is_positive) {
                self.mail_accepted(mail);
                self.ended = ended;
                let accepted = rcpts.iter().zip(&replies[1..]).filter(|(_, reply)| reply.is_positive());
                self.rcpts.extend(accepted.map(|(rcpt, _)| rcpt.clone()));
            }
            if data.as_ref().is_some_and(Reply::is_intermediate) {
                self.stage = LeaseStage::Content;
            }
            return Ok((replies, data));
        }
    }

    /// Has another backend take over: as far as the transaction got, unless the backend was given the message.
    async fn substitute(&mut self, broken: BackendError) -> Result<(), BackendLost> {
        let mut lost = self.lost(broken);
        loop {
            if self.given {
                return Err(lost);
            }
            debug!(detail = lost.detail, "another connection takes over");
            match self.backends.connect(self.worker, &self.submitter, &mut self.attempts).await {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => {
                    debug!(%error, "none is left");
                    return Err(lost);
                }
            }
            match self.repeat().await {
                Ok(None) => return Ok(()),
                Ok(Some(reply)) => {
                    self.connection = None;
                    let detail = format!("{}; the one that took over answered {reply}", lost.detail);
                    return Err(BackendLost { detail, last: None, given: false });
                }
                Err(broken) => lost = self.lost(broken),
            }
        }
    }

    /// Says again what was accepted before; the reply to what isn't any more.
    async fn repeat(&mut self) -> Result<Option<Reply>, BackendError> {
        let Some(connection) = &mut self.connection else { return Err(BackendError::Closed) };
        let Some(mail) = &self.mail else { return Ok(None) };
        let begun = envelope::begin(&mut connection.pooled.connection, mail, &self.rcpts, false).await?;
        connection.pooled.connection.in_transaction = true;
        self.ended = false;
        Ok(begun.replies.into_iter().find(|reply| !reply.is_positive()))
    }

    /// Begins a transaction again that the backend has ended, whatever it remembers of it; the reply where it doesn't want it
    /// any more.
    async fn renew(&mut self) -> Result<Option<Reply>, BackendLost> {
        let reset = match self.client() {
            Some(client) => client.exchange(&[b"RSET\r\n"]).await,
            None => Err(BackendError::Closed),
        };
        let repeated = match reset {
            Ok(_) => self.repeat().await,
            Err(broken) => Err(broken),
        };
        match repeated {
            Ok(refusal) => {
                self.ended = refusal.is_some();
                Ok(refusal)
            }
            Err(broken) => Box::pin(self.substitute(broken)).await.map(|()| None),
        }
    }

    /// Notes the end of a message or chunk, and passes the answer on.
    fn answered(&mut self, answer: Result<Reply, BackendError>, last: bool) -> Result<Reply, BackendLost> {
        let reply = answer.map_err(|broken| self.lost(broken))?;
        self.stage = LeaseStage::Envelope;
        if let Some(client) = self.client()
            && last
        {
            // RFC 5321, 4.1.1.4: the buffers are cleared, whatever the answer is.
            client.in_transaction = false;
            if reply.is_positive() {
                client.note_accepted();
            }
        }
        Ok(reply)
    }

    /// Drops the connection that failed, or gives it back where it is only none for this message.
    fn lost(&mut self, broken: BackendError) -> BackendLost {
        if let Some(gone) = self.gone.take() {
            return BackendLost { given: self.given, ..gone };
        }
        let mut detail = broken.to_string();
        if let Some(connection) = self.connection.take() {
            detail = format!("{}: {detail}", self.backends.name(connection.index));
            if matches!(broken, BackendError::MissingExtension) {
                self.attempts.exclude(connection.index, detail.clone());
                self.release(connection);
            } else {
                self.attempts.note(connection.index, connection.reused, detail.clone());
            }
        }
        let last = if let BackendError::ClosingReply(reply) = broken { Some(reply) } else { None };
        BackendLost { detail, last, given: self.given }
    }
}

/// Sends what is left of a message or chunk, and waits for the answer.
async fn deliver(client: &mut BackendClient, bytes: &[u8], end: &[u8]) -> Result<Reply, BackendError> {
    client.flush_content(bytes, end).await?;
    client.final_reply().await
}
