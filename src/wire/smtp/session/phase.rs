//! The state of a session. Each phase is named for what it awaits, and owns the data for it.

use super::content_reader::ContentReader;
use crate::wire::smtp::Reply;
use crate::wire::smtp::auth::AuthExchange;
use crate::wire::smtp::bdat::ChunkReader;
use crate::wire::smtp::header::HeaderFilter;

/// The phase of a session.
#[derive(Debug)]
pub(super) enum SessionPhase {
    /// A command outside of a transaction.
    Command,
    /// A line of an AUTH exchange.
    Login(AuthExchange),
    /// [`super::SmtpSession::complete_login`].
    LoginOutcome,
    /// [`super::SmtpSession::complete_handshake`].
    Handshake,
    /// [`super::SmtpSession::complete_envelope`].
    Envelope(PendingEnvelope),
    /// A command within a transaction.
    Transaction(MailTransaction),
    /// [`super::SmtpSession::complete_data_command`].
    DataReply(MailTransaction),
    /// The content of DATA.
    Data(DataPhase),
    /// The content of a chunk.
    Chunk(ChunkPhase),
    /// The content of a chunk that is discarded.
    SkippedChunk(SkippedChunk),
    /// [`super::SmtpSession::complete_message`].
    MessageReply,
    /// Nothing; the session is over.
    Closed,
}

impl SessionPhase {
    /// Returns true within a transaction.
    pub(super) fn is_within_transaction(&self) -> bool {
        match self {
            SessionPhase::Envelope(_)
            | SessionPhase::Transaction(_)
            | SessionPhase::DataReply(_)
            | SessionPhase::Data(_)
            | SessionPhase::Chunk(_)
            | SessionPhase::MessageReply => true,
            SessionPhase::SkippedChunk(skip) => skip.transaction.is_some(),
            SessionPhase::Command
            | SessionPhase::Login(_)
            | SessionPhase::LoginOutcome
            | SessionPhase::Handshake
            | SessionPhase::Closed => false,
        }
    }
}

/// A transaction whose MAIL was accepted.
#[derive(Debug, Default)]
pub(super) struct MailTransaction {
    /// True if MAIL had SMTPUTF8.
    pub utf8: bool,
    /// The number of accepted recipients.
    pub accepted: usize,
    /// The number of refused recipients.
    pub refused: usize,
    /// The message, from its first chunk on.
    pub body: Option<Box<IncomingMessage>>,
}

/// An envelope step that is not completed.
#[derive(Debug)]
pub(super) struct PendingEnvelope {
    pub transaction: MailTransaction,
    pub mail: bool,
    pub rcpts: usize,
}

/// A message that is received.
#[derive(Debug)]
pub(super) struct IncomingMessage {
    /// The fields that precede the message's own header, until they were sent.
    pub prefix: Option<Vec<u8>>,
    pub filter: HeaderFilter,
    /// The size of its chunks so far, in bytes.
    pub size: u64,
    /// The reply at the end of a message that is discarded.
    pub rejection: Option<Reply>,
}

/// A message by DATA.
#[derive(Debug)]
pub(super) struct DataPhase {
    pub body: Box<IncomingMessage>,
    pub reader: ContentReader,
}

/// A message by BDAT, within a chunk.
#[derive(Debug)]
pub(super) struct ChunkPhase {
    pub transaction: MailTransaction,
    pub body: Box<IncomingMessage>,
    pub reader: ChunkReader,
    pub last: bool,
}

/// A chunk that is discarded.
#[derive(Debug)]
pub(super) struct SkippedChunk {
    pub reader: ChunkReader,
    /// The reply at its end.
    pub reply: Reply,
    pub blame: ChunkBlame,
    /// The transaction that continues then.
    pub transaction: Option<MailTransaction>,
}

/// The blame for a chunk that is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkBlame {
    /// The client is not to blame: it may have sent the chunk before it knew.
    None,
    /// Outside of a transaction, maybe because its sender was refused.
    NoTransaction,
    /// The client is to blame.
    Client,
}
