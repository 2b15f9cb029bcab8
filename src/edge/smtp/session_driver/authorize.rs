//! Decisions in an SMTP session: at each AUTH, and again at each MAIL. `revocation` has those within a transaction.

use std::sync::Arc;

use super::{SessionDriver, revocation};
use crate::domain::{self, Denial, Permission};
use crate::edge::smtp::delivery::MailDelivery;
use crate::edge::smtp::mail_log::MailLog;
use crate::edge::smtp::refusal::MailRefusal;
use crate::edge::smtp::submitter::Submitter;
use crate::service::access::{Decision, DenialKind, Peer};
use crate::state::metrics::{DecisionOutcome, RecipientOutcome};
use crate::wire::PresentedCredential;
use crate::wire::smtp::session::{EnvelopeBatch, LoginOutcome};
use crate::wire::smtp::{Capabilities, Reply, parameters, replies};

impl SessionDriver {
    /// Checks a login.
    pub(super) async fn check(&mut self, credential: &PresentedCredential) {
        let access = &self.worker.entry.access;
        let (permission, entry) = (Permission::Email, domain::Entry::Smtp);
        let presented = credential.presented();
        let decision = match access.check_cached(&presented, permission, entry) {
            Some(granted) => {
                access.note_use(&granted, entry, self.address);
                Decision::Allowed(granted)
            }
            None => {
                let id = self.session.mail_id();
                let peer = Peer { source: self.address, request_id: id.session.as_str(), code: code_at_auth };
                Box::pin(access.authorize(presented, permission, entry, peer)).await
            }
        };
        let outcome = match decision {
            Decision::Allowed(granted) => {
                let name = granted.name().as_str().into();
                self.granted = Some(granted);
                LoginOutcome::Allowed(name)
            }
            Decision::Denied(Denial::Throttled(_)) => LoginOutcome::Throttled,
            Decision::Denied(_) => LoginOutcome::Denied,
            Decision::Unavailable(unavailable) => {
                let (reply, user) = (replies::AUTH_UNAVAILABLE, credential.presented().username);
                self.log_reason(revocation::reason(unavailable), Some(&reply), user, "");
                LoginOutcome::Unavailable
            }
        };
        self.session.complete_login(outcome, &mut self.out);
    }

    /// Decides on MAIL, then sends the recipients that came with it to a backend.
    pub(super) async fn envelope(&mut self, envelope: EnvelopeBatch) {
        let mut unproven = false;
        let mail = match envelope.mail {
            Some(mail) => {
                let decision = self.decide().await;
                if decision.is_ok() {
                    unproven = self.is_unproven(&mail.arguments);
                    let mut arguments = mail.arguments;
                    if mail.auth && self.worker.entry.logs_in {
                        arguments.extend_from_slice(b" AUTH=<>");
                    }
                    self.delivery =
                        self.submitter().map(|submitter| Box::new(self.delivery(submitter, arguments)));
                    self.under_way = self.worker.under_way.enter();
                }
                Some(decision.map_or_else(|refusal| refusal.reply(), |()| replies::MAIL_OK))
            }
            None => match self.is_still_valid().await {
                None => return,
                Some(Err(reply)) => {
                    let rcpts = vec![reply; envelope.rcpts.len()];
                    return self.session.complete_envelope(None, rcpts, &mut self.out);
                }
                Some(Ok(())) => None,
            },
        };
        let accepted = mail.as_ref().is_none_or(Reply::is_positive);
        let answered = match &mut self.delivery {
            Some(delivery) if accepted && !envelope.rcpts.is_empty() => {
                delivery.rcpts(&envelope.rcpts, envelope.data).await
            }
            Some(delivery) if accepted && unproven => Box::pin(delivery.sender()).await.map(|()| Vec::new()),
            _ => Ok(Vec::new()),
        };
        let metrics = &self.worker.entry.metrics;
        match &answered {
            Ok(replies) => {
                replies.iter().for_each(|reply| metrics.smtp_recipients(recipient_outcome(reply), 1))
            }
            Err(refusal) => metrics.smtp_recipients(recipient_outcome(refusal), envelope.rcpts.len()),
        }
        match (answered, mail) {
            (Ok(rcpts), mail) => self.session.complete_envelope(mail, rcpts, &mut self.out),
            // MAIL was pipelined with its recipients and is not answered yet.
            (Err(refusal), Some(_)) => {
                self.session.complete_envelope(Some(refusal), Vec::new(), &mut self.out);
            }
            (Err(refusal), None) => {
                let rcpts = vec![refusal; envelope.rcpts.len()];
                self.session.complete_envelope(None, rcpts, &mut self.out);
            }
        }
    }

