//! Revocation in an open SMTP session: a change of its credential is in effect from the next command on.

use super::SessionDriver;
use crate::domain::{self, Denial, Permission, RefusalReason, Unavailable};
use crate::edge::smtp::refusal::MailRefusal;
use crate::edge::smtp::shutdown::Shutdown;
use crate::wire::smtp::{Reply, replies};

impl SessionDriver {
    /// Ends the session if its credential was revoked, and notes whether it may still send.
    async fn look_for_changes(&mut self) {
        let Some(granted) = &self.granted else { return };
        if !self.changes.has_changed() && !self.unsure {
            return;
        }
        match self.worker.entry.access.permissions_now(granted).await {
            Ok(Some(permissions)) => {
                (self.unsure, self.was_cut_off) = (false, false);
                self.may_send = permissions.contains(Permission::Email);
            }
            Ok(None) => self.revoke(),
            // The next command checks again, and no transaction begins before that succeeds.
            Err(_) => self.unsure = true,
        }
    }

    /// Does as [`SessionDriver::look_for_changes`]. The deadline of a stop also ends the session.
    pub(super) async fn look_for_changes_in_time(&mut self, shutdown: &mut Shutdown) {
        if shutdown.before_deadline(self.look_for_changes()).await.is_none() {
            self.give_up();
        }
    }

    /// Checks before the next command to a backend that the credential of a transaction still exists and may send. Commands that
    /// were pipelined with MAIL are processed later, after waits for a slow backend. Costs a comparison while nothing changed.
    ///
    /// Returns `None` if the credential was revoked; the session is then over. The inner error is the reply if the credential
    /// can't be checked, or if it lost `email`, which ends the transaction.
    pub(super) async fn is_still_valid(&mut self) -> Option<Result<(), Reply>> {
        // Trust by the clock, as a step is forwarded after this: the announcement of its end may come late.
        // Before the changes: a node that catches up raises them, and then extends its trust.
        let has_trust = self.worker.entry.access.has_trust();
        if self.changes.has_changed() || self.unsure || !has_trust {
            self.unsure = true;
            Box::pin(self.look_for_changes()).await;
        }
        match (self.session.is_over(), self.unsure) {
            (true, _) => None,
            (false, true) => {
                let why = match self.worker.entry.access.has_trust() {
                    true => Unavailable::Store,
                    false => Unavailable::CutOff,
                };
                Some(Err(self.undecided(why).reply()))
            }
            (false, false) => Some(self.is_still_permitted()),
        }
    }

    /// Ends the transaction if the credential lost `email`. The error is the reply.
    fn is_still_permitted(&mut self) -> Result<(), Reply> {
        if self.may_send {
            return Ok(());
        }
        match &mut self.delivery {
            Some(delivery) if !delivery.is_over() => {
                let reply = MailRefusal::NotPermitted.reply();
                delivery.end(reply.clone());
                self.note_denied(Denial::Lacks(Permission::Email));
                Err(reply)
            }
            // It has the reply already.
            _ => Ok(()),
        }
    }

    /// Does as [`SessionDriver::is_still_valid`]. The deadline of a stop also ends the session: `None`.
    pub(super) async fn may_continue(&mut self, shutdown: &mut Shutdown) -> Option<Result<(), Reply>> {
        let valid = shutdown.before_deadline(self.is_still_valid()).await;
        valid.unwrap_or_else(|| {
            self.give_up();
            None
        })
    }

    /// Does as [`SessionDriver::may_continue`] before the first chunk of a message. A message that has begun may end.
    pub(super) async fn may_continue_with_chunk(
        &mut self,
        shutdown: &mut Shutdown,
    ) -> Option<Result<(), Reply>> {
        match &self.delivery {
            Some(delivery) if !delivery.has_begun() => self.may_continue(shutdown).await,
            _ => Some(Ok(())),
        }
    }

    /// Refuses a step whose credential can't be checked. Without trust, the second one in a row ends the session: its client may find a
    /// node that is not cut off when it connects again.
    pub(super) fn undecided(&mut self, why: Unavailable) -> MailRefusal {
        let was_cut_off = std::mem::replace(&mut self.was_cut_off, why == Unavailable::CutOff);
        let refusal = match was_cut_off && self.was_cut_off {
            true => MailRefusal::StillCutOff,
            false => MailRefusal::Undecided,
        };
        self.log_reason(reason(why), Some(&refusal.reply()), b"", "");
        refusal
    }

    fn revoke(&mut self) {
        if self.session.is_over() {
            return;
        }
        self.worker.entry.metrics.session_cut(domain::Entry::Smtp);
        self.close_with(&replies::REVOKED);
    }
}

/// The reason in the log for a credential that can't be checked.
pub(super) fn reason(unavailable: Unavailable) -> RefusalReason {
    match unavailable {
        Unavailable::Store => RefusalReason::StoreUnavailable,
        Unavailable::CutOff => RefusalReason::CutOff,
        Unavailable::Busy => RefusalReason::PasswordQueueFull,
    }
}
