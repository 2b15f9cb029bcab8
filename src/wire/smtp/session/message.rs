//! The content of a message: what of it goes to the backend, and what ends it.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::content_reader::ContentRead;
use super::phase::{
    ChunkBlame, ChunkPhase, DataPhase, IncomingMessage, MailTransaction, SessionPhase, SkippedChunk,
};
use super::{ContentPiece, SessionEnvironment, SessionLimit, SessionStep, SmtpSession};
use crate::wire::smtp::bdat::ChunkReader;
use crate::wire::smtp::header::HeaderFilter;
use crate::wire::smtp::received_field::{MAX_HOPS, ReceivedField};
use crate::wire::smtp::{Reply, replies};

/// An empty line and the line end before it.
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\r\n\r\n"));

impl IncomingMessage {
    /// Filters a piece of content for the backend.
    fn pass<'i>(&mut self, piece: Cow<'i, [u8]>) -> Result<ContentPiece<'i>, Reply> {
        if piece.is_empty() || self.filter.is_over() {
            return Ok(piece.into());
        }
        let mut head = self.prefix.take().unwrap_or_default();
        // The capacity for the whole header at once. Growing step by step would allocate buffers of all sizes.
        head.reserve(EMPTY_LINE.find(&piece).map_or(piece.len(), |end| end + 4));
        let rest = match piece {
            Cow::Borrowed(piece) => self.filter.pass(piece, &mut head),
            Cow::Owned(piece) => {
                let rest = self.filter.pass(&piece, &mut head);
                head.extend_from_slice(rest);
                &[]
            }
        };
        if self.filter.hops() > MAX_HOPS {
            return Err(replies::MAIL_LOOP);
        }
        Ok(ContentPiece { head, rest })
    }

    /// The bytes that the filter withheld, at the end of the message.
    fn finish(&mut self) -> Vec<u8> {
        let mut head = self.prefix.take().unwrap_or_default();
        self.filter.finish(&mut head);
        head
    }
}

impl SmtpSession {
    /// Discards the rest of a message; `reply` is the reply at its end.
    fn reject<'i>(&mut self, body: &mut IncomingMessage, reply: Reply) -> SessionStep<'i> {
        self.note_refusal(&reply);
        body.rejection = Some(reply);
        SessionStep::Abort
    }

    /// A message that begins now.
    pub(super) fn body(
        &self,
        utf8: bool,
        dots: bool,
        environment: &SessionEnvironment,
    ) -> Box<IncomingMessage> {
        let greeting = self.greeting.as_ref();
        let mut prefix = Vec::with_capacity(512);
        let trace = ReceivedField {
            helo: greeting.map_or(b"", |greeting| greeting.name.as_bytes()),
            extended: greeting.is_some_and(|greeting| greeting.extended),
            address: self.address,
            host: &self.settings.host,
            tls: self.tls,
            authenticated: self.user.is_some(),
            utf8,
            id: self.mail_id(),
            now: (environment.clock)(),
        };
        trace.write(&mut prefix);
        if let Some(user) = self.user.as_ref().filter(|_| self.settings.user_header) {
            prefix.extend_from_slice(b"\r\nX-Gatepost-User: ");
            prefix.extend_from_slice(user.as_bytes());
        }
        Box::new(IncomingMessage {
            prefix: Some(prefix),
            filter: HeaderFilter::new(dots),
            size: 0,
            rejection: None,
        })
    }

