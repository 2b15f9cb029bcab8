//! Where a session is: each phase is named for what it awaits, and owns what it needs for it.

use crate::wire::smtp::Reply;
use crate::wire::smtp::auth::AuthExchange;
use crate::wire::smtp::bdat::ChunkReader;
use crate::wire::smtp::data::DataReader;
use crate::wire::smtp::header::HeaderFilter;

#[derive(Debug)]
pub(super) enum Phase {
    /// A command, outside of any transaction.
    Command,
    /// A line of an AUTH.
    Login(AuthExchange),
    /// [`super::Session::checked`].
    Verdict,
    /// [`super::Session::encrypted`].
    Handshake,
    /// [`super::Session::envelope`].
    Envelope(PendingEnvelope),
    /// A command within a transaction.
    Transaction(Transaction),
    /// [`super::Session::go_ahead`].
    GoAhead(Transaction),
    /// The content of DATA.
    Data(DataPhase),
    /// The content of a chunk.
    Chunk(ChunkPhase),
    /// The content of a chunk that nobody gets.
    Skip(Skip),
    /// [`super::Session::outcome`].
    Outcome,
    /// Nothing any more.
    Closed,
}

/// A transaction whose MAIL was accepted.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// Whether its addresses may be in UTF-8.
    pub utf8: bool,
    /// Recipients that were accepted.
    pub accepted: usize,
    /// Recipients that were refused.
    pub refused: usize,
    /// The message, once its first chunk has come.
    pub body: Option<Box<Message>>,
}

/// What was asked of the backend.
#[derive(Debug)]
pub(super) struct PendingEnvelope {
    pub transaction: Transaction,
    pub mail: bool,
    pub rcpts: usize,
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Message {
    /// What comes before its own header, until that went out.
    pub prefix: Option<Vec<u8>>,
    pub filter: HeaderFilter,
    /// Bytes in chunks so far.
    pub size: u64,
    /// What is said at its end, if nobody gets it.
    pub doom: Option<Reply>,
}

#[derive(Debug)]
pub(super) struct DataPhase {
    pub body: Box<Message>,
    pub reader: DataReader,
}

#[derive(Debug)]
pub(super) struct ChunkPhase {
    pub transaction: Transaction,
    pub body: Box<Message>,
    pub reader: ChunkReader,
    pub last: bool,
}

#[derive(Debug)]
pub(super) struct Skip {
    pub reader: ChunkReader,
    /// What is said then.
    pub reply: Reply,
    pub fault: Fault,
    /// What goes on then.
    pub transaction: Option<Transaction>,
}

/// Whose fault it is that nobody gets a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not the client's, who may have sent it before that was known.
    None,
    /// There is no transaction, maybe because its sender was refused.
    Outside,
    /// The client's.
    Any,
}
