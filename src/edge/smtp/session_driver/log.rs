//! The log of a session: a line for each refusal that is not of a backend or of a login.

use super::SessionDriver;
use crate::domain::{Entry, MailId, RefusalReason};
use crate::edge::net::refusal_log::RefusalLine;
use crate::wire::smtp::Reply;

impl SessionDriver {
    /// Ends the session with `reply`, a 421, and logs that.
    pub(super) fn close_with(&mut self, reply: &Reply) {
        self.session.close_with(reply, &mut self.out);
        self.log_refusal(self.session.mail_id(), reply, 1);
    }

    /// Logs what the session has refused by itself.
    pub(super) fn log_refusals(&mut self) {
        if !self.session.has_refusals() {
            return;
        }
        for refusal in self.session.take_refusals() {
            self.log_refusal(refusal.id, &refusal.reply, refusal.times);
        }
    }

    /// Logs a refusal whose reason is the text that the client is told.
    pub(super) fn log_refusal(&self, id: MailId, reply: &Reply, times: u32) {
        let (id, code, text) = (id.to_string(), reply.codes(), reply.text());
        self.write(&RefusalLine { request_id: &id, code: &code, times, ..self.line(&text) });
    }

    /// Logs a refusal for another reason than the client is told.
    pub(super) fn log_reason(&self, reason: RefusalReason, reply: Option<&Reply>, user: &[u8], detail: &str) {
        let id = self.session.mail_id().to_string();
        let code = reply.map(Reply::codes).unwrap_or_default();
        let line = self.line(reason.as_str());
        let user = if user.is_empty() { line.user.into() } else { String::from_utf8_lossy(user) };
        self.write(&RefusalLine { request_id: &id, code: &code, user: &user, detail, ..line });
    }

    fn line<'a>(&'a self, reason: &'a str) -> RefusalLine<'a> {
        let user = self.granted.as_ref().map_or("", |granted| granted.name().as_str());
        RefusalLine { user, ..RefusalLine::new(Entry::Smtp, self.address, reason) }
    }

    fn write(&self, line: &RefusalLine<'_>) {
        self.worker.entry.refusals.write(line);
    }
}