    pub(super) fn data<'i>(
        &mut self,
        mut phase: DataPhase,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        loop {
            let step = match phase.reader.read(input) {
                ContentRead::More => SessionStep::Read,
                ContentRead::End => {
                    if let Some(reply) = phase.body.rejection {
                        self.conclude(&reply, out);
                        return None;
                    }
                    self.phase = SessionPhase::MessageReply;
                    return Some(SessionStep::Finish(ContentPiece { head: phase.body.finish(), rest: &[] }));
                }
                _ if phase.body.rejection.is_some() => continue,
                ContentRead::Fault => self.reject(&mut phase.body, replies::INVALID_CONTENT),
                ContentRead::Content(_) if phase.reader.size() > self.settings.max_message => {
                    self.reached.push(SessionLimit::Size);
                    self.reject(&mut phase.body, replies::TOO_LARGE)
                }
                ContentRead::Content(piece) => match phase.body.pass(piece) {
                    Ok(mut piece) if phase.reader.take_end(input) => {
                        // The end is taken together with the content, so that a message that came whole is sent in one write.
                        // Bytes are withheld only within the header, and then nothing follows it.
                        piece.head.extend_from_slice(&phase.body.finish());
                        self.phase = SessionPhase::MessageReply;
                        return Some(SessionStep::Finish(piece));
                    }
                    Ok(piece) if piece.is_empty() => continue,
                    Ok(piece) => SessionStep::Content(piece),
                    Err(reply) => self.reject(&mut phase.body, reply),
                },
            };
            self.phase = SessionPhase::Data(phase);
            return Some(step);
        }
    }

    /// Begins a chunk that is not discarded.
    pub(super) fn take_chunk(
        &mut self,
        reader: ChunkReader,
        last: bool,
        mut transaction: MailTransaction,
        environment: &SessionEnvironment,
    ) {
        let body = transaction.body.take().unwrap_or_else(|| {
            let mut body = self.body(transaction.utf8, false, environment);
            self.messages += 1;
            let mut prefix = body.prefix.take().unwrap_or_default();
            body.filter.pass(b"\r\n", &mut prefix);
            body.prefix = Some(prefix);
            body
        });
        self.phase = SessionPhase::Chunk(ChunkPhase { transaction, body, reader, last });
    }

    pub(super) fn chunk<'i>(
        &mut self,
        mut phase: ChunkPhase,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        let piece = phase.reader.read(input);
        let over = phase.reader.is_over();
        if phase.body.rejection.is_none() {
            phase.body.size += piece.len() as u64;
            let passed = match phase.body.size > self.settings.max_message {
                true => {
                    self.reached.push(SessionLimit::Size);
                    Err(replies::TOO_LARGE)
                }
                false => phase.body.pass(Cow::Borrowed(piece)).map(ContentPiece::into_bytes),
            };
            let step = match passed {
                Err(reply) => self.reject(&mut phase.body, reply),
                Ok(mut bytes) if over && phase.last => {
                    let rest = phase.body.finish();
                    if !rest.is_empty() {
                        bytes.to_mut().extend_from_slice(&rest);
                    }
                    self.phase = SessionPhase::MessageReply;
                    return Some(SessionStep::LastChunk(bytes));
                }
                Ok(bytes) if !bytes.is_empty() => SessionStep::Chunk(bytes),
                Ok(_) if !over => SessionStep::Read,
                Ok(_) => return self.end_chunk(phase, &replies::CHUNK_ACCEPTED, out),
            };
            self.phase = SessionPhase::Chunk(phase);
            return Some(step);
        }
        if !over {
            self.phase = SessionPhase::Chunk(phase);
            return Some(SessionStep::Read);
        }
        let reply = phase.body.rejection.clone().unwrap_or(replies::BACKEND_LOST);
        self.end_chunk(phase, &reply, out)
    }

    fn end_chunk<'i>(
        &mut self,
        phase: ChunkPhase,
        reply: &Reply,
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        self.conclude(reply, out);
        if !phase.last && !self.is_over() {
            let transaction = MailTransaction { body: Some(phase.body), ..phase.transaction };
            self.phase = SessionPhase::Transaction(transaction);
        }
        None
    }

    pub(super) fn skip<'i>(
        &mut self,
        mut skip: SkippedChunk,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<SessionStep<'i>> {
        skip.reader.read(input);
        if !skip.reader.is_over() {
            self.phase = SessionPhase::SkippedChunk(skip);
            return Some(SessionStep::Read);
        }
        self.resume(skip.transaction);
        match skip.blame {
            ChunkBlame::None => self.refuse_for_free(&skip.reply, out),
            ChunkBlame::NoTransaction => self.refuse_outside(out),
            ChunkBlame::Client => self.refuse(&skip.reply, out),
        }
        None
    }

    /// Ends a message with its reply. A 421 ends the session as well.
    pub(super) fn conclude(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        self.tell(reply, out);
        self.phase = if reply.code() == 421 { SessionPhase::Closed } else { SessionPhase::Command };
    }
}
