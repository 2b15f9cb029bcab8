//! The envelope of a transaction on a backend connection: pipelining (RFC 2920), and which reply belongs to which command.

use std::borrow::Cow;

use super::client::{BackendClient, BackendError};
use crate::wire::smtp::parameters::{needs, without_size};
use crate::wire::smtp::{Capabilities, Reply};

/// The most bytes of commands that are sent together. A backend that replies while it reads then never waits for Gatepost.
const BATCH: usize = 16 * 1024;

/// The capabilities that this envelope needs.
pub fn needed(mail: &[u8], rcpts: &[Vec<u8>]) -> Capabilities {
    rcpts.iter().fold(needs(mail), |all, rcpt| all.either(needs(rcpt)))
}

/// The replies to an envelope.
pub struct EnvelopeReplies {
    /// The reply to MAIL and, unless that is a refusal, one for each recipient.
    pub replies: Vec<Reply>,
    /// The reply to DATA, if a recipient was accepted and every reply is an acceptance or a refusal.
    pub data: Option<Reply>,
    /// True if the transaction has ended because the backend took DATA without a recipient.
    pub ended: bool,
}

/// Sends MAIL and RCPTs. Sends DATA as well if `data` is true and a recipient was or may be accepted.
///
/// # Errors
/// [`BackendError::MissingExtension`] if this backend can't take this envelope; its connection stays usable. Any other error
/// ends the connection.
pub async fn begin(
    client: &mut BackendClient,
    mail: &[u8],
    rcpts: &[Vec<u8>],
    data: bool,
) -> Result<EnvelopeReplies, BackendError> {
    let offered = client.extensions.capabilities;
    // The client may have been offered what another backend can do, or what this one could do before.
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
    let mail_refused = !replies[0].is_acceptance();
    let any_accepted = replies[1..].iter().any(Reply::is_acceptance);
    let invalid = replies.iter().any(|reply| !reply.is_acceptance() && !reply.is_refusal());
    if mail_refused {
        // A backend that may have accepted a recipient without a sender is reset before the next transaction.
        client.in_transaction = replies[1..].iter().any(|reply| !reply.is_refusal());
        replies.truncate(1);
    }
    if invalid {
        // The caller gives the connection up. An end of the message might be one for a recipient.
        return Ok(EnvelopeReplies { replies, data: None, ended: false });
    }
    let mut ended = false;
    if mail_refused || !any_accepted {
        if answer.take().is_some_and(|answer| answer.is_intermediate()) {
            if any_accepted {
                // The empty message would be delivered.
                return Err(BackendError::UnexpectedReply);
            }
            // RFC 2920 section 3.1: a server that replies 354 nevertheless waits for an end of the message.
            client.queue(&[b".\r\n"]);
            client.send().await?;
            // Other replies follow on this connection, so that this one has to be valid.
            client.content_reply().await?;
            ended = true;
        }
    } else if data && !with_data {
        answer = Some(client.exchange(&[b"DATA\r\n"]).await?);
    }
    Ok(EnvelopeReplies { replies, data: answer, ended })
}

/// Sends what is queued and reads `pending` replies. Returns false if the first of all replies, that to MAIL, is not an
/// acceptance.
async fn collect(
    client: &mut BackendClient,
    pending: usize,
    replies: &mut Vec<Reply>,
) -> Result<bool, BackendError> {
    client.send().await?;
    for _ in 0..pending {
        replies.push(client.reply().await?);
    }
    Ok(replies.first().is_none_or(Reply::is_acceptance))
}
