//! The commands of a transaction: MAIL, RCPT, DATA and BDAT.

use super::command::count_refused;
use super::input_line::{self, InputLine};
use super::phase::{ChunkBlame, MailTransaction, PendingEnvelope, SessionPhase, SkippedChunk};
use super::{EnvelopeBatch, SessionEnvironment, SessionLimit, SessionStep, SmtpSession};
use crate::wire::smtp::bdat::ChunkReader;
use crate::wire::smtp::command::{self, SmtpCommand};
use crate::wire::smtp::replies;

impl SmtpSession {
    pub(super) fn mail<'i>(
        &mut self,
        arguments: &[u8],
        transaction: Option<MailTransaction>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
        environment: &SessionEnvironment,
    ) -> Option<SessionStep<'i>> {
        let unready = self.unready().or(transaction.as_ref().map(|_| replies::BAD_SEQUENCE));
        if let Some(reply) = unready {
            return self.deny(&reply, transaction, out);
        }
        if self.messages >= self.settings.messages {
            self.reached.push(SessionLimit::Messages);
            self.end_with(&replies::TOO_MANY_MESSAGES, out);
            return None;
        }
        let (usable, longest) = (self.usable(environment), self.largest_announced(environment));
        let mail = match command::mail(arguments, usable, longest, self.is_extended()) {
            Ok(mail) => mail,
            Err(reply) => {
                if reply == replies::TOO_LARGE {
                    self.reached.push(SessionLimit::Size);
                }
                self.tolerate_pipelined();
                return self.deny(&reply, None, out);
            }
        };
        self.transactions = self.transactions.saturating_add(1);
        self.within = true;
        let transaction = MailTransaction { utf8: mail.utf8, ..MailTransaction::default() };
        let envelope = EnvelopeBatch { mail: Some(mail), ..EnvelopeBatch::default() };
        Some(self.request(envelope, transaction, input, environment))
    }

    pub(super) fn rcpt<'i>(
        &mut self,
        arguments: &[u8],
        transaction: Option<MailTransaction>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
        environment: &SessionEnvironment,
    ) -> Option<SessionStep<'i>> {
        if let Some(reply) = self.unready() {
            return self.deny(&reply, transaction, out);
        }
        let transaction = match transaction {
            Some(transaction) if transaction.body.is_none() => transaction,
            Some(transaction) => return self.deny(&replies::BAD_SEQUENCE, Some(transaction), out),
            None => return self.deny_without_transaction(out),
        };
        if transaction.accepted >= self.settings.recipients {
            self.reached.push(SessionLimit::Recipients);
            let counted = count_refused(Some(transaction), true);
            return self.deny_for_free(&replies::TOO_MANY_RECIPIENTS, counted, out);
        }
        match command::rcpt(arguments, self.usable(environment), transaction.utf8, self.is_extended()) {
            Ok(rcpt) => {
                let envelope = EnvelopeBatch { rcpts: vec![rcpt], ..EnvelopeBatch::default() };
                Some(self.request(envelope, transaction, input, environment))
            }
            Err(reply) => self.deny(&reply, count_refused(Some(transaction), true), out),
        }
    }

    /// Adds the pipelined recipients to an envelope, and requests it from the driver.
    fn request<'i>(
        &mut self,
        mut envelope: EnvelopeBatch,
        transaction: MailTransaction,
        input: &mut &'i [u8],
        environment: &SessionEnvironment,
    ) -> SessionStep<'i> {
        let usable = self.usable(environment);
        let bare_newline = self.settings.bare_newline;
        while transaction.accepted + envelope.rcpts.len() < self.settings.recipients
            && let InputLine::Whole(line, rest) =
                input_line::first(input, None, command::longest, bare_newline)
            && let Ok(SmtpCommand::Rcpt(arguments)) = SmtpCommand::parse(line)
            && let Ok(rcpt) = command::rcpt(arguments, usable, transaction.utf8, self.is_extended())
        {
            envelope.rcpts.push(rcpt);
            *input = rest;
        }
        let next = input_line::first(input, None, command::longest, bare_newline);
        envelope.data =
            matches!(next, InputLine::Whole(line, _) if SmtpCommand::parse(line) == Ok(SmtpCommand::Data));
        let (mail, rcpts) = (envelope.mail.is_some(), envelope.rcpts.len());
        self.phase = SessionPhase::Envelope(PendingEnvelope { transaction, mail, rcpts });
        SessionStep::Envelope(envelope)
    }

    pub(super) fn announce<'i>(
        &mut self,
        transaction: Option<MailTransaction>,
        out: &mut Vec<u8>,
        environment: &SessionEnvironment,
    ) -> Option<SessionStep<'i>> {
        if let Some(reply) = self.unready() {
            return self.deny(&reply, transaction, out);
        }
        match transaction {
            Some(mut transaction) if transaction.accepted > 0 && transaction.body.is_none() => {
                transaction.body = Some(self.body(transaction.utf8, true, environment));
                self.phase = SessionPhase::DataReply(transaction);
                Some(SessionStep::Data)
            }
            // A client that pipelines could not know.
            Some(transaction) if transaction.refused > 0 && transaction.body.is_none() => {
                self.deny_for_free(&replies::NO_RECIPIENTS, Some(transaction), out)
            }
            Some(transaction) => self.deny(&replies::BAD_SEQUENCE, Some(transaction), out),
            None => self.deny_without_transaction(out),
        }
    }

    pub(super) fn begin_chunk<'i>(
        &mut self,
        size: u64,
        last: bool,
        transaction: Option<MailTransaction>,
        environment: &SessionEnvironment,
    ) -> Option<SessionStep<'i>> {
        let reader = ChunkReader::new(size);
        let refusal = match (&transaction, self.unready()) {
            (_, Some(reply)) => Some(reply),
            (Some(transaction), None) => match &transaction.body {
                Some(body) => body.rejection.as_ref().map(|_| replies::BAD_SEQUENCE),
                None if !self.usable(environment).chunking => Some(replies::NOT_IMPLEMENTED),
                None if transaction.accepted > 0 => None,
                None if transaction.refused > 0 => Some(replies::NO_RECIPIENTS),
                None => Some(replies::BAD_SEQUENCE),
            },
            (None, None) => Some(replies::BAD_SEQUENCE),
        };
        match (transaction, refusal) {
            (Some(transaction), None) => self.take_chunk(reader, last, transaction, environment),
            (transaction, refusal) => {
                // The content of the chunk follows in any case, and nothing of it may be taken for commands.
                let reply = refusal.unwrap_or(replies::BAD_SEQUENCE);
                let is_rejected = transaction.as_ref().is_some_and(|transaction| transaction.body.is_some());
                let blame = match &transaction {
                    // A client that pipelines could not know.
                    _ if is_rejected || reply == replies::NO_RECIPIENTS => ChunkBlame::None,
                    None if reply == replies::BAD_SEQUENCE => ChunkBlame::NoTransaction,
                    _ => ChunkBlame::Client,
                };
                let transaction = transaction.filter(|_| !is_rejected || !last);
                self.phase = SessionPhase::SkippedChunk(SkippedChunk { reader, reply, blame, transaction });
            }
        }
        None
    }
}
