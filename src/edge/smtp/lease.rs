//! One connection to a backend for one transaction.

use thiserror::Error;

use crate::wire::smtp::Reply;

/// The backend was lost in the middle, and no other one can take its place.
#[derive(Debug, Error)]
#[error("{detail}")]
pub struct Lost {
    /// For the log.
    pub detail: String,
    /// What it said last where it said that it closes: a 421.
    pub farewell: Option<Reply>,
}

/// One connection, one transaction. Dropped in the middle, it is closed and never used again.
///
/// Where the backend is lost before it was given any of the message, another one takes its place unseen, with the same
/// sender and recipients; replies that then differ make it [`Lost`]. A 421 is never a reply, but a loss.
pub struct Lease {}

#[allow(clippy::unused_async, unused_variables)]
impl Lease {
    /// `MAIL FROM:` and `arguments`, as the client had them after the colon.
    ///
    /// # Errors
    /// As all of these: where the backend is lost and no other can take its place.
    pub async fn mail(&mut self, arguments: &[u8]) -> Result<Reply, Lost> {
        Err(Lost { detail: String::new(), farewell: None })
    }

    /// `RCPT TO:` and `arguments`, as the client had them after the colon.
    ///
    /// # Errors
    /// As [`Lease::mail`].
    pub async fn rcpt(&mut self, arguments: &[u8]) -> Result<Reply, Lost> {
        Err(Lost { detail: String::new(), farewell: None })
    }

    /// MAIL and RCPTs, in one write where the backend takes that. The replies in their order: that to MAIL, and, unless it
    /// was refused, one for each recipient.
    ///
    /// # Errors
    /// As [`Lease::mail`].
    pub async fn pipeline(&mut self, mail: &[u8], rcpts: &[Vec<u8>]) -> Result<Vec<Reply>, Lost> {
        Ok(Vec::new())
    }

    /// `DATA`: 354, or the backend's refusal.
    ///
    /// # Errors
    /// As [`Lease::mail`].
    pub async fn data(&mut self) -> Result<Reply, Lost> {
        Err(Lost { detail: String::new(), farewell: None })
    }

    /// After a 354 or within a chunk: content as it goes over the wire, dot-stuffed for DATA. Returns once it is sent or in
    /// a buffer of at most 16 KiB, so that a slow backend slows down who calls. From here on, the backend was given the
    /// message, and a loss is final.
    ///
    /// # Errors
    /// Where the backend is lost.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        Ok(())
    }

    /// The end of what [`Lease::data`] began: the line with the dot, after a CR LF where the content didn't end with one.
    /// The backend's answer.
    ///
    /// # Errors
    /// Where the backend is lost: nobody knows then whether it has the message.
    pub async fn finish(&mut self) -> Result<Reply, Lost> {
        Err(Lost { detail: String::new(), farewell: None })
    }

    /// `BDAT length` or `BDAT length LAST`, where the backend has CHUNKING; `length` bytes by [`Lease::write`] follow, and
    /// then [`Lease::chunk_reply`].
    ///
    /// # Errors
    /// Where the backend is lost.
    pub async fn bdat(&mut self, length: u64, last: bool) -> Result<(), Lost> {
        Ok(())
    }

    /// The backend's answer to a chunk that was written in full.
    ///
    /// # Errors
    /// Where the backend is lost.
    pub async fn chunk_reply(&mut self) -> Result<Reply, Lost> {
        Err(Lost { detail: String::new(), farewell: None })
    }

    /// Whether the backend was given the message or a part of it: after that another one mustn't get it.
    pub fn given(&self) -> bool {
        false
    }

    /// Ends the transaction, in the middle too as long as no message is under way, and gives the connection back for the
    /// next one. What can't be used again is closed.
    pub async fn done(self) {}
}
