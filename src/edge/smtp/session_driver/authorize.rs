//! Decisions in an SMTP session: on each login, and again at each MAIL.

use std::sync::Arc;

use super::SessionDriver;
use crate::domain::{self, Denial, Permission, Permissions, Unavailable};
use crate::edge::smtp::delivery::MailDelivery;
use crate::edge::smtp::submitter::Submitter;
use crate::service::access::Decision;
use crate::state::metrics::Outcome;
use crate::wire::PresentedCredential;
use crate::wire::smtp::session::{EnvelopeBatch, LoginOutcome};
use crate::wire::smtp::{Reply, replies};

impl SessionDriver {
    /// Who logs in, and whether it may.
    pub(super) async fn check(&mut self, held: &PresentedCredential) {
        let access = &self.worker.entry.access;
        let (permission, entry) = (Permission::Email, domain::Entry::Smtp);
        let presented = held.presented();
        let decision = match access.check_cached(&presented, permission, entry) {
            Some(granted) => Decision::Allowed(granted),
            None => Box::pin(access.authorize(presented, permission, entry, self.address)).await,
        };
        let verdict = match decision {
            Decision::Allowed(granted) => {
                let name = granted.name().as_str().into();
                self.granted = Some(granted);
                LoginOutcome::Allowed(name)
            }
            Decision::Denied(Denial::Throttled(_)) => LoginOutcome::Throttled,
            Decision::Denied(_) => LoginOutcome::Denied,
            Decision::Unavailable(_) => LoginOutcome::Unavailable,
        };
        self.session.complete_login(verdict, &mut self.out);
    }

    /// Sender and recipients: decided first, then a backend's word.
    pub(super) async fn envelope(&mut self, envelope: EnvelopeBatch) {
        let mail = match envelope.mail {
            Some(mail) => {
                let reply = self.decide().await;
                if reply.is_positive() {
                    let mut arguments = mail.arguments;
                    if mail.auth && self.worker.entry.logs_in {
                        arguments.extend_from_slice(b" AUTH=<>");
                    }
                    self.delivery =
                        self.submitter().map(|submitter| Box::new(self.delivery(submitter, arguments)));
                    self.under_way = self.worker.under_way.enter();
                }
                Some(reply)
            }
            None => match self.goes_on().await {
                None => return,
                Some(Err(reply)) => {
                    let replies = vec![reply; envelope.rcpts.len()];
                    return self.session.complete_envelope(None, replies, &mut self.out);
                }
                Some(Ok(())) => None,
            },
        };
        let accepted = mail.as_ref().is_none_or(Reply::is_positive);
        let answered = match &mut self.delivery {
            Some(delivery) if accepted && !envelope.rcpts.is_empty() => {
                delivery.rcpts(&envelope.rcpts, envelope.data).await
            }
            _ => Ok(Vec::new()),
        };
        match (answered, mail) {
            (Ok(rcpts), mail) => self.session.complete_envelope(mail, rcpts, &mut self.out),
            // It came with its recipients, and wasn't answered yet.
            (Err(refusal), Some(_)) => {
                self.session.complete_envelope(Some(refusal), Vec::new(), &mut self.out)
            }
            (Err(refusal), None) => {
                let rcpts = vec![refusal; envelope.rcpts.len()];
                self.session.complete_envelope(None, rcpts, &mut self.out);
            }
        }
    }

    /// Whether a transaction may begin now.
    async fn decide(&mut self) -> Reply {
        let entry = &self.worker.entry;
        let Some(granted) = &self.granted else { return replies::AUTH_FIRST };
        let now = entry.access.permissions_now(granted).await;
        let email = Some(Permission::Email);
        let (outcome, reply) = match now {
            Ok(Some(permissions)) if may_send(permissions) => (Outcome::Allowed, replies::MAIL_OK),
            Ok(Some(_)) => (Outcome::Denied(Denial::Lacks(Permission::Email)), replies::MAY_NOT_SEND),
            Ok(None) => {
                self.note_revocation();
                (Outcome::Denied(Denial::Unknown), replies::REVOKED)
            }
            Err(Unavailable::Store | Unavailable::Busy) => (Outcome::Unavailable, replies::AUTH_UNAVAILABLE),
        };
        if let Outcome::Denied(denial) = outcome {
            entry.access.note_denied(granted, domain::Entry::Smtp, self.address, denial);
        }
        entry.metrics.decision(domain::Entry::Smtp, email, outcome);
        reply
    }

    fn submitter(&self) -> Option<Arc<Submitter>> {
        let granted = self.granted.as_ref()?;
        let greeting = self.session.greeting()?;
        Some(Arc::new(Submitter {
            user: granted.name().clone(),
            account: granted.account_name().clone(),
            address: self.address,
            helo: String::from_utf8_lossy(&greeting.name).into_owned(),
            esmtp: greeting.extended,
        }))
    }

    fn delivery(&self, submitter: Arc<Submitter>, mail: Vec<u8>) -> MailDelivery {
        let entry = &self.worker.entry;
        MailDelivery::new(entry.backends.clone(), entry.metrics.clone(), self.worker.index, submitter, mail)
    }
}

fn may_send(permissions: Permissions) -> bool {
    permissions.contains(Permission::Email)
}