    /// Returns true if MAIL with these arguments uses an extension that was offered before a backend was seen. A backend then
    /// answers it, since nobody else can.
    fn is_unproven(&self, arguments: &[u8]) -> bool {
        let needs = || Capabilities { size: None, ..parameters::needs(arguments) };
        !self.worker.entry.backends.has_seen_one() && needs() != Capabilities::default()
    }

    /// Decides whether a transaction may begin now.
    async fn decide(&mut self) -> Result<(), MailRefusal> {
        let entry = &self.worker.entry;
        let Some(granted) = &self.granted else { return Err(MailRefusal::NotAuthenticated) };
        let now = entry.access.permissions_now(granted).await;
        match now {
            Ok(Some(permissions)) => {
                self.was_cut_off = false;
                self.may_send = permissions.contains(Permission::Email);
                if !self.may_send {
                    self.note_denied(Denial::Lacks(Permission::Email));
                    return Err(MailRefusal::NotPermitted);
                }
                entry.access.note_use(granted, domain::Entry::Smtp, self.address);
                self.count_decision(DecisionOutcome::Allowed);
                Ok(())
            }
            Ok(None) => {
                entry.metrics.session_cut(domain::Entry::Smtp);
                self.note_denied(Denial::Unknown);
                Err(MailRefusal::Revoked)
            }
            Err(unavailable) => {
                self.count_decision(DecisionOutcome::Unavailable);
                Err(self.undecided(unavailable))
            }
        }
    }

    /// Counts a denial within the session, and notes it in the audit trail.
    pub(super) fn note_denied(&self, denial: Denial) {
        if let Some(granted) = &self.granted {
            let id = self.session.mail_id().to_string();
            let peer = Peer { source: self.address, request_id: &id, code: code_in_session };
            self.worker.entry.access.note_denied(granted, domain::Entry::Smtp, peer, denial);
        }
        self.count_decision(DecisionOutcome::Denied(denial));
    }

    fn count_decision(&self, outcome: DecisionOutcome) {
        self.worker.entry.metrics.decision(domain::Entry::Smtp, Some(Permission::Email), outcome);
    }

    fn submitter(&self) -> Option<Arc<Submitter>> {
        let granted = self.granted.as_ref()?;
        let greeting = self.session.greeting()?;
        Some(Arc::new(Submitter {
            user: granted.name().clone(),
            account: granted.account_name().clone(),
            address: self.address,
            helo: greeting.name.to_string(),
            esmtp: greeting.extended,
        }))
    }

    fn delivery(&self, submitter: Arc<Submitter>, mail: Vec<u8>) -> MailDelivery {
        let entry = &self.worker.entry;
        let id = self.session.mail_id();
        let log = MailLog::new(entry.refusals.clone(), submitter.clone(), id, &mail);
        let (backends, metrics) = (entry.backends.clone(), entry.metrics.clone());
        MailDelivery::new(backends, metrics, log, self.worker.index, submitter, mail, entry.last_look.clone())
    }
}

/// The reply to AUTH that is denied, for the audit trail.
fn code_at_auth(kind: DenialKind) -> &'static str {
    match kind {
        DenialKind::Denied(Denial::Throttled(_)) => "454 4.7.0",
        _ => "535 5.7.8",
    }
}

/// The reply to a command of a transaction that is denied, for the audit trail.
fn code_in_session(kind: DenialKind) -> &'static str {
    match kind {
        DenialKind::Denied(Denial::Lacks(_)) => "550 5.7.1",
        _ => "421 4.7.0",
    }
}

/// The outcome of a recipient that got this reply, or whose sender did.
fn recipient_outcome(reply: &Reply) -> RecipientOutcome {
    if reply.is_acceptance() {
        RecipientOutcome::Accepted
    } else if reply.is_permanent() {
        RecipientOutcome::Rejected
    } else {
        RecipientOutcome::Deferred
    }
}
