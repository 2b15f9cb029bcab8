//! The envelope of a transaction on a backend's connection: what may be pipelined, and which reply belongs to which command.

use std::borrow::Cow;

use super::client::{BackendClient, BackendError};
use crate::wire::smtp::parameters::{needs, without_size};
use crate::wire::smtp::{Capabilities, Reply};

/// Commands are sent together up to this many bytes, so that a backend that answers while it reads never waits for us.
const BATCH: usize = 16 * 1024;

/// What a backend has to extensions for this envelope.
pub fn needed(mail: &[u8], rcpts: &[Vec<u8>]) -> Capabilities {
    rcpts.iter().fold(needs(mail), |all, rcpt| all.either(needs(rcpt)))
}

/// How an envelope was answered.
pub struct EnvelopeReplies {
    /// The reply to MAIL, and, unless it was refused, one for each recipient.
    pub replies: Vec<Reply>,
    /// That to DATA, where a recipient was accepted.
    pub data: Option<Reply>,
    /// Whether the transaction is over all the same, since the backend took DATA without a recipient.
    pub ended: bool,
}

/// MAIL and RCPTs, and DATA where it is wanted and makes sense.
///
/// # Errors
/// Where the client is over, and [`BackendError::MissingExtension`] where it goes on but this envelope is none for it.
pub async fn begin(
    client: &mut BackendClient,
    mail: &[u8],
    rcpts: &[Vec<u8>],
    data: bool,
) -> Result<EnvelopeReplies, BackendError> {
    let offered = client.extensions.capabilities;
    // What the client was offered may be what other backends can do, or what this one could.
    if !offered.cover(needed(mail, rcpts)) {
        return Err(BackendError::MissingExtension);
    }
    let mail = if offered.size.is_some() { Cow::Borrowed(mail) } else { without_size(mail) };
    let pipelining = offered.pipelining;
    let mut replies = Vec::with_capacity(rcpts.len() + 1);
    client.queue(&[b"MAIL FROM:", &mail, b"\r\n"]);
    let mut pending = 1;
    let mut refused = false;
    for rcpt in rcpts {
        if !pipelining || client.queued() + rcpt.len() > BATCH {
            refused |= !collect(client, pending, &mut replies).await?;
            pending = 0;
            if refused {
                break;
            }
        }
        client.queue(&[b"RCPT TO:", rcpt, b"\r\n"]);
        pending += 1;
    }
    let with_data = data && pipelining && !refused && !rcpts.is_empty();
    if with_data {
        client.queue(&[b"DATA\r\n"]);
    }
    if pending > 0 {
        collect(client, pending, &mut replies).await?;
    }
    let mut answer = if with_data { Some(client.reply().await?) } else { None };
    let mail_refused = !replies[0].is_positive();
    let accepted = !mail_refused && replies[1..].iter().any(Reply::is_positive);
    if mail_refused {
        // Who takes a recipient without a sender has to be made to forget it before the next transaction.
        client.in_transaction = replies[1..].iter().any(Reply::is_positive);
        replies.truncate(1);
    }
    let mut ended = false;
    if !accepted {
        if answer.take().is_some_and(|answer| answer.is_intermediate()) {
            // RFC 2920, 3.1: a server that says 354 all the same is owed an end, and refuses it.
            client.queue(&[b".\r\n"]);
            client.send().await?;
            client.final_reply().await?;
            ended = true;
        }
    } else if data && !with_data {
        answer = Some(client.exchange(&[b"DATA\r\n"]).await?);
    }
    Ok(EnvelopeReplies { replies, data: answer, ended })
}

/// Sends what is queued and reads so many replies; whether MAIL was accepted, if its reply is among them.
async fn collect(
    client: &mut BackendClient,
    pending: usize,
    replies: &mut Vec<Reply>,
) -> Result<bool, BackendError> {
    client.send().await?;
    for _ in 0..pending {
        replies.push(client.reply().await?);
    }
    Ok(replies.first().is_none_or(Reply::is_positive))
}
