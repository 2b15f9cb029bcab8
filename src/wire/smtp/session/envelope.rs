//! The commands of a transaction: MAIL, RCPT, DATA and BDAT.

use super::line::{self, Line};
use super::phase::{Fault, PendingEnvelope, Phase, Skip, Transaction};
use super::{Envelope, Limit, Moment, Session, Step};
use crate::wire::smtp::answers;
use crate::wire::smtp::bdat::ChunkReader;
use crate::wire::smtp::command::{self, SmtpCommand};

impl Session {
    pub(super) fn mail<'i>(
        &mut self,
        arguments: &[u8],
        transaction: Option<Transaction>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
        moment: &Moment,
    ) -> Option<Step<'i>> {
        let unready = self.unready().or(transaction.as_ref().map(|_| answers::BAD_SEQUENCE));
        if let Some(reply) = unready {
            return self.deny(&reply, transaction, out);
        }
        if self.messages >= self.settings.messages {
            self.reached.push(Limit::Messages);
            self.dismiss(&answers::TOO_MANY_MESSAGES, out);
            return None;
        }
        let longest = self.longest_message(&moment.offered);
        let mail = match command::mail(arguments, moment.offered, longest, self.is_extended()) {
            Ok(mail) => mail,
            Err(reply) => {
                if reply == answers::TOO_LARGE {
                    self.reached.push(Limit::Size);
                }
                self.forgive();
                return self.deny(&reply, None, out);
            }
        };
        let transaction = Transaction { utf8: mail.utf8, ..Transaction::default() };
        let envelope = Envelope { mail: Some(mail), ..Envelope::default() };
        Some(self.ask(envelope, transaction, input, moment))
    }

    pub(super) fn rcpt<'i>(
        &mut self,
        arguments: &[u8],
        transaction: Option<Transaction>,
        input: &mut &'i [u8],
        out: &mut Vec<u8>,
        moment: &Moment,
    ) -> Option<Step<'i>> {
        if let Some(reply) = self.unready() {
            return self.deny(&reply, transaction, out);
        }
        let transaction = match transaction {
            Some(transaction) if transaction.body.is_none() => transaction,
            Some(transaction) => return self.deny(&answers::BAD_SEQUENCE, Some(transaction), out),
            None => return self.deny_outside(out),
        };
        if transaction.accepted >= self.settings.recipients {
            self.reached.push(Limit::Recipients);
            return self.simply(&answers::TOO_MANY_RECIPIENTS, Some(transaction), out);
        }
        match command::rcpt(arguments, moment.offered, transaction.utf8, self.is_extended()) {
            Ok(rcpt) => {
                let envelope = Envelope { rcpts: vec![rcpt], ..Envelope::default() };
                Some(self.ask(envelope, transaction, input, moment))
            }
            Err(reply) => self.deny(&reply, Some(transaction), out),
        }
    }

    /// Gathers the recipients that came with it, and asks.
    fn ask<'i>(
        &mut self,
        mut envelope: Envelope,
        transaction: Transaction,
        input: &mut &'i [u8],
        moment: &Moment,
    ) -> Step<'i> {
        while transaction.accepted + envelope.rcpts.len() < self.settings.recipients
            && let Line::Whole(line, rest) = line::first(input, None, command::longest)
            && let Ok(SmtpCommand::Rcpt(arguments)) = SmtpCommand::parse(line)
            && let Ok(rcpt) = command::rcpt(arguments, moment.offered, transaction.utf8, self.is_extended())
        {
            envelope.rcpts.push(rcpt);
            *input = rest;
        }
        let next = line::first(input, None, command::longest);
        envelope.data =
            matches!(next, Line::Whole(line, _) if SmtpCommand::parse(line) == Ok(SmtpCommand::Data));
        let (mail, rcpts) = (envelope.mail.is_some(), envelope.rcpts.len());
        self.phase = Phase::Envelope(PendingEnvelope { transaction, mail, rcpts });
        Step::Envelope(envelope)
    }

    pub(super) fn announce<'i>(
        &mut self,
        transaction: Option<Transaction>,
        out: &mut Vec<u8>,
        moment: &Moment,
    ) -> Option<Step<'i>> {
        if let Some(reply) = self.unready() {
            return self.deny(&reply, transaction, out);
        }
        match transaction {
            Some(mut transaction) if transaction.accepted > 0 && transaction.body.is_none() => {
                transaction.body = Some(self.body(transaction.utf8, true, moment));
                self.phase = Phase::GoAhead(transaction);
                Some(Step::Data)
            }
            // Who pipelines can't know.
            Some(transaction) if transaction.refused > 0 && transaction.body.is_none() => {
                self.simply(&answers::NO_RECIPIENTS, Some(transaction), out)
            }
            Some(transaction) => self.deny(&answers::BAD_SEQUENCE, Some(transaction), out),
            None => self.deny_outside(out),
        }
    }

    pub(super) fn begin_chunk<'i>(
        &mut self,
        size: u64,
        last: bool,
        transaction: Option<Transaction>,
        moment: &Moment,
    ) -> Option<Step<'i>> {
        let reader = ChunkReader::new(size);
        let refusal = match (&transaction, self.unready()) {
            (_, Some(reply)) => Some(reply),
            (Some(transaction), None) => match &transaction.body {
                Some(body) => body.doom.as_ref().map(|_| answers::BAD_SEQUENCE),
                None if !moment.offered.chunking => Some(answers::NOT_IMPLEMENTED),
                None if transaction.accepted > 0 => None,
                None if transaction.refused > 0 => Some(answers::NO_RECIPIENTS),
                None => Some(answers::BAD_SEQUENCE),
            },
            (None, None) => Some(answers::BAD_SEQUENCE),
        };
        match (transaction, refusal) {
            (Some(transaction), None) => self.take_chunk(reader, last, transaction, moment),
            (transaction, refusal) => {
                // The chunk comes all the same, and nothing of it is a command.
                let reply = refusal.unwrap_or(answers::BAD_SEQUENCE);
                let doomed = transaction.as_ref().is_some_and(|transaction| transaction.body.is_some());
                let fault = match &transaction {
                    // Who pipelines can't know.
                    _ if doomed || reply == answers::NO_RECIPIENTS => Fault::None,
                    None if reply == answers::BAD_SEQUENCE => Fault::Outside,
                    _ => Fault::Any,
                };
                let transaction = transaction.filter(|_| !doomed || !last);
                self.phase = Phase::Skip(Skip { reader, reply, fault, transaction });
            }
        }
        None
    }
}
