//! Recovery of a lease: a substitute for a backend that is lost before it was given any of the message.

use tracing::debug;

use super::super::client::BackendError;
use super::super::envelope::{self, EnvelopeReplies};
use super::super::group::NoBackend;
use super::super::lost::BackendLost;
use super::{Lease, LeaseStage};
use crate::wire::smtp::Reply;

impl Lease {
    /// Substitutes another backend until there is one that offers what the transaction needs.
    pub(super) async fn cover(&mut self) -> Result<(), BackendLost> {
        while self.connection.is_none() || !self.capabilities().cover(self.attempts.needs) {
            let reason =
                if self.connection.is_none() { BackendError::Closed } else { BackendError::MissingExtension };
            Box::pin(self.substitute(reason)).await?;
        }
        Ok(())
    }

    /// Sends a command. If the backend is lost, it goes to a substitute.
    pub(super) async fn command(&mut self, parts: &[&[u8]]) -> Result<Reply, BackendLost> {
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

    pub(super) async fn begin(
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
                    // On the heap, as every future that is rare and large.
                    Box::pin(self.substitute(broken)).await?;
                    continue;
                }
            };
            if replies.first().is_some_and(Reply::is_acceptance) {
                self.mail_accepted(mail);
                self.ended = ended;
                let accepted = rcpts.iter().zip(&replies[1..]).filter(|(_, reply)| reply.is_acceptance());
                self.rcpts.extend(accepted.map(|(rcpt, _)| rcpt.clone()));
            }
            if data.as_ref().is_some_and(Reply::is_intermediate) {
                self.stage = LeaseStage::Content;
            }
            return Ok((replies, data));
        }
    }

    /// Substitutes another connection, and repeats the envelope as far as it was accepted.
    ///
    /// # Errors
    /// The backend was given the message, no connection is left, or the substitute refused what had been accepted.
    async fn substitute(&mut self, broken: BackendError) -> Result<(), BackendLost> {
        let mut lost = self.lost(broken);
        loop {
            if self.given {
                return Err(lost);
            }
            debug!(detail = lost.detail, "substituting another backend connection");
            match self.backends.connect(self.worker, &self.submitter, &mut self.attempts).await {
                Ok(connection) if self.last_look.permits() => self.connection = Some(connection),
                Ok(connection) => {
                    self.backends.give(self.worker, connection);
                    return Err(BackendLost { detail: NoBackend::CutOff.to_string(), ..lost });
                }
                Err(error) => {
                    debug!(%error, "no substitute for a lost backend connection");
                    return Err(lost);
                }
            }
            match self.repeat().await {
                Ok(None) => return Ok(()),
                Ok(Some(reply)) => {
                    self.connection = None;
                    let detail = format!("{}; its substitute replied {reply}", lost.detail);
                    return Err(BackendLost { detail, upstream: String::new(), last: None, given: false });
                }
                Err(broken) => lost = self.lost(broken),
            }
        }
    }

    /// Repeats the envelope that was accepted before. Returns the first refusal in it, if there is one.
    async fn repeat(&mut self) -> Result<Option<Reply>, BackendError> {
        let Some(connection) = &mut self.connection else { return Err(BackendError::Closed) };
        let Some(mail) = &self.mail else { return Ok(None) };
        let begun = envelope::begin(&mut connection.pooled.connection, mail, &self.rcpts, false).await?;
        connection.pooled.connection.in_transaction = true;
        self.ended = false;
        Ok(begun.replies.into_iter().find(|reply| !reply.is_acceptance()))
    }

    /// Repeats the envelope after the backend ended the transaction. Returns the first refusal in it, if there is one.
    pub(super) async fn renew(&mut self) -> Result<Option<Reply>, BackendLost> {
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

    /// Drops a connection that failed. One that only lacks an extension is returned to its pool.
    pub(super) fn lost(&mut self, broken: BackendError) -> BackendLost {
        if let Some(gone) = self.gone.take() {
            return BackendLost { given: self.given, ..gone };
        }
        let (mut detail, mut upstream) = (broken.to_string(), String::new());
        if let Some(connection) = self.connection.take() {
            self.backends.name(connection.index).clone_into(&mut upstream);
            detail = format!("{upstream}: {detail}");
            if matches!(broken, BackendError::MissingExtension) {
                self.attempts.exclude(connection.index, detail.clone());
                self.release(connection);
            } else {
                self.attempts.note(connection.index, connection.reused, detail.clone());
            }
        }
        let last = match broken {
            BackendError::ClosingReply(reply) | BackendError::EarlyRefusal(reply) => Some(reply),
            _ => None,
        };
        BackendLost { detail, upstream, last, given: self.given }
    }
}
