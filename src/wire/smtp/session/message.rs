//! A message on its way: what of it goes to the backend, and what ends it.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::phase::{ChunkPhase, DataPhase, Fault, Message, Phase, Skip, Transaction};
use super::{Limit, Moment, Piece, Session, Step};
use crate::wire::smtp::bdat::ChunkReader;
use crate::wire::smtp::data::DataRead;
use crate::wire::smtp::header::HeaderFilter;
use crate::wire::smtp::number::hexadecimal;
use crate::wire::smtp::received::{MAX_HOPS, Trace};
use crate::wire::smtp::{Reply, answers};

/// An empty line, and the line end before it.
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\r\n\r\n"));

impl Message {
    /// What goes to the backend of a piece of content.
    fn pass<'i>(&mut self, piece: &'i [u8]) -> Result<Piece<'i>, Reply> {
        if piece.is_empty() || self.filter.is_over() {
            return Ok(Piece { head: Vec::new(), rest: piece });
        }
        let mut head = self.prefix.take().unwrap_or_default();
        // Room for the header, which may be all of it; growing step by step would leave a trail of all sizes.
        head.reserve(EMPTY_LINE.find(piece).map_or(piece.len(), |end| end + 4));
        let rest = self.filter.pass(piece, &mut head);
        if self.filter.hops() > MAX_HOPS {
            return Err(answers::LOOP);
        }
        Ok(Piece { head, rest })
    }

    /// What was held back.
    fn finish(&mut self) -> Vec<u8> {
        let mut head = self.prefix.take().unwrap_or_default();
        self.filter.finish(&mut head);
        head
    }

    /// Nobody gets it.
    fn doom<'i>(&mut self, reply: Reply) -> Step<'i> {
        self.doom = Some(reply);
        Step::Abort
    }
}

impl Session {
    /// A message that begins now.
    pub(super) fn body(&self, utf8: bool, dots: bool, moment: &Moment) -> Box<Message> {
        let greeting = self.greeting.as_ref();
        let mut prefix = Vec::with_capacity(512);
        let mut id = Vec::with_capacity(24);
        hexadecimal(self.number, 16, &mut id);
        id.push(b'.');
        hexadecimal(self.messages as u64, 1, &mut id);
        let trace = Trace {
            helo: greeting.map_or(b"", |greeting| &greeting.name),
            extended: greeting.is_some_and(|greeting| greeting.extended),
            address: self.address,
            host: &self.settings.host,
            tls: self.tls,
            authenticated: self.user.is_some(),
            utf8,
            id: &id,
            now: (moment.clock)(),
        };
        trace.write(&mut prefix);
        if let Some(user) = self.user.as_ref().filter(|_| self.settings.user_header) {
            prefix.extend_from_slice(b"\r\nX-Gatepost-User: ");
            prefix.extend_from_slice(user.as_bytes());
        }
        Box::new(Message { prefix: Some(prefix), filter: HeaderFilter::new(dots), size: 0, doom: None })
    }

    pub(super) fn data<'i>(
        &mut self,
        mut phase: DataPhase,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<Step<'i>> {
        loop {
            let step = match phase.reader.read(input) {
                DataRead::More => Step::Read,
                DataRead::End => {
                    if let Some(reply) = phase.body.doom {
                        self.conclude(&reply, out);
                        return None;
                    }
                    self.phase = Phase::Outcome;
                    return Some(Step::Finish(Piece { head: phase.body.finish(), rest: &[] }));
                }
                _ if phase.body.doom.is_some() => continue,
                DataRead::Fault => phase.body.doom(answers::BARE_LINE_END),
                DataRead::Content(_) if phase.reader.size() > self.settings.max_message => {
                    self.reached.push(Limit::Size);
                    phase.body.doom(answers::TOO_LARGE)
                }
                DataRead::Content(piece) => match phase.body.pass(piece) {
                    Ok(mut piece) if phase.reader.ends(input) => {
                        // Together with the end, so that a message that came whole goes in one write. What is held back
                        // belongs to a header that isn't over, and then there is no rest.
                        piece.head.extend_from_slice(&phase.body.finish());
                        self.phase = Phase::Outcome;
                        return Some(Step::Finish(piece));
                    }
                    Ok(piece) if piece.is_empty() => continue,
                    Ok(piece) => Step::Content(piece),
                    Err(reply) => phase.body.doom(reply),
                },
            };
            self.phase = Phase::Data(phase);
            return Some(step);
        }
    }

    /// A chunk that is somebody's.
    pub(super) fn take_chunk(
        &mut self,
        reader: ChunkReader,
        last: bool,
        mut transaction: Transaction,
        moment: &Moment,
    ) {
        let body = transaction.body.take().unwrap_or_else(|| {
            let mut body = self.body(transaction.utf8, false, moment);
            self.messages += 1;
            let mut prefix = body.prefix.take().unwrap_or_default();
            body.filter.pass(b"\r\n", &mut prefix);
            body.prefix = Some(prefix);
            body
        });
        self.phase = Phase::Chunk(ChunkPhase { transaction, body, reader, last });
    }

    pub(super) fn chunk<'i>(
        &mut self,
        mut phase: ChunkPhase,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<Step<'i>> {
        let piece = phase.reader.read(input);
        let over = phase.reader.is_over();
        if phase.body.doom.is_none() {
            phase.body.size += piece.len() as u64;
            let passed = match phase.body.size > self.settings.max_message {
                true => {
                    self.reached.push(Limit::Size);
                    Err(answers::TOO_LARGE)
                }
                false => phase.body.pass(piece).map(Piece::into_bytes),
            };
            let step = match passed {
                Err(reply) => phase.body.doom(reply),
                Ok(mut bytes) if over && phase.last => {
                    let rest = phase.body.finish();
                    if !rest.is_empty() {
                        bytes.to_mut().extend_from_slice(&rest);
                    }
                    self.phase = Phase::Outcome;
                    return Some(Step::LastChunk(bytes));
                }
                Ok(bytes) if !bytes.is_empty() => Step::Chunk(bytes),
                Ok(_) if !over => Step::Read,
                Ok(_) => return self.end_chunk(phase, &answers::CHUNK_TAKEN, out),
            };
            self.phase = Phase::Chunk(phase);
            return Some(step);
        }
        if !over {
            self.phase = Phase::Chunk(phase);
            return Some(Step::Read);
        }
        let reply = phase.body.doom.clone().unwrap_or(answers::BACKEND_LOST);
        self.end_chunk(phase, &reply, out)
    }

    fn end_chunk<'i>(&mut self, phase: ChunkPhase, reply: &Reply, out: &mut Vec<u8>) -> Option<Step<'i>> {
        self.conclude(reply, out);
        if !phase.last && !self.is_over() {
            let transaction = Transaction { body: Some(phase.body), ..phase.transaction };
            self.phase = Phase::Transaction(transaction);
        }
        None
    }

    pub(super) fn skip<'i>(
        &mut self,
        mut skip: Skip,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
    ) -> Option<Step<'i>> {
        skip.reader.read(input);
        if !skip.reader.is_over() {
            self.phase = Phase::Skip(skip);
            return Some(Step::Read);
        }
        self.resume(skip.transaction);
        match skip.fault {
            Fault::None => skip.reply.write(out),
            Fault::Outside => self.refuse_outside(out),
            Fault::Any => self.refuse(&skip.reply, out),
        }
        None
    }

    /// Says how a message ended; with a 421, the session ends as well.
    pub(super) fn conclude(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        reply.write(out);
        self.phase = if reply.code() == 421 { Phase::Closed } else { Phase::Command };
    }
}
