//! Where a session is: each phase is named for what it awaits, and owns what it needs for it.

use crate::wire::smtp::Reply;
use crate::wire::smtp::auth::AuthExchange;
use crate::wire::smtp::bdat::ChunkReader;
use crate::wire::smtp::data::DataReader;
use crate::wire::smtp::header::HeaderFilter;

#[derive(Debug)]
pub(super) enum SessionPhase {
    /// A command, outside of any transaction.
    Command,
    /// A line of an AUTH.
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
    /// The content of a chunk that nobody gets.
    SkippedChunk(SkippedChunk),
    /// [`super::SmtpSession::complete_message`].
    MessageReply,
    /// Nothing any more.
    Closed,
}

/// A transaction whose MAIL was accepted.
#[derive(Debug, Default)]
pub(super) struct MailTransaction {
    /// Whether its addresses may be in UTF-8.
    pub utf8: bool,
    /// Recipients that were accepted.
    pub accepted: usize,
    /// Recipients that were refused.
    pub refused: usize,
    /// The message, once its first chunk has come.
    pub body: Option<Box<IncomingMessage>>,
}

/// What was asked of the backend.
#[derive(Debug)]
pub(super) struct PendingEnvelope {
    pub transaction: MailTransaction,
    pub mail: bool,
    pub rcpts: usize,
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct IncomingMessage {
    /// What comes before its own header, until that went out.
    pub prefix: Option<Vec<u8>>,
    pub filter: HeaderFilter,
    /// Bytes in chunks so far.
    pub size: u64,
    /// What is said at its end, if nobody gets it.
    pub rejection: Option<Reply>,
}

#[derive(Debug)]
pub(super) struct DataPhase {
    pub body: Box<IncomingMessage>,
    pub reader: DataReader,
}

#[derive(Debug)]
pub(super) struct ChunkPhase {
    pub transaction: MailTransaction,
    pub body: Box<IncomingMessage>,
    pub reader: ChunkReader,
    pub last: bool,
}

#[derive(Debug)]
pub(super) struct SkippedChunk {
    pub reader: ChunkReader,
    /// What is said then.
    pub reply: Reply,
    pub fault: ChunkFault,
    /// What goes on then.
    pub transaction: Option<MailTransaction>,
}

/// Whose fault it is that nobody gets a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkFault {
    /// Not the client's, who may have sent it before that was known.
    None,
    /// There is no transaction, maybe because its sender was refused.
    Outside,
    /// The client's.
    Any,
}
